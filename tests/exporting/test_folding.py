"""The folded network against the model, for every kind of graph; what is stored, and how."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from keras_retinanet.config.model import BackboneConfig, FPNConfig, HeadConfig, ModelConfig
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.folding import ChannelAffine, folded
from keras_retinanet.modeling.retinanet import retinanet

pytestmark = pytest.mark.conversion

FPN, HEAD = FPNConfig(channels=16), HeadConfig(channels=16, depth=2, prior=0.3)
# name -> (trunk, its options, FPN's options, heads' options, norms that no convolution takes in)
GRAPHS = {
    "resnet18": ("resnet18", {}, {}, {}, 0),
    "resnext, padding same": (
        "resnext50_32x4d",
        {"padding": "same", "stem_padding": "symmetric", "pool_padding": "same", "bn_epsilon": 0.0},
        {"padding": "same", "relu_before_p7": False},
        {},
        0,
    ),
    # P5 goes on to P6 as it is before its norm; the heads' norms are one a level.
    "lite0, all separable": (
        "efficientnet_lite0",
        {},
        {"separable": True, "norm": "batch_norm", "p6_from": "p5"},
        {"separable": True, "norm": "batch_norm"},
        2 + 2 * 2 * 5,  # P5's and P6's
    ),
    "group norm": (
        "resnet18",
        {},
        {"norm": "group_norm"},
        {"norm": "group_norm", "norm_epsilon": 1e-3, "bias_before_norm": True},
        0,
    ),
    # The laterals of P3 and P4 are sums.
    "norms at the sums": (
        "resnet18",
        {},
        {"norm": "batch_norm", "norm_at": "merged", "norm_epsilon": 1e-2},
        {"norm": "batch_norm", "bias_before_norm": True},
        2 + 2 * 2 * 5,
    ),
}


def shaken(name, rng):
    """A model whose every weight matters."""
    trunk, backbone, fpn, head, _ = GRAPHS[name]
    config = ModelConfig(
        backbone=BackboneConfig(**backbone),
        fpn=dataclasses.replace(FPN, **fpn),
        head=dataclasses.replace(HEAD, **head),
    )
    model = retinanet(trunk, 5, config=config)
    for variable in model.weights:
        kind = variable.path.split("/")[-1]
        if kind == "moving_variance":
            variable.assign(rng.uniform(0.5, 2, variable.shape))
        elif kind == "gamma":
            variable.assign(rng.uniform(0.3, 1, variable.shape))
        elif kind in ("moving_mean", "beta", "bias"):
            variable.assign(np.array(variable) + rng.normal(0, 0.3, variable.shape))
    return model


def largest_gap(found, expected):
    return max(float(np.abs(found[key] - expected[key]).max()) for key in expected)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_same_outputs_without_batch_norms(name, rng):
    model = shaken(name, rng)
    images = rng.uniform(0, 255, (2, 96, 136, 3)).astype("f4")  # odd sides from P5 on
    expected = {key: np.array(part) for key, part in model(images, training=False).items()}
    network = folded(model)
    assert max(np.abs(part).max() for part in expected.values()) > 0.5
    assert largest_gap(network(images, training=False), expected) < 1e-5
    kinds = [type(layer) for layer in network.layers]
    assert layers.BatchNormalization not in kinds
    assert kinds.count(ChannelAffine) == GRAPHS[name][-1]
    assert network.trainable_variables == []


def test_half_the_bytes(rng):
    model = shaken("group norm", rng)
    images = rng.uniform(0, 255, (1, 64, 96, 3)).astype("f4")
    expected = {key: np.array(part) for key, part in model(images, training=False).items()}
    gaps = {}
    for precision in ("bfloat16", "float16"):
        network = folded(model, precision)
        assert {variable.dtype for variable in network.variables} == {precision}
        found = network(images, training=False)
        assert {part.dtype.name for part in found.values()} == {"float32"}
        gaps[precision] = largest_gap(found, expected)
    # Weights of 11 bits, all else exact; weights and activations of 8 bits.
    assert 1e-5 < gaps["float16"] < 3e-3
    assert gaps["float16"] < gaps["bfloat16"] < 5e-2


def test_final_convolutions_and_norms_compute_in_float32(rng):
    network = folded(shaken("group norm", rng), "bfloat16")
    dtypes = {layer.name: layer.compute_dtype for layer in network.layers}
    exact = ["normalization", "class_head_final", "box_head_final", "class_head_norm1"]
    assert {dtypes[name] for name in exact} == {"float32"}
    assert dtypes["resnet18_stem_conv"] == dtypes["class_head_conv1"] == "bfloat16"


def test_the_model_stays_as_it_was(rng):
    model = shaken("resnet18", rng)
    before = [np.array(weight) for weight in model.weights]
    folded(model, "float16")
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert keras.config.dtype_policy().name == "float32"


def test_an_unknown_precision_is_refused(rng):
    with pytest.raises(UserError, match="Received: precision='int8'"):
        folded(None, "int8")
