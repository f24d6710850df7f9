"""Pixels and boxes go to the same place: laws, and painted rectangles measured again."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.data.augmentation.geometry import (
    crop_window,
    flip_horizontal,
    flip_vertical,
    move_boxes,
    turn,
    visible_boxes,
)

MOVES = {
    "flip_horizontal": lambda *args: (*flip_horizontal(*args), args[2]),
    "flip_vertical": lambda *args: (*flip_vertical(*args), args[2]),
    **{f"turn {n}": lambda *args, n=n: turn(*args, tf.constant(n)) for n in range(4)},
}
TIMES_TO_IDENTITY = dict(zip(MOVES, (2, 2, 1, 4, 2, 4), strict=True))
# A coordinate in quarters of a pixel: exact in float32, also after a subtraction.
QUARTERS = st.integers(0, 160).map(lambda value: value / 4)


def bounds_of(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize("name", MOVES)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
def test_repeated_moves_are_the_identity(name, data):
    size = tf.constant(data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9))))
    count = data.draw(st.integers(0, 3))
    boxes = tf.reshape(tf.constant([data.draw(QUARTERS) for _ in range(4 * count)]), [count, 4])
    image = tf.reshape(tf.range(tf.reduce_prod(size) * 3), [*size, 3])
    moved = (image, boxes, size)
    for _ in range(TIMES_TO_IDENTITY[name]):
        moved = MOVES[name](*moved)
    for after, before in zip(moved, (image, boxes, size), strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("name", MOVES)
def test_a_painted_rectangle_is_where_its_box_went(name, rng):
    for _ in range(5):
        size = rng.integers(5, 30, 2)
        y1, x1 = rng.integers(0, size - 1)
        y2, x2 = rng.integers([y1 + 1, x1 + 1], size + 1)
        image = np.zeros((*size, 3), np.uint8)
        image[y1:y2, x1:x2] = 9
        boxes = tf.constant([[x1, y1, x2, y2]], tf.float32)
        image, boxes, size = MOVES[name](tf.constant(image), boxes, tf.constant(size, tf.int32))
        assert tuple(size) == image.shape[:2]
        np.testing.assert_array_equal(boxes[0], bounds_of(image.numpy()[..., 0] > 0))


def test_quarter_turns_go_counter_clockwise():
    image, boxes = tf.reshape(tf.range(18), [2, 3, 3]), tf.constant([[0.0, 0.0, 1.0, 1.0]])
    corners = [[0, 0, 1, 1], [0, 2, 1, 3], [2, 1, 3, 2], [1, 0, 2, 1]]
    for turns, corner in enumerate(corners):
        turned, moved, _ = turn(image, boxes, tf.constant([2, 3]), tf.constant(turns))
        np.testing.assert_array_equal(turned, np.rot90(image, turns))
        np.testing.assert_array_equal(moved[0], corner)


def test_flip_of_a_window_that_is_resized_later():
    # The window is 5 x 8 pixels, its boxes are already in the 10 x 16 it becomes.
    image, boxes = tf.zeros([5, 8, 3]), tf.constant([[2.0, 1.0, 6.0, 8.0]])
    np.testing.assert_array_equal(flip_horizontal(image, boxes, (10, 16))[1], [[10, 1, 14, 8]])
    np.testing.assert_array_equal(flip_vertical(image, boxes, (10, 16))[1], [[2, 2, 6, 9]])


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


@hypothesis.given(
    boxes=st.lists(st.tuples(*[st.integers(-200, 200)] * 4), min_size=1, max_size=5),
    size=st.tuples(st.integers(1, 99), st.integers(1, 99)),
    min_visible=st.floats(0, 1, width=32),
)
@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
def test_kept_boxes_lie_inside_and_show_enough(boxes, size, min_visible):
    corners = np.sort(np.array(boxes, np.float32).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    cut, keep = visible_boxes(tf.constant(corners), tf.constant(size), min_visible)
    for whole, seen, is_kept in zip(corners, cut.numpy(), keep.numpy(), strict=True):
        assert (seen >= 0).all() and (seen <= np.tile(size[::-1], 2)).all()
        area, seen_area = ((b[2] - b[0]) * (b[3] - b[1]) for b in (whole, seen))
        assert is_kept == (seen_area > 0 and seen_area >= np.float32(min_visible) * area)
