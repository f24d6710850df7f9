"""ResNet and ResNeXt trunks: published sizes, options, initial state, gradients, freezing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones import BACKBONES, backbone_preprocessing, build_backbone
from keras_retinanet.modeling.backbones.resnet import GroupedConv2D, ResNetSpec, resnet

SMALL = ResNetSpec((1, 1, 1, 1), groups=4, group_width=16)


# torchvision's published counts of parameters, less its classifier's (C5 * 1000 + 1000).
@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "published", "c5"),
    [
        ("resnet18", 11_689_512, 512),
        ("resnet34", 21_797_672, 512),
        ("resnet50", 25_557_032, 2048),
        pytest.param("resnet101", 44_549_160, 2048, marks=pytest.mark.slow),
        pytest.param("resnet152", 60_192_808, 2048, marks=pytest.mark.slow),
        ("resnext50_32x4d", 25_028_904, 2048),
        pytest.param("resnext101_32x8d", 88_791_336, 2048, marks=pytest.mark.slow),
        pytest.param("resnext101_64x4d", 83_455_272, 2048, marks=pytest.mark.slow),
    ],
)
def test_published_sizes(name, published, c5):
    trunk = build_backbone(name)
    trainable = sum(int(np.prod(weight.shape)) for weight in trunk.trainable_weights)
    assert trainable == published - 1000 * c5 - 1000
    assert {level: map_.shape[-1] for level, map_ in trunk.output.items()} == {
        "c3": c5 // 4,
        "c4": c5 // 2,
        "c5": c5,
    }


def test_an_unknown_name_lists_the_valid_ones():
    with pytest.raises(ValueError, match=r"resnet18.*efficientnet_lite4.*resnet49") as caught:
        build_backbone("resnet49")
    assert all(name in str(caught.value) for name in BACKBONES)
    with pytest.raises(ValueError, match="resnet49"):
        backbone_preprocessing("resnet49", None)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "in_1x1"), [("resnet50", True), ("resnet101", True), ("resnext50_32x4d", False)]
)
def test_published_graph(name, in_1x1):
    trunk = build_backbone(name)
    first = trunk.get_layer("stage4_block1_conv1").strides[0]
    second = trunk.get_layer("stage4_block1_conv2").strides[0]
    assert (first, second) == ((2, 1) if in_1x1 else (1, 2))
    assert trunk.get_layer("stage2_block1_conv2").strides == (1, 1)
    assert trunk.get_layer("stem_bn").epsilon == 1e-5
    assert trunk.get_layer("stem_pad").padding == ((3, 3), (3, 3))
    assert trunk.get_layer("stem_pool_pad").padding == ((1, 1), (1, 1))
    convs = [layer for layer in trunk.layers if isinstance(layer, keras.layers.Conv2D)]
    assert all(not conv.use_bias for conv in convs)
    assert backbone_preprocessing(name, None) is None


@pytest.mark.long
@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("size", [64, 65])
def test_padding_puts_the_window_where_it_says(padding, size):
    """A stem of ones counts the pixels under each window: the corners tell the padding."""
    trunk = resnet(SMALL, padding=padding, pool_padding=padding)
    stem = trunk.get_layer("stem_conv")
    stem.set_weights([np.ones((7, 7, 3, 64), "float32") / 3])
    counts = keras.Model(trunk.input, stem.output)(np.ones((1, size, size, 3), "float32"))
    counts = counts.numpy()[0, :, :, 0]
    # Odd sides need 3 + 3 zeros either way; TensorFlow gives even ones 2 in front and 3 behind.
    before = 3 if padding == "symmetric" or size % 2 else 2
    assert counts.shape == (-(-size // 2),) * 2
    assert counts[0, 0] == pytest.approx((7 - before) ** 2, rel=1e-5)
    after = 2 * (counts.shape[0] - 1) + 7 - before - size
    assert counts[-1, -1] == pytest.approx((7 - after) ** 2, rel=1e-5)


def test_stride_place_and_padding_change_the_values_not_the_shapes():
    image = np.random.default_rng(1).normal(size=(1, 75, 50, 3)).astype("float32")
    maps = {}
    for options in ((True, "symmetric"), (False, "symmetric"), (False, "same")):
        keras.utils.set_random_seed(0)
        trunk = resnet(SMALL, stride_in_1x1=options[0], padding=options[1])
        maps[options] = trunk(image)["c4"].numpy()
        assert maps[options].shape == (1, 5, 4, 1024)
    first, second, third = maps.values()
    # With zero gamma only the shortcut shows, which the stride's place does not touch.
    np.testing.assert_array_equal(first, second)
    assert np.abs(second - third).max() > 1e-3


@pytest.mark.long
@pytest.mark.parametrize("training", [False, True])
def test_random_trunk_starts_as_its_shortcuts(training):
    trunk = build_backbone("resnet50")
    stem = trunk.get_layer("stem_conv").kernel.numpy()
    assert stem.std() == pytest.approx(np.sqrt(2 / (49 * 64)), rel=0.05)
    last = trunk.get_layer("stage3_block2_bn3")
    np.testing.assert_array_equal(last.gamma.numpy(), 0)
    np.testing.assert_array_equal(trunk.get_layer("stage3_block2_bn2").gamma.numpy(), 1)
    image = np.random.default_rng(0).normal(size=(2, 64, 96, 3)).astype("float32")
    # Small enough for heads of normal(.01) to keep their prior.
    assert all(0.01 < float(np.std(m)) < 2 for m in trunk(image, training=training).values())


def test_grouped_convolution_equals_its_definition():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 9, 8, 12)).astype("float32")
    layer = GroupedConv2D(8, 3, strides=2, groups=4, padding="same", use_bias=False)
    with tf.GradientTape() as tape:
        result = layer(image)
        loss = tf.reduce_sum(result**2)
    kernel = layer.kernel.numpy()  # (3, 3, 12 / 4, 8)
    assert kernel.shape == (3, 3, 3, 8)

    # The same convolution as an ungrouped one whose kernel is zero between groups.
    full = np.zeros((3, 3, 12, 8), "float32")
    for group in range(4):
        columns = slice(2 * group, 2 * group + 2)
        full[:, :, 3 * group : 3 * group + 3, columns] = kernel[..., columns]
    full = tf.Variable(full)
    with tf.GradientTape() as full_tape:
        expected = tf.nn.conv2d(image, full, 2, "SAME")
        full_loss = tf.reduce_sum(expected**2)
    np.testing.assert_allclose(result, expected, atol=1e-5)

    gradient = tape.gradient(loss, layer.kernel.value)
    full_gradient = full_tape.gradient(full_loss, full).numpy()
    for group in range(4):
        columns = slice(2 * group, 2 * group + 2)
        block = full_gradient[:, :, 3 * group : 3 * group + 3, columns]
        np.testing.assert_allclose(gradient[..., columns], block, rtol=1e-4, atol=1e-4)

    native = keras.layers.Conv2D(8, 3, strides=2, groups=4, padding="same", use_bias=False)
    native.build(image.shape)
    native.set_weights(layer.get_weights())
    np.testing.assert_allclose(result, native(image), atol=1e-5)


@pytest.mark.long
def test_every_weight_of_a_resnext_learns():
    trunk = resnet(SMALL, stride_in_1x1=False)
    for layer in trunk.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(tf.ones_like(layer.gamma))  # zero gammas pass no gradient
    image = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            maps = trunk(image, training=True)
            loss = tf.add_n([tf.reduce_sum(tf.square(m - 1.0)) for m in maps.values()])
        return tape.gradient(loss, [w.value for w in trunk.trainable_weights])

    for weight, gradient in zip(trunk.trainable_weights, gradients(), strict=True):
        assert np.abs(gradient).max() > 0, weight.path


def test_a_trunk_survives_saving(tmp_path):
    trunk = resnet(SMALL, stride_in_1x1=False)
    trunk.save(tmp_path / "trunk.keras")
    again = keras.models.load_model(tmp_path / "trunk.keras")
    image = np.random.default_rng(0).normal(size=(1, 40, 48, 3)).astype("float32")
    for level, values in trunk(image).items():
        np.testing.assert_array_equal(values, again(image)[level])


def _frozen_prefixes(trunk):
    return {
        layer.name.split("_")[0] for layer in trunk.layers if layer.weights and not layer.trainable
    }


@pytest.mark.long
def test_freezing_needs_loaded_weights():
    random = build_backbone("resnet18", freeze_bn=True, frozen_stages=5)
    assert _frozen_prefixes(random) == set()

    def rebuilt(**options):
        return build_backbone("resnet50", weights="imagenet", load_weights=False, **options)

    trunk = rebuilt()
    assert _frozen_prefixes(trunk) >= {"stem", "stage2"}
    assert not trunk.get_layer("stage5_block3_bn3").trainable
    assert trunk.get_layer("stage3_block1_conv1").trainable
    assert _frozen_prefixes(rebuilt(freeze_bn=False, frozen_stages=0)) == set()
    assert _frozen_prefixes(rebuilt(freeze_bn=False, frozen_stages=1)) == {"stem"}
    assert rebuilt(frozen_stages=5).trainable_weights == []
    # What the weights demand, and what the caller insists on.
    assert trunk.get_layer("stem_bn").epsilon == 1.001e-5
    assert rebuilt(bn_epsilon=1e-4).get_layer("stem_bn").epsilon == 1e-4


def test_frozen_batch_norm_keeps_its_statistics():
    trunk = build_backbone("resnet18", weights="x.pth", load_weights=False, frozen_stages=0)
    before = [weight.numpy() for weight in trunk.non_trainable_weights]
    trunk(np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32"), training=True)
    for weight, value in zip(trunk.non_trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


@pytest.mark.parametrize("option", [{"stride_in_1x1": True}, {"pool_padding": "same"}])
def test_options_that_a_trunk_lacks(option):
    with pytest.raises(UserError, match=next(iter(option))):
        build_backbone("efficientnet_lite0", **option)
