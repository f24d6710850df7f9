"""The class losses that learn the IoU: against plain NumPy, finite differences, extremes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.modeling.boxes import BoxCoder, paired_iou
from keras_retinanet.modeling.class_losses import quality_focal_loss, varifocal_loss
from keras_retinanet.modeling.labeling import BACKGROUND, IGNORED, Targets
from keras_retinanet.modeling.losses import RetinaNetLoss

ANCHORS = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 20]], "f4")
BOTH = pytest.mark.parametrize("classes", ["quality_focal", "varifocal"])


def numpy_cross_entropy(y, logits):
    p = 1 / (1 + np.exp(-logits))
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)), p


def numpy_quality_focal(y, logits, beta=2.0):
    """Equation 2 of Li et al. 2020 as printed, float64."""
    entropy, p = numpy_cross_entropy(y, logits)
    return np.abs(y - p) ** beta * entropy


def numpy_varifocal(q, logits, alpha=0.75, gamma=2.0):
    """Equation 2 of Zhang et al. 2021 as printed, float64."""
    entropy, p = numpy_cross_entropy(q, logits)
    return np.where(q > 0, q * entropy, -alpha * p**gamma * np.log(1 - p))


PAIRS = {
    "quality_focal": (quality_focal_loss, numpy_quality_focal),
    "varifocal": (varifocal_loss, numpy_varifocal),
}


def random_scores(rng, shape):
    return np.where(rng.uniform(size=shape) < 0.5, rng.uniform(0, 1, shape), 0.0)


@BOTH
def test_equals_plain_numpy(rng, classes):
    ours, theirs = PAIRS[classes]
    y, logits = random_scores(rng, (40, 5)), rng.normal(size=(40, 5)) * 4
    found = ours(tf.constant(y, tf.float32), tf.constant(logits, tf.float32))
    np.testing.assert_allclose(found, theirs(y, logits), rtol=2e-5, atol=1e-6)


def test_the_options_reach_the_formulas(rng):
    y, logits = random_scores(rng, (40, 5)), rng.normal(size=(40, 5))
    y32, logits32 = tf.constant(y, tf.float32), tf.constant(logits, tf.float32)
    close = {"rtol": 2e-5, "atol": 1e-6}
    found = quality_focal_loss(y32, logits32, 1.5)
    np.testing.assert_allclose(found, numpy_quality_focal(y, logits, 1.5), **close)
    found = varifocal_loss(y32, logits32, alpha=0.3, gamma=1.5)
    np.testing.assert_allclose(found, numpy_varifocal(y, logits, 0.3, 1.5), **close)


def test_values_by_hand():
    # Probability 1/2: the cross-entropy of any target is log 2.
    y, zero = tf.constant([0.0, 0.5, 0.9]), tf.zeros(3)
    found = quality_focal_loss(y, zero)
    np.testing.assert_allclose(found, np.log(2) * np.array([0.25, 0, 0.16]), atol=1e-6)
    found = varifocal_loss(y, zero)
    np.testing.assert_allclose(found, np.log(2) * np.array([0.1875, 0.5, 0.9]), atol=1e-6)


@BOTH
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_extreme_logits_are_finite_with_their_gradient(classes, gamma):
    logits = tf.constant([-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4] * 3)
    y = tf.constant([0.0] * 7 + [0.5] * 7 + [1.0] * 7)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = PAIRS[classes][0](y, logits, gamma=gamma)
    gradient = tape.gradient(loss, logits)
    assert np.isfinite(loss).all()
    assert np.isfinite(gradient).all()
    # Confident and wrong costs as much as its logit; confident and right costs nothing.
    assert float(loss[6]) == pytest.approx(1e4 * (0.75 if classes == "varifocal" else 1))
    assert float(loss[20]) == float(loss[0]) == 0


# ------------------------------------------------------------------------- in RetinaNetLoss


def a_batch(rng):
    """Two images, four anchors, two classes; three positives, one ignored anchor."""
    matches = np.array([[0, BACKGROUND, IGNORED, 1], [BACKGROUND, BACKGROUND, 0, BACKGROUND]])
    classes = np.array([[1, BACKGROUND, IGNORED, 0], [BACKGROUND, BACKGROUND, 1, BACKGROUND]])
    boxes = np.zeros((2, 4, 4), "f4")
    boxes[0, 0], boxes[0, 3], boxes[1, 2] = [1, 0, 12, 9], [58, 2, 71, 19], [42, 1, 51, 12]
    targets = Targets(
        tf.constant(matches, tf.int32), tf.constant(classes, tf.int32), tf.constant(boxes)
    )
    return targets, rng.normal(size=(2, 4, 2)), 0.2 * rng.normal(size=(2, 4, 4))


def class_sum_of(loss, targets, logits, deltas, weights=None):
    outputs = {
        "class_logits": tf.cast(logits, tf.float32),
        "box_deltas": tf.cast(deltas, tf.float32),
    }
    return loss.sums(ANCHORS, targets, outputs, weights)[0]


def numpy_quality(targets, deltas):
    """The IoU (2, 4) of decoded boxes with their ground truth, in loops."""
    quality = np.zeros((2, 4))
    for i, r in np.argwhere(targets.matches.numpy() >= 0):
        x1, y1, x2, y2 = ANCHORS[r].astype("f8")
        dx, dy, dw, dh = deltas[i, r]
        x, y = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
        w, h = (x2 - x1) * np.exp(dw), (y2 - y1) * np.exp(dh)
        bx1, by1, bx2, by2 = targets.boxes[i, r].numpy().astype("f8")
        wide = max(min(x + w / 2, bx2) - max(x - w / 2, bx1), 0)
        high = max(min(y + h / 2, by2) - max(y - h / 2, by1), 0)
        union = w * h + (bx2 - bx1) * (by2 - by1) - wide * high
        quality[i, r] = wide * high / union
    return quality


def numpy_class_sum(classes, targets, logits, quality):
    total = 0.0
    for i, r in np.argwhere(targets.classes.numpy() != IGNORED):
        y = (np.arange(2) == int(targets.classes[i, r])) * quality[i, r]
        total += PAIRS[classes][1](y, logits[i, r]).sum()
    return total


@BOTH
def test_the_sum_equals_plain_numpy(rng, classes):
    targets, logits, deltas = a_batch(rng)
    quality = numpy_quality(targets, deltas)
    assert ((quality > 0.2) == (targets.matches.numpy() >= 0)).all()
    found = class_sum_of(RetinaNetLoss(classes=classes), targets, logits, deltas)
    expected = numpy_class_sum(classes, targets, logits, quality)
    assert float(found) == pytest.approx(expected, rel=2e-6)


@BOTH
def test_the_gradient_is_that_of_finite_differences_with_a_constant_iou(rng, classes):
    targets, logits, deltas = a_batch(rng)
    quality = numpy_quality(targets, deltas)
    logits32, deltas32 = tf.constant(logits, tf.float32), tf.constant(deltas, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([logits32, deltas32])
        value = class_sum_of(RetinaNetLoss(classes=classes), targets, logits32, deltas32)
    by_logits, by_deltas = tape.gradient(value, [logits32, deltas32], unconnected_gradients="zero")
    assert not np.any(by_deltas)
    expected, step = np.zeros_like(logits), 1e-5
    for place in np.ndindex(logits.shape):
        sides = []
        for sign in (1, -1):
            moved = logits.copy()
            moved[place] += sign * step
            sides.append(numpy_class_sum(classes, targets, moved, quality))
        expected[place] = (sides[0] - sides[1]) / (2 * step)
    np.testing.assert_allclose(by_logits, expected, atol=2e-6)
    assert not np.any(by_logits[0, 2])  # the ignored anchor


@BOTH
def test_weights_multiply_the_loss_of_their_anchor(rng, classes):
    targets, logits, deltas = a_batch(rng)
    loss = RetinaNetLoss(classes=classes)
    parts = [
        float(class_sum_of(loss, targets, logits, deltas, tf.constant(weights, tf.float32)))
        for weights in ([[1, 1, 1, 1], [0] * 4], [[0] * 4, [1, 1, 1, 1]], [[2] * 4, [3] * 4])
    ]
    assert parts[2] == pytest.approx(2 * parts[0] + 3 * parts[1], rel=1e-6)


@BOTH
def test_batches_without_a_box_and_without_an_anchor_that_counts(classes):
    loss, logits, deltas = RetinaNetLoss(classes=classes), np.zeros((2, 4, 2)), np.ones((2, 4, 4))
    for kind, cell in ((BACKGROUND, 0.25), (IGNORED, 0.0)):
        nothing = tf.fill((2, 4), kind)
        targets = Targets(nothing, nothing, tf.zeros((2, 4, 4)))
        alpha = 0.75 if classes == "varifocal" else 1
        found = float(class_sum_of(loss, targets, logits, deltas))
        assert found == pytest.approx(16 * alpha * cell * np.log(2), rel=1e-6)


def test_wild_deltas_give_a_finite_loss(rng):
    targets, logits, _ = a_batch(rng)
    for size in (1e4, -1e4):
        loss = RetinaNetLoss(classes="quality_focal", box_coder=BoxCoder("corners"))
        assert np.isfinite(class_sum_of(loss, targets, logits, np.full((2, 4, 4), size)))


def test_focal_loss_stays_the_default(rng):
    targets, logits, deltas = a_batch(rng)
    chosen = class_sum_of(RetinaNetLoss(classes="focal"), targets, logits, deltas)
    assert float(class_sum_of(RetinaNetLoss(), targets, logits, deltas)) == float(chosen)
    # It does not look at the boxes; the others do.
    assert float(class_sum_of(RetinaNetLoss(), targets, logits, deltas + 1)) == float(chosen)
    quality = RetinaNetLoss(classes="quality_focal")
    near, far = (float(class_sum_of(quality, targets, logits, deltas + d)) for d in (0, 1))
    assert near != far


def test_paired_iou_by_hand():
    boxes = tf.constant([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 0, 0]])
    others = tf.constant([[5.0, 0, 15, 10], [20, 20, 30, 30], [0, 0, 0, 0]])
    np.testing.assert_allclose(paired_iou(boxes, others), [1 / 3, 0, 0], rtol=1e-6)


def test_config_round_trip():
    loss = RetinaNetLoss(classes="varifocal", varifocal_alpha=0.5)
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (copy.classes, copy.varifocal_alpha) == ("varifocal", 0.5)


def test_an_unknown_class_loss_is_refused():
    with pytest.raises(ValueError, match="focal, quality_focal, varifocal or ohem"):
        RetinaNetLoss(classes="softmax")
