"""The losses by hand, against plain NumPy, and at their edges."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.modeling.boxes import BoxCoder
from keras_retinanet.modeling.class_losses import focal_loss, focal_sum
from keras_retinanet.modeling.labeling import BACKGROUND, IGNORED, Targets
from keras_retinanet.modeling.losses import RetinaNetLoss, num_positives, smooth_l1

ANCHORS = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 20]], "f4")


def targets_of(matches, classes, boxes=None):
    boxes = np.zeros((*np.shape(matches), 4)) if boxes is None else boxes
    return Targets(
        tf.constant(matches, tf.int32),
        tf.constant(classes, tf.int32),
        tf.constant(boxes, "float32"),
    )


def outputs_of(class_logits, box_deltas):
    return {
        "class_logits": tf.constant(class_logits, tf.float32),
        "box_deltas": tf.constant(box_deltas, tf.float32),
    }


def numpy_focal(one_hot, logits, alpha=0.25, gamma=2.0):
    """Equation 5 as printed, float64."""
    p = 1 / (1 + np.exp(-logits.astype("f8")))
    p_t = np.where(one_hot > 0, p, 1 - p)
    alpha_t = np.where(one_hot > 0, alpha, 1 - np.asarray(alpha))
    return -alpha_t * (1 - p_t) ** gamma * np.log(p_t)


# ------------------------------------------------------------------------------------- focal


def test_focal_on_four_numbers_by_hand():
    # Logits whose probabilities are 1/2, 1/2, 3/4 and 3/4; the first and third are right answers.
    logits = tf.constant([0.0, 0.0, np.log(3), np.log(3)], tf.float32)
    expected = [
        0.25 * 0.5**2 * np.log(2),
        0.75 * 0.5**2 * np.log(2),
        0.25 * 0.25**2 * np.log(4 / 3),
        0.75 * 0.75**2 * np.log(4),
    ]
    np.testing.assert_allclose(focal_loss(tf.constant([1.0, 0, 1, 0]), logits), expected, rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_is_equation_5(rng, gamma):
    logits = rng.uniform(-6, 6, (50, 3)).astype("f4")
    one_hot = (rng.uniform(size=(50, 3)) < 0.3).astype("f4")
    expected = numpy_focal(one_hot, logits, 0.25, gamma)
    np.testing.assert_allclose(focal_loss(one_hot, logits, 0.25, gamma), expected, rtol=2e-5)


def test_gamma_0_is_the_weighted_cross_entropy(rng):
    logits = rng.uniform(-6, 6, (50, 3)).astype("f4")
    one_hot = (rng.uniform(size=(50, 3)) < 0.3).astype("f4")
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(one_hot, logits)
    expected = np.where(one_hot > 0, 0.3, 0.7) * cross_entropy
    np.testing.assert_allclose(focal_loss(one_hot, logits, 0.3, 0.0), expected, rtol=1e-6)


def test_alpha_per_class(rng):
    logits = rng.uniform(-3, 3, (20, 3)).astype("f4")
    one_hot = (rng.uniform(size=(20, 3)) < 0.5).astype("f4")
    together = focal_loss(one_hot, logits, (0.1, 0.5, 0.9))
    for k, alpha in enumerate((0.1, 0.5, 0.9)):
        alone = focal_loss(one_hot[:, k], logits[:, k], alpha)
        np.testing.assert_allclose(together[:, k], alone, rtol=1e-6)


@pytest.mark.parametrize("size", [100.0, 1e4])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_of_huge_logits_is_finite_with_its_gradient(size, gamma):
    logits = tf.constant([size, -size, size, -size])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = focal_loss(tf.constant([1.0, 1, 0, 0]), logits, gamma=gamma)
    # Right answers cost nothing; wrong ones -log p_t = size, with slope 1.
    np.testing.assert_allclose(loss, [0, 0.25 * size, 0.75 * size, 0], atol=1e-20)
    slope = tape.gradient(loss, logits)
    np.testing.assert_allclose(slope, [0, -0.25, 0.75, 0], rtol=1e-5, atol=1e-20)


def test_focal_gradient_is_the_slope(rng):
    logits = rng.uniform(-5, 5, 40)
    one_hot = (rng.uniform(size=40) < 0.5).astype("f4")
    watched = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(watched)
        loss = focal_loss(one_hot, watched)
    step = 1e-6
    slope = numpy_focal(one_hot, logits + step) - numpy_focal(one_hot, logits - step)
    expected = slope / (2 * step)
    np.testing.assert_allclose(tape.gradient(loss, watched), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.25, (0.1, 0.5, 0.9)])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_fast_sum_is_that_of_the_elements_with_its_gradient(rng, alpha, gamma):
    logits = tf.constant(rng.uniform(-8, 8, (2, 30, 3)), tf.float32)
    classes = tf.constant(rng.choice([-2, -1, -1, 0, 1, 2], (2, 30)), tf.int32)
    weights = tf.constant(rng.uniform(0, 2, (2, 30)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        elements = focal_loss(tf.one_hot(classes, 3), logits, alpha, gamma)
        expected = 3.0 * tf.reduce_sum(elements * weights[..., None])
        fast = 3.0 * focal_sum(classes, logits, weights, alpha=alpha, gamma=gamma)
    assert float(fast) == pytest.approx(float(expected), rel=1e-6)
    slopes = tape.gradient(fast, logits), tape.gradient(expected, logits)
    np.testing.assert_allclose(*slopes, rtol=1e-5, atol=1e-6)


# --------------------------------------------------------------------------------- smooth L1


def test_smooth_l1_on_both_sides_by_hand():
    difference = tf.constant([0.0, 0.05, -0.05, 0.11, 1.0, -2.0])
    expected = [0, 0.05**2 / 0.22, 0.05**2 / 0.22, 0.055, 0.945, 1.945]
    np.testing.assert_allclose(smooth_l1(difference, 0.11), expected, rtol=1e-5)


@pytest.mark.parametrize("beta", [0.11, 1.0])
def test_smooth_l1_and_its_slope_are_continuous_at_beta(beta):
    sides = tf.constant([beta * (1 - 1e-6), beta * (1 + 1e-6)])
    with tf.GradientTape() as tape:
        tape.watch(sides)
        loss = smooth_l1(sides, beta)
    np.testing.assert_allclose(loss, [beta / 2] * 2, rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(loss, sides), [1, 1], rtol=1e-5)


def test_beta_0_is_l1():
    difference = tf.constant([0.0, 0.05, -3.0])
    np.testing.assert_array_equal(smooth_l1(difference, 0), np.abs(difference))


# ------------------------------------------------------------------------------ combined loss


def by_hand():
    """Two pictures, four anchors, two classes: positive, background and ignored anchors."""
    matches = [[0, BACKGROUND, IGNORED, 1], [BACKGROUND, BACKGROUND, 0, IGNORED]]
    classes = [[1, BACKGROUND, IGNORED, 0], [BACKGROUND, BACKGROUND, 0, IGNORED]]
    # Positives: the anchor itself; twice as wide around the same centre; moved by half its side.
    boxes = np.zeros((2, 4, 4), "f4")
    boxes[0, 0], boxes[0, 3], boxes[1, 2] = [0, 0, 10, 10], [55, 0, 75, 20], [45, 0, 55, 10]
    return targets_of(matches, classes, boxes)


def test_sums_by_hand():
    logits = np.zeros((2, 4, 2))
    # Six anchors count, each with two classes of probability 1/2; three are a right answer.
    cell = 0.5**2 * np.log(2)
    expected_class = cell * (3 * 0.25 + 9 * 0.75)
    # Deltas of the three positives: 0; dw = log 2; dx = .5; the others are wild and do not count.
    deltas = np.full((2, 4, 4), 1e3)
    deltas[0, 0] = deltas[0, 3] = deltas[1, 2] = 0
    for box, expected_box in {
        "l1": np.log(2) + 0.5,
        "smooth_l1": np.log(2) + 0.5 - 0.11,
        "giou": 0.0 + 0.5 + (1 - 1 / 3),
        # Centers 5 px apart (moved), hull of 15 x 10; the wider box keeps its center.
        "diou": 0.0 + 0.5 + (1 - 1 / 3 + 25 / 325),
    }.items():
        loss = RetinaNetLoss(box=box, box_weight=2.0)
        class_sum, box_sum = loss.sums(ANCHORS, by_hand(), outputs_of(logits, deltas))
        assert float(class_sum) == pytest.approx(expected_class, rel=1e-6)
        assert float(box_sum) == pytest.approx(2 * expected_box, rel=1e-6)


def test_call_divides_both_sums_by_the_positives(rng):
    outputs = outputs_of(rng.normal(size=(2, 4, 2)), rng.normal(size=(2, 4, 4)))
    loss, targets = RetinaNetLoss(), by_hand()
    assert float(num_positives(targets)) == 3
    total = sum(map(float, loss.sums(ANCHORS, targets, outputs)))
    structure = {"targets": targets, "anchors": tf.constant(ANCHORS)}
    assert float(loss(structure, outputs)) == pytest.approx(total / 3, rel=1e-6)


def test_sums_equal_plain_numpy(rng):
    matches = rng.integers(-2, 3, (3, 50))
    classes = np.where(matches >= 0, rng.integers(0, 5, (3, 50)), matches)
    corners = rng.uniform(0, 50, (3, 50, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(4, 30, (3, 50, 2))], -1)
    corners = rng.uniform(0, 50, (50, 2))
    anchors = np.concatenate([corners, corners + rng.uniform(4, 30, (50, 2))], -1).astype("f4")
    logits, deltas = rng.normal(size=(3, 50, 5)), rng.normal(size=(3, 50, 4))
    coder = BoxCoder(scales=(0.1, 0.1, 0.2, 0.2))
    expected_class = expected_box = 0.0
    for i, r in np.argwhere(matches != IGNORED):
        one_hot = np.arange(5) == classes[i, r]
        expected_class += numpy_focal(one_hot, logits[i, r], 0.4, 1.5).sum()
    for i, r in np.argwhere(matches >= 0):
        (x1, y1, x2, y2), (ax1, ay1, ax2, ay2) = boxes[i, r], anchors[r].astype("f8")
        width, height = ax2 - ax1, ay2 - ay1
        right = [
            ((x1 + x2) - (ax1 + ax2)) / 2 / width / 0.1,
            ((y1 + y2) - (ay1 + ay2)) / 2 / height / 0.1,
            np.log((x2 - x1) / width) / 0.2,
            np.log((y2 - y1) / height) / 0.2,
        ]
        away = np.abs(deltas[i, r] - right)
        expected_box += np.where(away < 0.5, away**2, away - 0.25).sum()  # beta .5
    loss = RetinaNetLoss(0.4, 1.5, beta=0.5, box_coder=coder)
    outputs = outputs_of(logits, deltas)
    class_sum, box_sum = loss.sums(anchors, targets_of(matches, classes, boxes), outputs)
    assert float(class_sum) == pytest.approx(expected_class, rel=1e-5)
    assert float(box_sum) == pytest.approx(expected_box, rel=1e-5)


def gradients_of(loss, targets, outputs):
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        value = loss.call({"targets": targets, "anchors": tf.constant(ANCHORS)}, outputs)
    return value, tape.gradient(value, outputs, unconnected_gradients="zero")


@pytest.mark.parametrize("box", ["smooth_l1", "giou"])
def test_a_batch_without_a_box_trains_the_class_head_alone(box):
    nothing = targets_of([[BACKGROUND] * 4] * 2, [[BACKGROUND] * 4] * 2)
    outputs = outputs_of(np.zeros((2, 4, 3)), np.ones((2, 4, 4)))
    value, gradients = gradients_of(RetinaNetLoss(box=box), nothing, outputs)
    # 24 background cells, divided by 1 and not by 0.
    assert float(value) == pytest.approx(24 * 0.75 * 0.25 * np.log(2), rel=1e-6)
    assert (gradients["class_logits"].numpy() > 0).all()
    assert not np.any(gradients["box_deltas"])


def test_a_batch_of_ignored_anchors_costs_nothing():
    nothing = targets_of([[IGNORED] * 4], [[IGNORED] * 4])
    outputs = outputs_of(np.full((1, 4, 3), 5.0), np.ones((1, 4, 4)))
    value, gradients = gradients_of(RetinaNetLoss(), nothing, outputs)
    assert float(value) == 0
    assert not np.any(gradients["class_logits"])
    assert not np.any(gradients["box_deltas"])


@pytest.mark.parametrize("box", ["smooth_l1", "l1", "giou", "diou", "ciou"])
def test_gradients_reach_what_counts_and_nothing_else(rng, box):
    outputs = outputs_of(rng.normal(size=(2, 4, 2)), rng.normal(size=(2, 4, 4)))
    targets = by_hand()
    _, gradients = gradients_of(RetinaNetLoss(box=box), targets, outputs)
    counted, positive = targets.matches != IGNORED, targets.matches >= 0
    class_moves = np.any(gradients["class_logits"], axis=-1)
    np.testing.assert_array_equal(class_moves, counted)
    np.testing.assert_array_equal(np.any(gradients["box_deltas"], axis=-1), positive)


@pytest.mark.parametrize("box", ["smooth_l1", "giou", "diou", "ciou"])
@pytest.mark.parametrize("size", [100.0, -100.0, 1e4])
def test_wild_outputs_give_a_finite_loss_and_gradient(box, size):
    outputs = outputs_of(np.full((2, 4, 2), size), np.full((2, 4, 4), size))
    value, gradients = gradients_of(RetinaNetLoss(box=box), by_hand(), outputs)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def test_half_precision_outputs_are_summed_in_float32(rng):
    logits = tf.constant(rng.normal(size=(2, 4, 2)), tf.bfloat16)
    deltas = tf.constant(rng.normal(size=(2, 4, 4)), tf.bfloat16)
    half = RetinaNetLoss().sums(ANCHORS, by_hand(), {"class_logits": logits, "box_deltas": deltas})
    full = RetinaNetLoss().sums(ANCHORS, by_hand(), outputs_of(
        tf.cast(logits, tf.float32), tf.cast(deltas, tf.float32)
    ))  # fmt: skip
    assert [part.dtype for part in half] == [tf.float32] * 2
    np.testing.assert_allclose(half, full, rtol=1e-6)


# ------------------------------------------------------------------------------------ options


def test_config_round_trip(rng):
    loss = RetinaNetLoss(
        (0.2, 0.6),
        1.5,
        box="giou",
        box_weight=2.0,
        box_coder=BoxCoder("yxhw", (0.1, 0.1, 0.2, 0.2)),
        normalizer_momentum=0.9,
    )
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(copy, RetinaNetLoss)
    assert copy.get_config() == loss.get_config()
    assert copy.normalizer_momentum == 0.9
    assert copy.box_coder == loss.box_coder
    outputs = outputs_of(rng.normal(size=(2, 4, 2)), rng.normal(size=(2, 4, 4)))
    for ours, theirs in zip(
        loss.sums(ANCHORS, by_hand(), outputs), copy.sums(ANCHORS, by_hand(), outputs), strict=True
    ):
        assert float(ours) == float(theirs)


def test_an_unknown_box_loss_is_refused():
    with pytest.raises(ValueError, match="smooth_l1, l1, giou, diou or ciou"):
        RetinaNetLoss(box="iou")
