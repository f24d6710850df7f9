"""A box is the bounds of what is still seen of it, and its seen area is counted by pixel."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import tensorflow as tf

from keras_retinanet.data.augmentation.erasing import (
    ERASED_AREA,
    GRID_UNIT,
    erase,
    mask_grid,
    seen_parts,
)

SIDE = 12
CORNERS = st.tuples(*[st.integers(0, SIDE)] * 4)


def sorted_box(box):
    return [min(box[::2]), min(box[1::2]), max(box[::2]), max(box[1::2])]


@hypothesis.given(box=CORNERS.map(sorted_box), hiding=st.lists(CORNERS.map(sorted_box), max_size=3))
@hypothesis.settings(max_examples=80, deadline=None, derandomize=True)
def test_seen_parts_are_what_a_painted_box_still_shows(box, hiding):
    painted, hidden = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)
    painted[box[1] : box[3], box[0] : box[2]] = True
    for x1, y1, x2, y2 in hiding:
        hidden[y1:y2, x1:x2] = True
    cut, area = seen_parts(tf.constant([box], tf.float32), tf.constant(hidden))
    seen = painted & ~hidden
    assert area.numpy()[0] == seen.sum()
    if seen.any():
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        bounds = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_array_equal(cut[0], bounds)


def test_parts_of_pixels_count():
    hidden = tf.constant([[False, True], [False, False]])
    boxes = tf.constant([[0.25, 0.5, 1.5, 1.0], [0.25, 0.5, 1.5, 1.5]])
    cut, area = seen_parts(boxes, hidden)
    np.testing.assert_allclose(area, [0.375, 1.0])
    # The first shows in the left pixel alone, the second in both columns of its lower half.
    np.testing.assert_allclose(cut, [[0.25, 0.5, 1.0, 1.0], [0.25, 0.5, 1.5, 1.5]])


def test_no_boxes_and_nothing_hidden():
    cut, area = seen_parts(tf.zeros([0, 4]), tf.zeros([3, 4], tf.bool))
    assert cut.shape == (0, 4) and area.shape == (0,)
    boxes = tf.constant([[0.5, 0.5, 3.5, 2.5]])
    cut, area = seen_parts(boxes, tf.zeros([3, 4], tf.bool))
    np.testing.assert_array_equal(cut, boxes)
    np.testing.assert_allclose(area, [6.0])


def test_erased_rectangle_is_noise_and_boxes_are_measured_again():
    step, shares, cuts = tf.function(erase), [], 0
    # Noise is 0..255: what is below that is what the picture still shows.
    image = np.full((60, 90, 3), -1, np.float32)
    x1, y1, x2, y2 = box = (20, 10, 50, 40)
    image[y1:y2, x1:x2] = -2
    for number in range(60):
        erased, boxes, area = step(
            tf.constant(image), tf.constant([box], tf.float32), tf.constant([number, 1])
        )
        erased = erased.numpy()
        assert erased.shape == image.shape
        noise = erased.min(-1) >= 0
        np.testing.assert_array_equal(erased[~noise], image[~noise])
        rows, columns = noise.any(1), noise.any(0)
        np.testing.assert_array_equal(noise, rows[:, None] & columns)
        assert np.ptp(np.flatnonzero(rows)) == rows.sum() - 1
        shares.append(noise.mean())
        seen = erased[..., 0] == -2
        assert area.numpy()[0] == seen.sum()
        if seen.any():
            ys, xs = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
            np.testing.assert_array_equal(boxes[0], [xs[0], ys[0], xs[-1] + 1, ys[-1] + 1])
            cuts += tuple(boxes[0].numpy()) != box
    assert ERASED_AREA[0] * 0.8 < min(shares) < 0.08 and 0.3 < max(shares) < ERASED_AREA[1] * 1.05
    assert cuts > 2


def test_a_grid_hides_squares_and_boxes_are_measured_again():
    step, cuts, color = tf.function(mask_grid), 0, (7.0, 8.0, 9.0)
    image = np.full((60, 90, 3), -1, np.float32)
    x1, y1, x2, y2 = box = (20, 10, 32, 22)
    image[y1:y2, x1:x2] = -2
    for number in range(60):
        masked, boxes, area = step(
            tf.constant(image), tf.constant([box], tf.float32), tf.constant([number, 2]), color
        )
        is_hidden = masked.numpy()[..., 0] == 7
        np.testing.assert_array_equal(masked.numpy()[is_hidden], [color] * is_hidden.sum())
        np.testing.assert_array_equal(masked.numpy()[~is_hidden], image[~is_hidden])
        rows, columns = is_hidden.any(1), is_hidden.any(0)
        np.testing.assert_array_equal(is_hidden, rows[:, None] & columns)
        # No square is larger than its part of the largest unit.
        run = max(map(len, "".join("01"[int(hidden)] for hidden in columns).split("0")))
        assert run <= 0.4 * GRID_UNIT[1] * 60 + 1
        seen = masked.numpy()[..., 0] == -2
        assert area.numpy()[0] == seen.sum()
        if seen.any():
            rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
            bounds = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_array_equal(boxes[0], bounds)
            cuts += bounds != list(box)
    assert cuts > 5
