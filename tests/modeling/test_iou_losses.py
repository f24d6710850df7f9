"""DIoU and CIoU by hand, against plain NumPy and finite differences, and of degenerate boxes."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.modeling.boxes import complete_iou, distance_iou


def numpy_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def numpy_diou(a, b):
    """Equation 7 of Zheng et al. 2020, as 1 less the loss."""
    centers = (a[:2] + a[2:]) / 2 - (b[:2] + b[2:]) / 2
    hull = np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2])
    return numpy_iou(a, b) - (centers**2).sum() / (hull**2).sum()


def numpy_aspect(a, b):
    """Equation 9."""
    ratios = [(box[2] - box[0]) / (box[3] - box[1]) for box in (b, a)]
    return 4 / np.pi**2 * (np.arctan(ratios[0]) - np.arctan(ratios[1])) ** 2


def numpy_alpha(a, b):
    """Equation 11."""
    v = numpy_aspect(a, b)
    return v / ((1 - numpy_iou(a, b)) + v)


def numpy_ciou(a, b, alpha=None):
    """Equation 10."""
    alpha = numpy_alpha(a, b) if alpha is None else alpha
    return numpy_diou(a, b) - alpha * numpy_aspect(a, b)


def random_boxes(rng, count):
    corners, sides = rng.uniform(0, 40, (count, 2)), rng.uniform(4, 40, (count, 2))
    return np.concatenate([corners, corners + sides], 1).astype("f4")


@pytest.mark.parametrize(
    ("ours", "theirs"), [(distance_iou, numpy_diou), (complete_iou, numpy_ciou)]
)
def test_equals_plain_numpy(rng, ours, theirs):
    boxes, others = random_boxes(rng, 200), random_boxes(rng, 200)
    pairs = zip(boxes.astype("f8"), others.astype("f8"), strict=True)
    expected = [theirs(a, b) for a, b in pairs]
    assert min(expected) < 0 < max(expected)
    np.testing.assert_allclose(ours(boxes, others), expected, atol=1e-6)


def test_by_hand():
    boxes = tf.constant([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 20, 10]])
    others = tf.constant([[0.0, 0, 10, 10], [20, 0, 30, 10], [0, 0, 10, 10]])
    # Centers 20 px apart in a hull of 30 x 10; 5 px in 20 x 10 with IoU 1/2.
    expected = np.array([1, -400 / 1000, 0.5 - 25 / 500])
    np.testing.assert_allclose(distance_iou(boxes, others), expected, rtol=1e-6)
    v = 4 / np.pi**2 * (np.pi / 4 - np.arctan(2)) ** 2
    expected[2] -= v / (0.5 + v) * v
    np.testing.assert_allclose(complete_iou(boxes, others), expected, rtol=1e-6)


def gradient_of(function, boxes, others):
    boxes = tf.constant(boxes, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        value = function(boxes, tf.constant(others, tf.float32))
    return value, tape.gradient(value, boxes).numpy()


@pytest.mark.parametrize("name", ["diou", "ciou"])
def test_the_gradient_is_that_of_finite_differences(rng, name):
    boxes, others = random_boxes(rng, 30), random_boxes(rng, 30)
    ours = {"diou": distance_iou, "ciou": complete_iou}[name]
    _, found = gradient_of(ours, boxes, others)
    expected, step = np.zeros((30, 4)), 1e-4
    for i, k in np.ndindex(30, 4):
        a, b = boxes[i].astype("f8"), others[i].astype("f8")
        constant = numpy_alpha(a, b)  # as in the paper, alpha is no variable
        moved = step * (np.arange(4) == k)
        if name == "diou":
            change = numpy_diou(a + moved, b) - numpy_diou(a - moved, b)
        else:
            change = numpy_ciou(a + moved, b, constant) - numpy_ciou(a - moved, b, constant)
        expected[i, k] = change / (2 * step)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("ours", [distance_iou, complete_iou])
def test_degenerate_boxes_are_finite_with_their_gradient(ours):
    boxes = [
        [5, 5, 5, 5],
        [5, 5, 5, 9],
        [5, 5, 9, 5],
        [9, 9, 5, 5],
        [0, 0, 1e5, 1e-5],
        [1, 1, 3, 3],
    ]
    for other in ([5, 5, 5, 5], [1, 1, 3, 3], [0, 0, 1e5, 1e5]):
        value, gradient = gradient_of(ours, boxes, [other] * len(boxes))
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()
    assert float(value[-1]) < 1


@pytest.mark.parametrize("ours", [distance_iou, complete_iou])
def test_boxes_that_do_not_overlap_are_drawn_together(ours):
    _, gradient = gradient_of(ours, [[0, 0, 10, 10]], [[50, 0, 60, 10]])
    # To the right, which a larger x1 and x2 are.
    assert gradient[0, 0] + gradient[0, 2] > 0
