"""Augmentation: boxes go exactly where the pixels go."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data.transforms import (
    augment,
    crop_window,
    flip_horizontal,
    jitter_color,
    move_boxes,
    pad_labels,
    visible_boxes,
)
from keras_retinanet.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(short_side=120, long_side=160)
RED, BACKGROUND = (250, 20, 20), (40, 120, 200)


def labels(boxes):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return {
        "boxes": tf.constant(boxes),
        "classes": tf.range(len(boxes)),
        "ignore": tf.zeros(len(boxes), tf.bool),
    }


def run(image, boxes, config, *, seed=(0, 0), resized=(120, 160), canvas=(128, 160)):
    image, found = augment(
        tf.constant(image),
        labels(boxes),
        resized_size=tf.constant(resized),
        canvas=tf.constant(canvas),
        seed=tf.constant(seed, tf.int32),
        config=config,
        preprocessing=PREPROCESSING,
    )
    return image.numpy(), {name: value.numpy() for name, value in found.items()}


def red_bounds(image):
    """Returns the xyxy of the pixels nearer to RED than to anything else there."""
    red = image[..., 0] - image[..., 2] > (RED[0] - RED[2] + BACKGROUND[0] - BACKGROUND[2]) / 2
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else None


@pytest.mark.parametrize("resized", [(120, 160), (60, 80), (180, 240)])
@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.4, 0.7), (0.8, 1.3), (2.0, 4.0)])
def test_pixels_lie_where_the_box_says(scale, resized):
    config = AugmentConfig(flip=0.5, scale=scale, color=0.1, min_visible=0.0)
    canvas = (-(-resized[0] // 32) * 32, -(-resized[1] // 32) * 32)
    step = tf.function(
        lambda image, boxes, seed: augment(
            image,
            {"boxes": boxes, "classes": [0], "ignore": [False]},
            resized_size=tf.constant(resized),
            canvas=tf.constant(canvas),
            seed=seed,
            config=config,
            preprocessing=PREPROCESSING,
        )
    )
    rng, seen = np.random.default_rng(1), 0
    for number in range(40):
        x1, y1 = rng.integers(0, [150, 100])
        x2, y2 = [x1, y1] + rng.integers(30, [170, 140])
        image = np.full((240, 320, 3), BACKGROUND, np.uint8)
        image[y1:y2, x1:x2] = RED
        box = tf.constant([[x1, y1, x2, y2]], tf.float32)
        content, found = step(tf.constant(image), box, tf.constant([number, 7]))
        assert content.shape == (*canvas, 3)
        bounds, boxes = red_bounds(content.numpy()), found["boxes"].numpy()
        if bounds is None:
            # A sliver thinner than half a pixel may vanish from the pixels first.
            assert len(boxes) == 0 or (boxes[0, 2:] - boxes[0, :2]).min() < 1
            continue
        seen += 1
        np.testing.assert_allclose(boxes[0], bounds, atol=1.0)
    assert seen > 20


def test_without_options_it_is_the_letterbox_of_prediction(rng):
    image = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    preprocessing = Preprocessing(short_side=64, long_side=96)
    expected, size = preprocessing.letterbox(image)
    content, found = augment(
        tf.constant(image),
        labels([[12, 9, 60, 45]]),
        resized_size=tf.constant(size),
        canvas=tf.shape(expected)[:2],
        seed=tf.constant([1, 2]),
        config=AugmentConfig(flip=0.0),
        preprocessing=preprocessing,
    )
    np.testing.assert_array_equal(content, expected)
    assert size == (64, 85)
    expected_box = np.array([12, 9, 60, 45]) * [85 / 120, 64 / 90, 85 / 120, 64 / 90]
    np.testing.assert_allclose(found["boxes"], [expected_box], rtol=1e-6)


def test_same_seed_same_example_and_another_seed_another(rng):
    image = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    config = AugmentConfig(scale=(0.5, 2.0), color=0.3)
    results = [
        run(image, [[80, 60, 240, 180]], config, seed=seed) for seed in [(1, 2)] * 2 + [(1, 3)]
    ]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1]["boxes"], results[1][1]["boxes"])
    assert np.abs(results[0][0] - results[2][0]).mean() > 1


def test_flip_twice_is_the_identity(rng):
    image = tf.constant(rng.random((5, 8, 3), np.float32))
    boxes = tf.constant([[1.0, 0.5, 3.0, 4.0], [0.0, 0.0, 8.0, 5.0]])
    flipped = flip_horizontal(image, boxes)
    np.testing.assert_allclose(flipped[1], [[5, 0.5, 7, 4], [0, 0, 8, 5]])
    np.testing.assert_array_equal(flipped[0][:, 0], image[:, 7])
    for twice, once in zip(flip_horizontal(*flipped), (image, boxes), strict=True):
        np.testing.assert_array_equal(twice, once)


def test_boxes_move_with_the_window():
    boxes = tf.constant([[30.0, 20.0, 50.0, 40.0]])
    # The window starts at y 10, x 20 and is 100 x 200, shown at half and double the size.
    moved = move_boxes(
        boxes, tf.constant([10, 20]), tf.constant([100, 200]), tf.constant([50, 400])
    )
    np.testing.assert_allclose(moved, [[20, 5, 60, 15]])


@pytest.mark.parametrize("scale", [0.1, 0.6, 1.0, 1.5, 5.0])
def test_windows_fill_the_canvas_or_show_all(scale):
    source, resized, canvas = np.array([(480, 640), (240, 320), (256, 320)], np.int32)
    draw = tf.function(lambda seed: crop_window(source, resized, canvas, scale, seed))
    offsets = set()
    for number in range(50):
        start, length, size, offset = (v.numpy() for v in draw(tf.constant([number, 0])))
        np.testing.assert_array_equal(size, np.minimum(np.round(resized * scale), canvas))
        assert (start >= 0).all() and (start + length <= source).all()
        assert (offset >= 0).all() and (offset + size <= canvas).all()
        # One scale for both axes, within the rounding to whole pixels.
        assert (np.abs(length * scale / 2 - size) <= max(1.0, scale)).all()
        offsets.add(tuple(start + offset))
    assert len(offsets) > 10


def test_boxes_that_are_nearly_cut_away_are_dropped():
    boxes = tf.constant([[-90.0, 0, 10, 10], [-89, 0, 11, 10], [5, 5, 5, 9], [20, 0, 30, 10]])
    cut, keep = visible_boxes(boxes, tf.constant([50, 25]), 0.105)
    assert keep.numpy().tolist() == [False, True, False, True]
    np.testing.assert_allclose(cut[1], [0, 0, 11, 10])
    np.testing.assert_allclose(cut[3], [20, 0, 25, 10])


def test_box_out_of_the_picture_is_clipped_before_the_area_counts():
    image = np.zeros((120, 160, 3), np.uint8)
    # A twentieth of this box is in the picture, and all of that is seen.
    boxes = [[-190, 0, 10, 10], [-20, -20, -5, -5], [0, 0, 10, 10]]
    _, found = run(image, boxes, AugmentConfig(flip=0.0, min_visible=0.5))
    assert found["classes"].tolist() == [0, 2]
    np.testing.assert_allclose(found["boxes"], [[0, 0, 10, 10]] * 2)


def test_color_changes_are_bounded_and_grey_stays_grey(rng):
    image = tf.constant(rng.integers(100, 150, (8, 8, 3)).astype(np.float32))
    np.testing.assert_allclose(jitter_color(image, 0.0, [0, 0]), image, atol=1e-3)
    grey = tf.tile(image[..., :1], [1, 1, 3])
    changed = [jitter_color(grey, 0.5, [number, 0]).numpy() for number in range(20)]
    for result in changed:
        np.testing.assert_allclose(result[..., 0], result[..., 2], atol=1e-2)
        assert 0 <= result.min() and result.max() <= 255
    means = np.array([result.mean() for result in changed]) / grey.numpy().mean()
    assert 0.49 < means.min() < 0.8 and 1.2 < means.max() < 1.51


def test_padding_has_the_mean_color():
    image = np.zeros((120, 160, 3), np.uint8)
    content, _ = run(image, [], AugmentConfig(flip=0.0, color=0.5, scale=(0.5, 0.5)))
    is_padding = content.max(axis=-1) > 1
    assert is_padding.sum() == 128 * 160 - 60 * 80
    padding = content[is_padding]
    np.testing.assert_allclose(padding, np.tile(PREPROCESSING.mean, (len(padding), 1)), rtol=1e-5)


def test_padded_labels():
    padded = pad_labels(labels([[1, 2, 3, 4], [5, 6, 7, 8]]), 3)
    assert padded["classes"].numpy().tolist() == [0, 1, -1]
    assert padded["boxes"].numpy()[2].tolist() == [0, 0, 0, 0]
    assert padded["ignore"].numpy().tolist() == [False] * 3
    cut = pad_labels(labels([[1, 2, 3, 4], [5, 6, 7, 8]]), 1)
    assert cut["classes"].numpy().tolist() == [0] and cut["boxes"].shape == (1, 4)
    assert pad_labels(labels([]), 2)["classes"].numpy().tolist() == [-1, -1]
