"""The subnets: order of rows, prior, sharing over levels, norms, float32 ends."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config.model import LEVELS
from keras_retinanet.modeling.heads import build_head

SIDES = ((6, 5), (3, 3), (2, 2), (1, 1), (1, 1))
CELLS = sum(height * width for height, width in SIDES)


def random_levels(channels=8, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(batch, *side, channels)).astype("float32") for side in SIDES]


def small_head(**options):
    settings = {"in_channels": 8, "num_anchors": 3, "outputs_per_anchor": 4, "channels": 8}
    return build_head("head", **{**settings, "depth": 2, **options})


def test_rows_are_ordered_by_level_row_column_anchor():
    head = small_head(in_channels=3, depth=0, outputs_per_anchor=2)
    # The level's three channels hold (level, row, column); output 2 * a + k gives k ? column +
    # a / 10 : level * 100 + row.
    kernel = np.zeros((3, 3, 3, 6), "float32")
    kernel[1, 1, 0, 0::2], kernel[1, 1, 1, 0::2], kernel[1, 1, 2, 1::2] = 100, 1, 1
    bias = np.float32([0, 0, 0, 0.1, 0, 0.2])
    head.get_layer("final").set_weights([kernel, bias])
    levels, expected = [], []
    for level, (height, width) in zip(LEVELS, SIDES, strict=True):
        rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        levels.append(np.stack([np.full_like(rows, level), rows, columns], -1)[None])
        expected += [
            (100 * level + row, column + anchor / 10)
            for row in range(height)
            for column in range(width)
            for anchor in range(3)
        ]
    rows = head([level.astype("float32") for level in levels])
    np.testing.assert_allclose(rows[0], expected, rtol=1e-6)


def test_published_size():
    """256 channels, 9 anchors, 80 classes: 4 towers and 720 or 36 outputs."""
    options = {"in_channels": 256, "num_anchors": 9}
    tower = 4 * (9 * 256 * 256 + 256)
    for outputs in (80, 4):
        head = build_head("head", outputs_per_anchor=outputs, **options)
        parameters = sum(int(np.prod(weight.shape)) for weight in head.weights)
        assert parameters == tower + 9 * 256 * 9 * outputs + 9 * outputs
        assert head.get_layer("conv1").kernel.numpy().std() == pytest.approx(0.01, rel=0.02)
        assert head.get_layer("final").kernel.numpy().std() == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize("norm", ["none", "group_norm", "batch_norm"])
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_prior_holds(norm, separable, training):
    options = {"channels": 64, "norm": norm, "separable": separable, "outputs_per_anchor": 20}
    head = small_head(prior=0.01, **options)
    probabilities = tf.sigmoid(head(random_levels(), training=training)).numpy()
    assert probabilities.shape == (2, CELLS * 3, 20)
    assert probabilities.mean() == pytest.approx(0.01, rel=0.2)
    head = small_head(**options)
    np.testing.assert_array_equal(head.get_layer("final").bias.numpy(), 0)
    assert abs(float(np.mean(head(random_levels(), training=training)))) < 0.1


def test_levels_share_convolutions():
    head = small_head()
    assert [w.path for w in head.weights] == [
        f"{layer}/{part}" for layer in ("conv1", "conv2", "final") for part in ("kernel", "bias")
    ]
    # The same map at two levels gives the same rows.
    levels = random_levels()
    levels[4] = levels[3]
    rows = head(levels).numpy()
    np.testing.assert_array_equal(rows[:, -3:], rows[:, -6:-3])


def test_group_norm_is_shared_and_its_convolutions_have_no_bias():
    head = small_head(norm="group_norm", channels=24)
    assert head.get_layer("norm1").groups == 8
    names = {weight.path for weight in head.weights}
    assert "conv1/bias" not in names
    assert "norm2/gamma" in names
    assert "final/bias" in names
    assert len(names) == 2 * 3 + 2


def test_batch_norm_keeps_each_levels_statistics():
    head = small_head(norm="batch_norm")
    assert "conv1/bias" not in {weight.path for weight in head.weights}
    levels = [level + 10 * index for index, level in enumerate(random_levels())]
    head(levels, training=True)
    tower = head.get_layer("conv1")
    for level, values in zip(LEVELS, levels, strict=True):
        batch_norm = head.get_layer(f"norm1_p{level}")
        mean = tower(values).numpy().mean((0, 1, 2))
        np.testing.assert_allclose(
            batch_norm.moving_mean.numpy(), 0.01 * mean, rtol=1e-3, atol=1e-6
        )


@pytest.mark.parametrize("norm", ["none", "group_norm", "batch_norm"])
@pytest.mark.parametrize("separable", [False, True])
def test_every_weight_learns(norm, separable):
    head = small_head(norm=norm, separable=separable)
    for layer in head.layers:
        if layer.name.startswith("conv") and norm == "none":
            # Away from the dead start that two layers of .01 are for numbers this small.
            layer.set_weights([10 * values for values in layer.get_weights()])
    weights = [weight.value for weight in head.trainable_weights]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.math.sin(head(random_levels(), training=True)))
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert np.abs(gradient).max() > 0, weight.name


@pytest.mark.parametrize("prior", [0.01, None])
@pytest.mark.parametrize("norm", ["none", "group_norm", "batch_norm"])
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_outputs_are_float32_under_any_policy(norm, precision, prior):
    """Boxes are computed in it, classes have their bias added in it."""
    policy = keras.mixed_precision.dtype_policy()
    try:
        keras.mixed_precision.set_dtype_policy(precision)
        head = small_head(norm=norm, prior=prior)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    half = precision.removeprefix("mixed_")
    assert head.get_layer("conv1").compute_dtype == half
    assert head.get_layer("final").compute_dtype == ("float32" if prior is None else half)
    rows = head(random_levels())
    assert rows.dtype == tf.float32
    # Not rounded to 8 or 11 bits on the way: most values change when they are.
    assert np.mean(rows.numpy() != rows.numpy().astype("float16")) > 0.5


def test_saving(tmp_path):
    head = small_head(norm="batch_norm", separable=True, prior=0.01)
    head.save(tmp_path / "head.keras")
    again = keras.models.load_model(tmp_path / "head.keras")
    np.testing.assert_array_equal(head(random_levels()), again(random_levels()))
