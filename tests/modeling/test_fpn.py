"""The pyramid: resize convention, merges, sources of P6 and P7, padding, norms, gradients."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.modeling.fpn import build_fpn, norm_layer
from keras_retinanet.modeling.upsampling import UpsampleToMatch

CHANNELS = (5, 6, 7)


def random_features(height, width, batch=2):
    rng = np.random.default_rng(0)
    sides = [(height, width)]
    for _ in range(2):
        sides.append(tuple(-(-side // 2) for side in sides[-1]))
    return [
        rng.normal(size=(batch, *side, count)).astype("float32")
        for side, count in zip(sides, CHANNELS, strict=True)
    ]


@pytest.mark.parametrize(
    ("coarse", "fine"), [((4, 6), (8, 12)), ((4, 6), (7, 11)), ((3, 5), (7, 13)), ((1, 1), (2, 1))]
)
def test_upsampling_takes_the_cell_below_the_fraction(coarse, fine):
    rng = np.random.default_rng(0)
    small = rng.normal(size=(2, *coarse, 3)).astype("float32")
    resized = UpsampleToMatch()([small, np.zeros((2, *fine, 1), "float32")]).numpy()
    rows = np.arange(fine[0]) * coarse[0] // fine[0]
    columns = np.arange(fine[1]) * coarse[1] // fine[1]
    np.testing.assert_array_equal(resized, small[:, rows][:, :, columns])
    if fine == (2 * coarse[0], 2 * coarse[1]):
        np.testing.assert_array_equal(resized, small.repeat(2, axis=1).repeat(2, axis=2))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_upsampling_passes_the_gradient_on(dtype):
    small = tf.ones((1, 3, 4, 1), dtype)
    with tf.GradientTape() as tape:
        tape.watch(small)
        resized = UpsampleToMatch(dtype=dtype)([small, tf.zeros((1, 5, 8, 1), dtype)])
        total = tf.reduce_sum(resized)
    # Each coarse cell collects one per fine cell that it went to: rows 0 0 1 1 2, columns in pairs.
    expected = np.outer([2, 2, 1], [2, 2, 2, 2])
    gradient = tape.gradient(total, small)
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(tf.cast(gradient, tf.float32)[0, :, :, 0], expected)


def identity_fpn(**options):
    """A pyramid whose convolutions pass their input through: 1x1 of ones, 3x3 with centre only."""
    fpn = build_fpn((1, 1, 1), channels=1, **options)
    for layer in fpn.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = np.zeros(layer.kernel.shape, "float32")
            kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1
            layer.set_weights([kernel, np.zeros(1, "float32")])
    return fpn


def test_levels_by_hand():
    c3 = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    c4 = np.float32([[100, 200], [300, 400]]).reshape(1, 2, 2, 1)
    c5 = np.float32([[-1000]]).reshape(1, 1, 1, 1)
    p3, p4, p5, p6, p7 = (p.numpy()[0, :, :, 0] for p in identity_fpn()([c3, c4, c5]))
    assert p5 == -1000
    assert p6 == -1000
    assert p7 == 0  # relu(P6)
    np.testing.assert_array_equal(p4, [[-900, -800], [-700, -600]])
    expected = np.arange(16).reshape(4, 4) + p4.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(p3, expected)
    without_relu = identity_fpn(relu_before_p7=False)([c3, c4, c5])
    assert float(without_relu[4].numpy().squeeze()) == -1000


@pytest.mark.parametrize(("padding", "first"), [("symmetric", 0), ("same", 1)])
def test_padding_of_p6_on_an_even_side(padding, first):
    c5 = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    finer = [np.zeros((1, side, side, 1), "float32") for side in (16, 8)]
    p6 = identity_fpn(padding=padding)([*finer, c5])[3].numpy()[0, :, :, 0]
    # The window's centre is on cells 0, 2 with zeros on both sides, on 1, 3 with zeros behind.
    np.testing.assert_array_equal(p6, c5[0, first::2, first::2, 0])


def test_source_of_p6():
    features = random_features(16, 16)
    for source in ("c5", "p5"):
        fpn = build_fpn(CHANNELS, channels=8, p6_from=source, separable=False)
        before = fpn(features)
        output_p5 = fpn.get_layer("output_p5")
        output_p5.bias.assign_add(np.ones(8, "float32"))
        change = np.abs(fpn(features)[3] - before[3]).max()
        assert (change > 0) == (source == "p5")
        assert fpn.get_layer("output_p6").kernel.shape[2] == (7 if source == "c5" else 8)
    with pytest.raises(ValueError, match="p6_from='c4'"):
        build_fpn(CHANNELS, p6_from="c4")


@pytest.mark.long
@pytest.mark.parametrize("norm", ["none", "batch_norm", "group_norm"])
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("size", [(16, 24), (19, 13)])
def test_every_weight_learns_at_any_size(norm, separable, size):
    fpn = build_fpn(CHANNELS, channels=8, norm=norm, separable=separable, p6_from="p5")
    features = random_features(*size)
    with tf.GradientTape() as tape:
        outputs = fpn(features, training=True)
        loss = tf.add_n([tf.reduce_sum(tf.math.sin(p)) for p in outputs])
    sides = [p.shape[1:3] for p in outputs]
    for finer, coarser in itertools.pairwise(sides):
        assert tuple(coarser) == tuple(-(-side // 2) for side in finer)
    weights = fpn.trainable_weights
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    for weight, gradient in zip(weights, gradients, strict=True):
        assert np.abs(gradient).max() > 0, weight.path


def test_initial_values_keep_the_variance():
    keras.utils.set_random_seed(0)
    fpn = build_fpn((512, 1024, 2048))
    for name, fan_in in (("lateral_c5", 2048), ("output_p3", 9 * 256), ("output_p6", 9 * 2048)):
        kernel = fpn.get_layer(name).kernel.numpy()
        assert kernel.std() == pytest.approx(fan_in**-0.5, rel=0.02)
        assert np.abs(kernel).max() <= np.sqrt(3 / fan_in)
        np.testing.assert_array_equal(fpn.get_layer(name).bias.numpy(), 0)
    parameters = sum(int(np.prod(weight.shape)) for weight in fpn.weights)
    laterals = (512 + 1024 + 2048) * 256 + 3 * 256
    outputs = (3 * 256 + 2048 + 256) * 9 * 256 + 5 * 256
    assert parameters == laterals + outputs


def test_norms_end_the_levels_after_p6_and_p7_are_taken():
    plain = build_fpn(CHANNELS, channels=8)
    normed = build_fpn(CHANNELS, channels=8, norm="group_norm")
    for layer in plain.layers:
        if layer.weights:
            normed.get_layer(layer.name).set_weights(layer.get_weights())
    features = random_features(16, 16)
    for level, (before, after) in enumerate(zip(plain(features), normed(features), strict=True)):
        x = before.numpy()
        # gcd(32, 8) = 8 groups of one channel: each channel of each picture by itself.
        mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
        expected = (x - mean) / np.sqrt(variance + 1e-5)
        np.testing.assert_allclose(after, expected, atol=1e-3, err_msg=str(level))


def test_norm_layer():
    assert norm_layer("group_norm", 256, "a").groups == 32
    assert norm_layer("group_norm", 24, "b").groups == 8
    with pytest.raises(ValueError, match="norm='layer'"):
        norm_layer("layer", 8, "c")


def test_saving_and_mixed_precision(tmp_path):
    features = random_features(9, 14)
    fpn = build_fpn(CHANNELS, channels=8, norm="group_norm", separable=True)
    fpn.save(tmp_path / "fpn.keras")
    again = keras.models.load_model(tmp_path / "fpn.keras")
    for expected, values in zip(fpn(features), again(features), strict=True):
        np.testing.assert_array_equal(expected, values)

    policy = keras.mixed_precision.dtype_policy()
    try:
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
        mixed = build_fpn(CHANNELS, channels=8)
        assert all(p.dtype == tf.bfloat16 for p in mixed(features))
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
