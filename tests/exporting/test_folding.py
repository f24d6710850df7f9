"""The folded network against the model, for every kind of graph; what is stored, and how."""

import keras
import numpy as np
import pytest
from keras import layers
from norm_graphs import GRAPHS, largest_gap, shaken

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.folding import ChannelAffine, folded

pytestmark = pytest.mark.conversion


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


def test_norms_and_the_boxes_last_convolution_compute_in_float32(rng):
    network = folded(shaken("group norm", rng), "bfloat16")
    dtypes = {layer.name: layer.compute_dtype for layer in network.layers}
    exact = ["normalization", "box_head_final", "class_head_norm1"]
    assert {dtypes[name] for name in exact} == {"float32"}
    narrow = ["resnet18_stem_conv", "class_head_conv1", "class_head_final"]
    assert {dtypes[name] for name in narrow} == {"bfloat16"}


def test_half_the_bits_round_logits_as_distances_to_their_bias(rng):
    """At a prior of .01, -4.595, bfloat16 has steps of .031; those of scores would show."""
    model = shaken("resnet18", rng)
    final = model.class_head.get_layer("final")
    kernel, bias = final.get_weights()
    final.set_weights([kernel * 0.01, np.full_like(bias, -4.5)])
    logits = folded(model, "bfloat16")(rng.uniform(0, 255, (1, 64, 96, 3)).astype("f4"))
    found = np.unique(logits["class_logits"])
    assert np.ptp(found) < 0.5 and len(found) > 500


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
