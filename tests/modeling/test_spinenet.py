"""SpineNet and MobileNetV2 backbones: published sizes, the graph's shape, options, training."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config.model import (
    BackboneConfig,
    FPNConfig,
    HeadConfig,
    ModelConfig,
    PreprocessingConfig,
)
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones import BACKBONES, build_backbone, pyramid_channels
from keras_retinanet.modeling.backbones.spinenet import BLOCKS, SPINENETS, SpineNetSpec, spinenet
from keras_retinanet.modeling.backbones.spinenet_mobile import MobileSpec, spinenet_mobile
from keras_retinanet.modeling.recomputation import blocks, run_pieces
from keras_retinanet.modeling.retinanet import retinanet
from keras_retinanet.modeling.saving import load, save_model

SMALL = SpineNetSpec(width=0.125, repeats=2, alpha=0.5, channels=16)
TINY = SpineNetSpec(width=0.125, repeats=1, alpha=0.5, channels=8)
SMALL_MOBILE = MobileSpec(width=0.6, channels=8)


# Trainable parameters of Model Garden's own `retinanet_spinenet_coco` and `retinanet_mobile_coco`
# with 91 classes, of SpineNet-190 as published (docs/spinenet.md has the published figures).
@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "head", "parameters"),
    [
        ("spinenet49s", {"channels": 128}, 11_265_942),
        pytest.param("spinenet49", {}, 28_543_383, marks=pytest.mark.slow),
        ("spinenet49_mobile", {"channels": 48, "separable": True}, 2_337_579),
        pytest.param("spinenet96", {}, 42_974_871, marks=pytest.mark.slow),
        pytest.param("spinenet143", {}, 66_959_511, marks=pytest.mark.slow),
        pytest.param(
            "spinenet190", {"channels": 512, "depth": 7}, 163_637_351, marks=pytest.mark.slow
        ),
    ],
)
def test_published_sizes(name, head, parameters):
    config = ModelConfig(head=HeadConfig(norm="batch_norm", bias_before_norm=True, **head))
    model = retinanet(name, 91, config=config)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == parameters
    assert model.backbone.output["p3"].shape[-1] == pyramid_channels(name)


def test_published_size_of_mobilenet():
    # torchvision's and keras.applications' 3,504,872, less the last convolution and classifier.
    backbone = build_backbone("mobilenet_v2")
    trainable = sum(int(np.prod(weight.shape)) for weight in backbone.trainable_weights)
    assert trainable == 3_504_872 - (320 * 1280 + 2 * 1280) - (1280 * 1000 + 1000)
    channels = {name: levels.shape[-1] for name, levels in backbone.output.items()}
    assert channels == {"c3": 32, "c4": 96, "c5": 320}


@pytest.mark.long
@pytest.mark.parametrize("size", [(128, 256), (70, 131)])
@pytest.mark.parametrize(
    "backbone", [spinenet(SMALL), spinenet(SMALL, padding="symmetric", single_pool=True),
                 spinenet_mobile(SMALL_MOBILE)]
)  # fmt: skip
def test_levels_have_the_sides_of_their_anchors(backbone, size):
    levels = backbone(np.zeros((1, *size, 3), "float32"))
    for level in range(3, 8):
        sides = tuple(-(-side // 2**level) for side in size)
        assert levels[f"p{level}"].shape == (1, *sides, backbone.output["p3"].shape[-1])


def test_every_block_is_read():
    read = {place for block in BLOCKS for place in (*block.parents, *block.joins)}
    outputs = {place for place, block in enumerate(BLOCKS) if block.is_output}
    assert read | outputs == set(range(len(BLOCKS)))
    assert sorted(BLOCKS[place].level for place in outputs) == [3, 4, 5, 6, 7]


@pytest.mark.long
def test_parents_are_summed_with_the_block_that_no_other_reads():
    backbone = spinenet(SMALL)
    joined = backbone.get_layer("block14_sum").input
    assert len(joined) == 3
    assert joined[2] is backbone.get_layer("block11_2_out").output
    assert backbone.get_layer("block15_from5_pool2").strides == (2, 2)


@pytest.mark.long
def test_one_pooling_of_the_first_release_stands_for_two():
    backbone = spinenet(SMALL, single_pool=True)
    pool = backbone.get_layer("block15_from5_pool1")
    assert (pool.pool_size, pool.strides) == ((5, 5), (4, 4))
    assert backbone.get_layer("block3_from0_pool1").pool_size == (3, 3)


def drop_rates(backbone):
    return {
        layer.name: layer.rate
        for layer in backbone.layers
        if isinstance(layer, keras.layers.Dropout)
    }


@pytest.mark.long
@pytest.mark.parametrize("build", [spinenet, spinenet_mobile])
def test_stochastic_depth_drops_the_branches_of_whole_images(build):
    spec = SMALL if build is spinenet else SMALL_MOBILE
    assert drop_rates(build(spec)) == {}
    backbone = build(spec, stochastic_depth=0.5)
    rates = drop_rates(backbone)
    last = "block16_2_drop" if build is spinenet else "block17_drop"
    assert max(rates.values()) == rates[last] == 0.5
    assert min(rates.values()) > 0
    branch = np.ones((64, 2, 3, 4), "float32")
    dropped = backbone.get_layer(last)(branch, training=True).numpy()
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert (dropped == dropped[:, :1, :1, :1]).all()
    np.testing.assert_array_equal(backbone.get_layer(last)(branch), branch)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("spinenet49s", {"stride_in_1x1": True}),
        ("resnet18", {"activation": "swish"}),
        ("spinenet49_mobile", {"single_pool": True}),
        ("spinenet49", {"smooth_gates": True}),
        ("mobilenet_v2", {"stochastic_depth": 0.2}),
    ],
)
def test_options_that_a_backbone_lacks(name, option):
    with pytest.raises(UserError, match=rf"Expected options of {name}: .*{next(iter(option))}"):
        build_backbone(name, **option)


@pytest.mark.long
def test_frozen_stages_are_the_stem_and_its_blocks():
    backbone = build_backbone("spinenet49s", weights="x.keras", load_weights=False)
    frozen = {layer.name.split("_")[0] for layer in backbone.layers if not layer.trainable}
    assert {"stem", "stage2"} < frozen
    assert backbone.get_layer("block2_1_conv1").trainable
    assert not backbone.get_layer("block2_1_bn1").trainable


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setitem(SPINENETS, "tiny", TINY)
    monkeypatch.setitem(BACKBONES, "tiny", partial(spinenet, TINY))
    config = ModelConfig(
        backbone=BackboneConfig(stochastic_depth=0.2),
        head=HeadConfig(channels=8, depth=1, activation="swish"),
        preprocessing=PreprocessingConfig(128, 128, canvas="square", multiple=128),
    )
    keras.utils.set_random_seed(0)
    return retinanet("tiny", class_names=["a", "b"], config=config)


@pytest.mark.long
def test_a_model_survives_saving(model, tmp_path, rng):
    save_model(model, tmp_path / "model.keras")
    image = rng.uniform(0, 255, (1, 128, 128, 3)).astype("float32")
    found, expected = (m(image)["class_logits"] for m in (load(tmp_path / "model.keras"), model))
    np.testing.assert_array_equal(found, expected)
    assert model.fpn.weights == []


@pytest.mark.long
@pytest.mark.parametrize("build", [spinenet, spinenet_mobile])
def test_pieces_of_the_backbone_join_to_the_whole(build, rng):
    backbone = build(SMALL if build is spinenet else SMALL_MOBILE)
    image = tf.constant(rng.uniform(-1, 1, (1, 128, 128, 3)), tf.float32)
    found = run_pieces(lambda piece, x: piece(x), blocks(backbone), image)
    for ours, (_, expected) in zip(found, sorted(backbone(image).items()), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize(
    "options", [{"recompute": True}, pytest.param({"jit_compile": True}, marks=pytest.mark.slow)]
)
def test_it_learns(model, options, rng):
    model.compile(keras.optimizers.SGD(1e-3), **options)
    images = rng.uniform(0, 255, (2, 128, 128, 3)).astype("float32")
    labels = {
        "boxes": np.array([[[10, 20, 60, 60]], [[0, 0, 40, 30]]], "float32"),
        "classes": np.array([[1], [0]]),
    }
    losses = model.fit(images, labels, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_relu6_of_an_fpn():
    model = retinanet(
        "mobilenet_v2",
        1,
        config=ModelConfig(
            fpn=FPNConfig(channels=8, activation="relu6"), head=HeadConfig(channels=8, depth=1)
        ),
    )
    assert model.fpn.get_layer("relu6_p6").max_value == 6
