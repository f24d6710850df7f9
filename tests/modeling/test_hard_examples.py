"""Online hard example mining: against loops in NumPy, by hand, and what its gradient reaches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.modeling.hard_examples import hard_examples
from keras_retinanet.modeling.labeling import BACKGROUND, IGNORED, Targets
from keras_retinanet.modeling.losses import RetinaNetLoss


def numpy_iou(a, b):
    wide = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    high = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return wide * high / (areas - wide * high)


def numpy_choice(losses, anchors, positive, ignored, batch, nms_iou, negatives):
    """Choose in one image as section 5.1 of the paper says it, one anchor after the other."""
    kept = []
    for r in sorted(range(len(losses)), key=lambda r: -losses[r]):
        if not ignored[r] and all(numpy_iou(anchors[r], anchors[k]) <= nms_iou for k in kept):
            kept.append(r)
    if negatives:
        positives = [r for r in kept if positive[r]][: int(batch / (1 + negatives))]
        others = [r for r in kept if not positive[r]]
        kept = positives + others[: int(negatives * len(positives))]
    else:
        kept = kept[:batch]
    return np.isin(np.arange(len(losses)), kept)


def random_images(rng, images=3, count=120):
    """Return losses, anchors, positive and ignored; many anchors overlap and some losses tie."""
    corners = rng.integers(0, 40, (count, 2))
    anchors = np.concatenate([corners, corners + rng.integers(8, 24, (count, 2))], 1).astype("f4")
    losses = np.round(rng.exponential(size=(images, count)), 1).astype("f4")
    kind = rng.uniform(size=(images, count))
    return losses, anchors, kind < 0.1, kind > 0.8


@pytest.mark.parametrize("batch", [1, 16, 500])
@pytest.mark.parametrize("nms_iou", [0.5, 0.7, 1.0])
@pytest.mark.parametrize("negatives", [0.0, 1.0, 3.0])
def test_the_choice_is_that_of_loops(rng, batch, nms_iou, negatives):
    losses, anchors, positive, ignored = random_images(rng)
    found = hard_examples(
        losses,
        anchors,
        positive=positive,
        ignored=ignored,
        batch=batch,
        nms_iou=nms_iou,
        negatives=negatives,
    )
    expected = [
        numpy_choice(image_losses, anchors, *kinds, batch, nms_iou, negatives)
        for image_losses, *kinds in zip(losses, positive, ignored, strict=True)
    ]
    np.testing.assert_array_equal(found, expected)


# Of the four, the second and third are nearly one; a fifth is ignored.
ANCHORS = np.array(
    [[0, 0, 10, 10], [20, 0, 30, 10], [21, 0, 31, 10], [60, 0, 70, 10], [40, 0, 50, 10]], "f4"
)
LOSSES = np.array([[1.0, 3.0, 2.0, 0.0, 9.0]], "f4")
IGNORE = np.array([[False, False, False, False, True]])


def chosen(positive=(), **options):
    mask = hard_examples(
        tf.constant(LOSSES),
        ANCHORS,
        positive=np.isin(np.arange(5), positive)[None],
        ignored=IGNORE,
        **options,
    )
    return np.flatnonzero(mask[0]).tolist()


def test_the_hardest_by_hand():
    assert chosen(batch=2, nms_iou=1.0) == [1, 2]
    # Their IoU is 9 / 11 = .82.
    assert chosen(batch=2, nms_iou=0.7) == [0, 1]
    assert chosen(batch=2, nms_iou=0.9) == [1, 2]
    # An anchor that costs nothing is still one; an ignored one never is.
    assert chosen(batch=9, nms_iou=0.7) == [0, 1, 3]
    assert chosen(batch=9, nms_iou=1.0) == [0, 1, 2, 3]


def test_the_ratio_by_hand():
    assert chosen([0], batch=128, nms_iou=1.0, negatives=1.0) == [0, 1]
    assert chosen([0, 3], batch=128, nms_iou=1.0, negatives=3.0) == [0, 1, 2, 3]
    # Four places hold one positive anchor and three negative ones.
    assert chosen([0, 2], batch=4, nms_iou=1.0, negatives=3.0) == [1, 2, 3]
    assert chosen([2], batch=128, nms_iou=0.7, negatives=3.0) == []  # dropped beside the second
    assert chosen([], batch=128, nms_iou=1.0, negatives=3.0) == []


# ------------------------------------------------------------------------------ in RetinaNetLoss


def a_batch(rng, images=2, count=60, classes=3):
    _, anchors, positive, ignored = random_images(rng, images, count)
    kinds = np.where(ignored, IGNORED, BACKGROUND)
    matches = np.where(positive, 0, kinds)
    of_class = np.where(positive, rng.integers(classes, size=matches.shape), kinds)
    boxes = np.broadcast_to(anchors + 1, (images, count, 4))
    targets = Targets(
        tf.constant(matches, tf.int32), tf.constant(of_class, tf.int32), tf.constant(boxes)
    )
    return anchors, targets, 3 * rng.normal(size=(images, count, classes))


def numpy_entropies(targets, logits):
    one_hot = targets.classes.numpy()[..., None] == np.arange(logits.shape[-1])
    p = 1 / (1 + np.exp(-logits))
    return -np.where(one_hot, np.log(p), np.log(1 - p)).sum(-1)


def outputs_of(logits):
    shape = (*logits.shape[:2], 4)
    return {"class_logits": tf.constant(logits, tf.float32), "box_deltas": tf.zeros(shape)}


@pytest.mark.parametrize("options", [{}, {"ohem_nms_iou": 1.0}, {"ohem_negatives": 3.0}])
def test_the_sum_and_its_gradient_are_of_the_chosen_alone(rng, options):
    anchors, targets, logits = a_batch(rng)
    loss = RetinaNetLoss(classes="ohem", ohem_batch=20, **options)
    entropies = numpy_entropies(targets, logits)
    rows = zip(entropies, targets.classes.numpy(), strict=True)
    picks = (loss.ohem_batch, loss.ohem_nms_iou, loss.ohem_negatives)
    hard = np.array([numpy_choice(e, anchors, c >= 0, c == IGNORED, *picks) for e, c in rows])
    assert 0 < hard.sum() <= 40
    outputs = outputs_of(logits)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        class_sum, _ = loss.sums(anchors, targets, outputs)
    assert float(class_sum) == pytest.approx(entropies[hard].sum(), rel=1e-5)
    slope = tape.gradient(class_sum, outputs, unconnected_gradients="zero")
    assert not np.any(slope["box_deltas"])
    one_hot = targets.classes.numpy()[..., None] == np.arange(3)
    expected = np.where(hard[..., None], 1 / (1 + np.exp(-logits)) - one_hot, 0)
    np.testing.assert_allclose(slope["class_logits"], expected, atol=1e-6)


def test_weights_count_after_the_choice_and_boxes_keep_all_positives(rng):
    anchors, targets, logits = a_batch(rng)
    outputs, weights = outputs_of(logits), tf.constant(np.full((2, 60), 3.0), tf.float32)
    ohem = RetinaNetLoss(classes="ohem", ohem_batch=5)
    once, thrice = (
        ohem.sums(anchors, targets, outputs),
        ohem.sums(anchors, targets, outputs, weights),
    )
    np.testing.assert_allclose(thrice, 3 * np.array(once), rtol=1e-6)
    assert float(once[1]) == float(RetinaNetLoss().sums(anchors, targets, outputs)[1])


def test_it_compiles_to_the_same(rng):
    anchors, targets, logits = a_batch(rng)
    loss = RetinaNetLoss(classes="ohem", ohem_batch=20, ohem_negatives=3.0)
    eager = loss.sums(anchors, targets, outputs_of(logits))
    graph = tf.function(loss.sums)(tf.constant(anchors), targets, outputs_of(logits))
    np.testing.assert_allclose(graph, eager, rtol=1e-6)


def test_config_round_trip():
    loss = RetinaNetLoss(classes="ohem", ohem_batch=64, ohem_nms_iou=0.5, ohem_negatives=3.0)
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert copy.get_config() == loss.get_config()
    assert (copy.ohem_batch, copy.ohem_nms_iou, copy.ohem_negatives) == (64, 0.5, 3.0)
