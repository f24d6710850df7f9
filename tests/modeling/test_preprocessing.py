"""Sizes by hand, canvases for every size, and pixels against plain NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_retinanet.modeling.preprocessing import PixelNormalization, Preprocessing

# 2,000 (height, width) pairs: 40 heights and 50 widths from 1 to some 4,000 px.
GRID = [(1 + 101 * i, 1 + 83 * j) for i in range(40) for j in range(50)]
MULTI_SCALE = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)


# ------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("original", "resized"),
    [
        ((480, 640), (800, 1067)),  # x 5/3
        ((640, 480), (1067, 800)),
        ((427, 640), (800, 1199)),  # x 1.87354
        ((300, 900), (444, 1333)),  # the long side binds: x 1.48111
        ((1600, 1600), (800, 800)),
        ((4000, 6000), (800, 1200)),
        ((1, 1), (800, 800)),
        ((1, 5000), (1, 1333)),  # a third of a pixel becomes one
        ((5000, 1), (1333, 1)),
    ],
)
def test_resized_size_of_800_and_1333(original, resized):
    assert Preprocessing().resized_size(*original) == resized


def test_resized_size_of_another_short_side():
    # The bound moves along: 1333 * 400 / 800 = 666.5, rounded to 666.
    assert Preprocessing().resized_size(480, 640, 400) == (400, 533)
    assert Preprocessing().resized_size(300, 900, 400) == (222, 666)


@pytest.mark.parametrize("canvas", ["buckets", "exact"])
@pytest.mark.parametrize("short_side", [None, 400, 544, 800])
def test_the_canvas_holds_every_resized_picture(canvas, short_side):
    preprocessing = Preprocessing(canvas=canvas)
    for original in GRID:
        resized = preprocessing.resized_size(*original, short_side)
        height, width = preprocessing.canvas_size(*resized, short_side)
        assert height >= resized[0] >= 1
        assert width >= resized[1] >= 1
        assert height % 32 == width % 32 == 0


@settings(deadline=None, max_examples=200)
@given(
    original=st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
    sides=st.tuples(st.integers(1, 1000), st.integers(1, 1000)).map(sorted),
    multiple=st.sampled_from([1, 8, 32, 128]),
    canvas=st.sampled_from(["buckets", "exact"]),
    factor=st.floats(0.3, 2),
)
def test_the_canvas_holds_any_picture_of_any_model(original, sides, multiple, canvas, factor):
    preprocessing = Preprocessing(*sides, canvas=canvas, multiple=multiple)
    for short_side in (None, max(1, round(sides[0] * factor))):
        resized = preprocessing.resized_size(*original, short_side)
        height, width = preprocessing.canvas_size(*resized, short_side)
        assert height >= resized[0]
        assert width >= resized[1]
        assert height % multiple == width % multiple == 0


def canvases(preprocessing, short_sides=(None,)):
    return {
        preprocessing.canvas_size(*preprocessing.resized_size(*original, side), side)
        for original in GRID
        for side in short_sides
    }


def test_few_canvases_for_many_sizes():
    found = canvases(Preprocessing())
    assert found == {
        (800, 800), (800, 960), (800, 1088), (800, 1216), (800, 1344),
        (960, 800), (1088, 800), (1216, 800), (1344, 800),
    }  # fmt: skip


def test_few_canvases_for_every_short_side():
    assert len(canvases(Preprocessing(), MULTI_SCALE)) <= 9 * len(MULTI_SCALE)


def test_a_square_model_has_one_canvas():
    assert canvases(Preprocessing(320, 320)) == {(320, 320)}


def test_exact_canvases_round_up_alone():
    preprocessing = Preprocessing(canvas="exact")
    assert preprocessing.canvas_size(800, 1067) == (800, 1088)
    assert preprocessing.canvas_size(1, 33) == (32, 64)


def test_a_long_side_below_the_short_is_refused():
    with pytest.raises(ValueError, match="short_side=800, long_side=600"):
        Preprocessing(800, 600)


# ------------------------------------------------------------------------------------ pixels


def numpy_bilinear(image, size):
    """Half-pixel centres, edges repeated, no antialiasing; float64."""

    def axis(old, new):
        place = (np.arange(new) + 0.5) * old / new - 0.5
        low = np.floor(place).astype(int)
        return np.clip(low, 0, old - 1), np.clip(low + 1, 0, old - 1), place - low

    top, bottom, down = axis(image.shape[0], size[0])
    left, right, along = axis(image.shape[1], size[1])
    rows = [
        image[y][:, left] * (1 - along)[:, None] + image[y][:, right] * along[:, None]
        for y in (top, bottom)
    ]
    return rows[0] * (1 - down)[:, None, None] + rows[1] * down[:, None, None]


@pytest.mark.parametrize("size", [(11, 7), (5, 20), (13, 17), (1, 1), (26, 34)])
def test_resize_is_bilinear_with_half_pixel_centres(rng, size):
    image = rng.integers(0, 256, (13, 17, 3), np.uint8)
    resized = Preprocessing().resize(image, size)
    assert resized.dtype == tf.float32  # also where the size stays
    np.testing.assert_allclose(resized, numpy_bilinear(image.astype("f8"), size), atol=1e-3)


def test_antialias_averages_what_shrinks(rng):
    # Every second column is white: sampling takes two neighbours, averaging takes all.
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, ::4] = 255
    smooth = Preprocessing(antialias=True).resize(image, (8, 8))[2:-2, 2:-2]
    np.testing.assert_allclose(smooth, np.full((4, 4, 3), 255 / 4), atol=8)
    plain = Preprocessing().resize(image, (8, 8))
    np.testing.assert_allclose(plain, np.zeros((8, 8, 3)), atol=1e-3)


def test_resize_and_pad_trace_once_for_all_sizes(rng):
    preprocessing, traces = Preprocessing(), []

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, 3), tf.uint8),
            tf.TensorSpec((2,), tf.int32),
            tf.TensorSpec((2,), tf.int32),
        ]
    )
    def network_input(image, size, canvas):
        traces.append(1)
        return preprocessing.pad(preprocessing.resize(image, size), canvas)

    for shape in [(9, 12, 3), (20, 5, 3)]:
        image = rng.integers(0, 256, shape, np.uint8)
        found = network_input(image, tf.constant([18, 10]), tf.constant([32, 64]))
        expected = numpy_bilinear(image.astype("f8"), (18, 10))
        np.testing.assert_allclose(found[:18, :10], expected, atol=1e-3)
    assert len(traces) == 1


@pytest.mark.parametrize("color_order", ["rgb", "bgr"])
def test_padding_is_zero_after_normalisation(rng, color_order):
    own = {"mean": (103.53, 116.28, 123.675), "std": (57.375, 57.12, 58.395)}
    preprocessing = Preprocessing(color_order=color_order, **own)
    image = rng.uniform(0, 255, (5, 7, 3)).astype("f4")
    padded = preprocessing.pad(image, (8, 16))
    normalized = PixelNormalization(**own, color_order=color_order)(padded[None])[0].numpy()
    assert normalized.shape == (8, 16, 3)
    np.testing.assert_array_equal(normalized[5:], 0)
    np.testing.assert_array_equal(normalized[:, 7:], 0)
    ordered = image if color_order == "rgb" else image[..., ::-1]
    expected = (ordered - np.array(own["mean"])) / np.array(own["std"])
    np.testing.assert_allclose(normalized[:5, :7], expected, atol=1e-5)


def test_letterbox_puts_the_picture_at_the_top_left(rng):
    preprocessing = Preprocessing(64, 96)
    image = rng.integers(0, 256, (30, 40, 3), np.uint8)
    network_input, size = preprocessing.letterbox(image)
    assert size == (64, 85)
    assert network_input.shape == (64, 96, 3)
    expected = numpy_bilinear(image.astype("f8"), size)
    np.testing.assert_allclose(network_input[:, :85], expected, atol=1e-3)
    mean = np.broadcast_to(np.float32([123.675, 116.28, 103.53]), (64, 11, 3))
    np.testing.assert_array_equal(network_input[:, 85:], mean)


def test_letterbox_depends_on_the_picture_alone(rng):
    preprocessing = Preprocessing(64, 96)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in [(30, 40), (90, 20), (7, 7)]]
    forward = [preprocessing.letterbox(image)[0] for image in images]
    backward = [preprocessing.letterbox(image)[0] for image in images[::-1]][::-1]
    for one, other, canvas in zip(forward, backward, [(64, 96), (96, 64), (64, 64)], strict=True):
        assert one.shape[:2] == canvas
        np.testing.assert_array_equal(one, other)


# ------------------------------------------------------------------------------ normalisation


@pytest.mark.parametrize("color_order", ["rgb", "bgr"])
def test_normalisation_by_hand(color_order):
    layer = PixelNormalization((1.0, 2.0, 3.0), (2.0, 4.0, 5.0), color_order)
    expected = {"rgb": [4.5, 4.5, 5.4], "bgr": [14.5, 4.5, 1.4]}  # of (10, 20, 30)
    found = layer(np.float32([[[[10, 20, 30]]]]))
    np.testing.assert_allclose(found, [[[expected[color_order]]]], rtol=1e-6)


def test_normalisation_stays_float32_under_mixed_precision():
    # 255 grey levels need 8 bits of fraction: bfloat16 has 7.
    levels = np.repeat(np.arange(256, dtype="f4")[None, None, :, None], 3, -1)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = PixelNormalization((0.0,) * 3, (1.0,) * 3)(levels)
    finally:
        keras.config.set_dtype_policy("float32")
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, levels)


def test_normalisation_config_round_trip():
    layer = PixelNormalization((1.0, 2.0, 3.0), (2.0, 4.0, 5.0), "bgr", name="normalization")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    images = np.float32([[[[10, 20, 30]]]])
    np.testing.assert_array_equal(copy(images), layer(images))


# -------------------------------------------------------------------------------------- boxes


def test_boxes_come_back_from_the_resized_image(rng):
    boxes = rng.uniform(0, 400, (50, 4)).astype("f4")
    preprocessing, original = Preprocessing(), (427, 640)
    size = preprocessing.resized_size(*original)
    scale = np.float32([size[1] / 640, size[0] / 427] * 2)
    back = preprocessing.boxes_to_picture(boxes * scale, size, original)
    np.testing.assert_allclose(back, boxes, rtol=1e-5)


def test_boxes_follow_the_pixels():
    # A white rectangle on black, resized, still fills its scaled box.
    preprocessing = Preprocessing(64, 96)
    image = np.zeros((32, 40, 3), np.uint8)
    image[8:24, 10:30] = 255
    network_input, size = preprocessing.letterbox(image)
    box = [10 * size[1] / 40, 8 * size[0] / 32, 30 * size[1] / 40, 24 * size[0] / 32]
    white = np.argwhere(network_input[: size[0], : size[1], 0] > 127)
    np.testing.assert_allclose(white.min(0)[::-1], box[:2], atol=0.5)
    np.testing.assert_allclose(white.max(0)[::-1] + 1, box[2:], atol=0.5)


# ------------------------------------------------------------------------------- fixed canvases


def test_fit_by_hand():
    preprocessing = Preprocessing()  # its own sides do not matter
    assert preprocessing.fit(480, 640, (320, 320)) == (240, 320)
    assert preprocessing.fit(640, 480, (320, 320)) == (320, 240)
    assert preprocessing.fit(480, 640, (240, 416)) == (240, 320)
    assert preprocessing.fit(480, 640, (416, 240)) == (180, 240)
    assert preprocessing.fit(1, 5000, (64, 96)) == (1, 96)
    # 100 * 96 / 150 = 64; 101 * 96 / 150 = 64.64.
    for rounding, width in (("even", 65), ("floor", 64), ("half_up", 65)):
        assert Preprocessing(rounding=rounding).fit(150, 101, (96, 128)) == (96, width)
    square = Preprocessing(64, 64, canvas="square", pad_first=True)
    assert square.fit(30, 50, (96, 128)) == (96, 96)


@pytest.mark.parametrize("rounding", ["even", "floor", "half_up"])
def test_fit_of_a_square_model_is_its_resize(rounding):
    preprocessing = Preprocessing(416, 416, canvas="square", rounding=rounding)
    for original in GRID:
        assert preprocessing.fit(*original, (416, 416)) == preprocessing.resized_size(*original)


def test_letterbox_into_a_canvas_of_ones_own(rng):
    preprocessing = Preprocessing(64, 96)
    image = rng.integers(0, 256, (30, 40, 3), np.uint8)
    found, size = preprocessing.letterbox_into(image, (60, 100))
    assert size == (60, 80)
    assert found.shape == (60, 100, 3)
    expected = numpy_bilinear(image.astype("f8"), size)
    np.testing.assert_allclose(found[:, :80], expected, atol=1e-3)
    mean = np.broadcast_to(np.float32([123.675, 116.28, 103.53]), (60, 20, 3))
    np.testing.assert_array_equal(found[:, 80:], mean)
