"""Free rotation, shear and translation: a box is the bounds of what is seen of the turned one."""

import numpy as np
import pytest
import tensorflow as tf
from augmenting import augment

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data.augmentation.affine import Affine, move_boxes, warp
from keras_retinanet.modeling.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(short_side=120, long_side=160)
RED, BACKGROUND = (250, 20, 20), (40, 120, 200)
CANVAS = (128, 192)
MOVING = {
    "rotate": {"rotate": 180.0},
    "shear": {"shear": 30.0},
    "translate": {"translate": 0.4},
    "all": {"rotate": 60.0, "shear": 20.0, "translate": 0.3, "scale": (0.5, 1.5), "flip": 0.5},
}


def stepper(config, *, ignore=False):
    return tf.function(
        lambda image, boxes, seed: augment(
            image,
            {"boxes": boxes, "classes": [0], "ignore": [ignore]},
            resized_size=tf.constant([120, 160]),
            canvas=tf.constant(CANVAS),
            seed=seed,
            config=config,
            preprocessing=PREPROCESSING,
        )
    )


def painted(box, *, is_ellipse=False):
    image = np.full((240, 320, 3), BACKGROUND, np.uint8)
    x1, y1, x2, y2 = box
    y, x = np.mgrid[:240, :320] + 0.5
    is_red = (x1 < x) & (x < x2) & (y1 < y) & (y < y2)
    if is_ellipse:
        place = (2 * x - x1 - x2) / (x2 - x1), (2 * y - y1 - y2) / (y2 - y1)
        is_red &= place[0] ** 2 + place[1] ** 2 < 1
    image[is_red] = RED
    return tf.constant(image)


def red_bounds(image):
    """Return the xyxy of the pixels nearer to RED than to the rest, and their number."""
    share = (image[..., 0] - image[..., 2] + 160) / 390
    rows, columns = np.flatnonzero((share > 0.5).any(1)), np.flatnonzero((share > 0.5).any(0))
    if len(rows) == 0:
        return None
    # The padding has another color, which is a little nearer to red.
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


@pytest.mark.long
@pytest.mark.parametrize("name", MOVING)
def test_pixels_lie_where_the_box_says(name):
    config = AugmentConfig(**{"flip": 0.0, "min_visible": 0.0} | MOVING[name])
    step, rng, seen, cut = stepper(config), np.random.default_rng(1), 0, 0
    for number in range(60):
        x1, y1 = rng.integers(0, [200, 130])
        box = [x1, y1, *([x1, y1] + rng.integers(40, [120, 110]))]
        image, found = step(painted(box), tf.constant([box], tf.float32), tf.constant([number, 7]))
        bounds, boxes = red_bounds(image.numpy()), found["boxes"].numpy()
        assert image.shape == (*CANVAS, 3)
        if bounds is None:
            assert len(boxes) == 0 or (boxes[0, 2:] - boxes[0, :2]).min() < 1.5
            continue
        seen += 1
        cut += bool((bounds == [0, 0, *CANVAS[::-1]]).any())
        # A corner of less than half a pixel's area is not seen as red: up to a pixel and a half.
        np.testing.assert_allclose(boxes[0], bounds, atol=2.0)
        assert (boxes[0, :2] <= bounds[:2] + 1).all() and (boxes[0, 2:] >= bounds[2:] - 1).all()
    assert seen > 40 and cut > (3 if name != "shear" else 0)


def test_a_round_object_has_a_tight_box_and_a_cut_one_that_of_the_corners():
    config = AugmentConfig(flip=0.0, rotate=180.0, shear=15.0, round_objects=True)
    step, loose = stepper(config), stepper(AugmentConfig(flip=0.0, rotate=180.0, shear=15.0))
    ignored = stepper(config, ignore=True)
    box, at_border = (120, 80, 220, 130), (0, 80, 100, 130)
    saved = []
    for number in range(20):
        seed = tf.constant([number, 3])
        boxes = tf.constant([box], tf.float32)
        image, found = step(painted(box, is_ellipse=True), boxes, seed)
        np.testing.assert_allclose(found["boxes"][0], red_bounds(image.numpy()), atol=1.2)
        _, corners = loose(painted(box), boxes, seed)
        areas = [np.prod(b[2:] - b[:2]) for b in (found["boxes"][0], corners["boxes"][0])]
        saved.append(float(areas[0] / areas[1]))
        assert saved[-1] < 1.001
        _, kept = ignored(painted(box), boxes, seed)
        np.testing.assert_allclose(kept["boxes"], corners["boxes"], atol=1e-3)
        # What the image cuts is no ellipse.
        cut = tf.constant([at_border], tf.float32)
        pair = [run(painted(at_border), cut, seed)[1]["boxes"] for run in (step, loose)]
        np.testing.assert_array_equal(*pair)
    assert min(saved) < 0.7


def test_the_identity_changes_no_pixel_and_no_box(rng):
    image = tf.constant(rng.uniform(0, 255, (20, 30, 3)), tf.float32)
    nothing = Affine(tf.eye(2), tf.zeros(2))
    fill = (10.0, 20.0, 30.0)
    moved = warp(image, nothing, tf.constant([24, 32]), fill)
    np.testing.assert_allclose(moved[:20, :30], image, atol=1e-3)
    np.testing.assert_allclose(moved[20:], np.broadcast_to(fill, (4, 32, 3)), atol=1e-3)
    boxes = tf.constant([[1.5, 2.0, 20.0, 19.5], [0.0, 0.0, 30.0, 20.0]])
    found, share = move_boxes(
        boxes, nothing, tf.constant([24, 32]), is_round=tf.constant([False, True])
    )
    np.testing.assert_allclose(found, boxes, atol=1e-5)
    np.testing.assert_allclose(share, 1.0, atol=1e-5)


def test_a_quarter_turn_and_a_shift_are_exact():
    # (x, y) -> (-y, x), which turns clockwise on the screen, then back into the canvas.
    turn = Affine(tf.constant([[0.0, -1.0], [1.0, 0.0]]), tf.constant([20.0, 0.0]))
    boxes = tf.constant([[2.0, 3.0, 10.0, 8.0], [25.0, 0.0, 30.0, 20.0]])
    found, share = move_boxes(
        boxes, turn, tf.constant([28, 20]), is_round=tf.constant([False, False])
    )
    np.testing.assert_allclose(found, [[12, 2, 17, 10], [0, 25, 20, 28]], atol=1e-5)
    np.testing.assert_allclose(share, [1.0, 0.6], atol=1e-5)


def test_a_box_of_which_only_the_bounds_reach_the_canvas_is_not_seen():
    # A square on its tip, whose bounds' lower right corner alone lies in the canvas.
    slope = 0.5**0.5
    turn = Affine(tf.constant([[slope, -slope], [slope, slope]]), tf.constant([0.0, -12.0]))
    boxes = tf.constant([[0.0, 0.0, 10.0, 10.0]])
    _, share = move_boxes(boxes, turn, tf.constant([30, 30]), is_round=tf.constant([False]))
    assert share.numpy()[0] > 0
    away = Affine(turn.matrix, tf.constant([-6.0, -12.5]))
    found, share = move_boxes(boxes, away, tf.constant([30, 30]), is_round=tf.constant([False]))
    np.testing.assert_array_equal(share, [0.0])
    assert np.isfinite(found).all()


def test_a_turned_box_over_corners_of_the_canvas_shows_up_to_them():
    slope = 0.5**0.5
    turn = Affine(tf.constant([[slope, -slope], [slope, slope]]), tf.constant([10.0, -40.0]))
    boxes = tf.constant([[0.0, 0.0, 100.0, 100.0], [0.0, 0.0, 60.0, 100.0]])
    found, _ = move_boxes(boxes, turn, tf.constant([20, 30]), is_round=tf.constant([False] * 2))
    # All of the canvas lies within both: no side of theirs crosses it.
    np.testing.assert_allclose(found, [[0, 0, 30, 20]] * 2, atol=1e-4)


def test_no_boxes():
    nothing = Affine(tf.eye(2), tf.zeros(2))
    found, share = move_boxes(
        tf.zeros([0, 4]), nothing, tf.constant([8, 8]), is_round=tf.zeros([0], tf.bool)
    )
    assert found.shape == (0, 4) and share.shape == (0,)
