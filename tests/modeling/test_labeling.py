"""Which box each anchor gets: by hand, by laws, and against a plain NumPy implementation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.modeling.labeling import BACKGROUND, IGNORED, AnchorLabeler

# Squares of 10 px shifted by d overlap with IoU (10 - d) / (10 + d).
ANCHORS = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [100, 0, 110, 10], [200, 0, 210, 10]], "f4")
BOXES = np.array([[1, 0, 11, 10], [104, 0, 114, 10], [205, 0, 215, 10]], "f4")
CLASSES = [7, 0, 3]
# Shifts of 1, 3, 4 and 5: IoU 9/11 = .82, 7/13 = .54, 6/14 = .43 and 5/15 = .33.


def labels_of(boxes, classes, ignore=None):
    labels = {
        "boxes": np.reshape(np.asarray(boxes, "f4"), (1, -1, 4)),
        "classes": np.reshape(np.asarray(classes, "i4"), (1, -1)),
    }
    if ignore is not None:
        labels["ignore"] = np.reshape(np.asarray(ignore, bool), (1, -1))
    return labels


def matches_of(boxes, classes, ignore=None, *, anchors=ANCHORS, **options):
    targets = AnchorLabeler(**options)(anchors, labels_of(boxes, classes, ignore))
    return targets.matches[0].numpy().tolist()


# ----------------------------------------------------------------------------------- by hand


def test_three_boxes_and_four_anchors_by_hand():
    targets = AnchorLabeler()(ANCHORS, labels_of(BOXES, CLASSES))
    np.testing.assert_array_equal(targets.matches, [[0, 0, IGNORED, BACKGROUND]])
    np.testing.assert_array_equal(targets.classes, [[7, 7, IGNORED, BACKGROUND]])
    np.testing.assert_array_equal(targets.boxes[0, :2], BOXES[[0, 0]])


def test_low_quality_gives_every_box_its_best_anchor():
    targets = AnchorLabeler(low_quality=True)(ANCHORS, labels_of(BOXES, CLASSES))
    np.testing.assert_array_equal(targets.matches, [[0, 0, 1, 2]])
    np.testing.assert_array_equal(targets.classes, [[7, 7, 0, 3]])
    np.testing.assert_array_equal(targets.boxes[0], BOXES[[0, 0, 1, 2]])


@pytest.mark.parametrize(
    ("width", "expected"),
    [(3.9, BACKGROUND), (4.0, IGNORED), (4.9, IGNORED), (5.0, 0)],
)
def test_both_thresholds_belong_to_the_upper_side(width, expected):
    # A box of `width` x 10 inside the anchor of 10 x 10: IoU = width / 10.
    assert matches_of([[0, 0, width, 10]], [2], anchors=ANCHORS[:1]) == [expected]


@pytest.mark.parametrize(("low_quality", "expected"), [(False, BACKGROUND), (True, 0)])
def test_a_box_of_a_tenth_is_matched_by_low_quality_alone(low_quality, expected):
    found = matches_of([[200, 0, 201, 10]], [2], low_quality=low_quality)
    assert found == [BACKGROUND, BACKGROUND, BACKGROUND, expected]


def test_low_quality_takes_all_of_equally_good_anchors():
    # IoU 1/19 with the first anchor and 1/19 with its mirror image.
    anchors = np.array([[0, 0, 10, 10], [18, 0, 28, 10]], "f4")
    assert matches_of([[9, 0, 19, 10]], [0], anchors=anchors, low_quality=True) == [0, 0]


def test_a_box_that_overlaps_nothing_matches_nothing():
    assert matches_of([[500, 500, 510, 510]], [2], low_quality=True) == [BACKGROUND] * 4


def test_low_quality_anchor_takes_the_box_it_overlaps_most():
    # The second box's only anchor prefers the first box, as in torchvision and detectron2.
    boxes = [[0, 0, 10, 10], [9, 0, 19, 10]]
    assert matches_of(boxes, [5, 6], anchors=ANCHORS[:1], low_quality=True) == [0]


def test_of_two_boxes_the_higher_iou_wins():
    boxes = [[2, 0, 12, 10], [1, 0, 11, 10]]
    assert matches_of(boxes, [5, 6], anchors=ANCHORS[:1]) == [1]


# -------------------------------------------------------------------------- padding and ignore


@pytest.mark.parametrize("low_quality", [False, True])
def test_padding_is_never_matched(low_quality):
    # Padding with class -1, at zero and exactly on an anchor.
    boxes = [[0, 0, 0, 0], ANCHORS[2]]
    assert matches_of(boxes, [-1, -1], low_quality=low_quality) == [BACKGROUND] * 4


def test_padding_marked_ignore_does_nothing():
    assert matches_of([ANCHORS[2]], [-1], [True], low_quality=True) == [BACKGROUND] * 4


def test_no_ground_truth_is_all_background():
    targets = AnchorLabeler(low_quality=True)(ANCHORS, labels_of([], [], []))
    np.testing.assert_array_equal(targets.matches, [[BACKGROUND] * 4])
    np.testing.assert_array_equal(targets.classes, [[BACKGROUND] * 4])
    assert targets.boxes.shape == (1, 4, 4)


@pytest.mark.parametrize("low_quality", [False, True])
def test_all_crowd_matches_nothing(low_quality):
    # The crowd lies over the first two anchors and touches no other.
    found = matches_of([[0, 0, 20, 10]], [2], [True], low_quality=low_quality)
    assert found == [IGNORED, IGNORED, BACKGROUND, BACKGROUND]


def test_half_of_an_unmatched_anchor_in_an_ignored_box():
    crowd = [[205, 0, 300, 10], [105.1, 0, 180, 10]]  # 5 and 4.9 of 10 px
    found = matches_of(crowd, [2, 2], [True, True])
    assert found == [BACKGROUND, BACKGROUND, BACKGROUND, IGNORED]


def test_two_ignored_boxes_do_not_add_up():
    crowd = [[200, 0, 203, 10], [207, 0, 210, 10]]
    assert matches_of(crowd, [2, 2], [True, True])[3] == BACKGROUND


def test_a_matched_anchor_in_an_ignored_box_stays_matched():
    boxes = [[-50, -50, 250, 50], *BOXES]
    found = matches_of(boxes, [1, *CLASSES], [True, False, False, False])
    assert found == [1, 1, IGNORED, IGNORED]


def test_an_ignored_box_never_beats_a_real_one():
    # The ignored box equals the anchor (IoU 1), the real one has .82.
    boxes = [ANCHORS[0], BOXES[0]]
    assert matches_of(boxes, [5, 6], [True, False], anchors=ANCHORS[:1]) == [1]


def test_without_ignore_none_is_ignored():
    assert matches_of(BOXES, CLASSES) == matches_of(BOXES, CLASSES, [False] * 3)


# ---------------------------------------------------------------------------- laws, other code


def random_boxes(rng, count):
    corners, sides = rng.uniform(0, 80, (count, 2)), rng.uniform(5, 40, (count, 2))
    return np.concatenate([corners, corners + sides], 1).astype("f4")


def numpy_matches(anchors, boxes, classes, ignore, low_quality):
    """The definition in plain loops, float64."""

    def overlap(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        return max(width, 0) * max(height, 0)

    def area(a):
        return (a[2] - a[0]) * (a[3] - a[1])

    real = [g for g in range(len(boxes)) if classes[g] >= 0 and not ignore[g]]
    crowd = [g for g in range(len(boxes)) if classes[g] >= 0 and ignore[g]]
    anchors, boxes = anchors.astype("f8"), boxes.astype("f8")
    iou = {
        (r, g): overlap(a, boxes[g]) / (area(a) + area(boxes[g]) - overlap(a, boxes[g]))
        for r, a in enumerate(anchors)
        for g in real
    }
    forced = set()
    for g in real if low_quality else []:
        best = max(iou[r, g] for r in range(len(anchors)))
        forced |= {r for r in range(len(anchors)) if best > 0 and iou[r, g] == best}
    matches = []
    for r, a in enumerate(anchors):
        best = max(real, key=lambda g: iou[r, g], default=None)
        highest = 0 if best is None else iou[r, best]
        if highest >= 0.5 or r in forced:
            matches.append(best)
        elif highest >= 0.4 or any(overlap(a, boxes[g]) >= area(a) / 2 for g in crowd):
            matches.append(IGNORED)
        else:
            matches.append(BACKGROUND)
    return matches


@pytest.mark.parametrize("low_quality", [False, True])
def test_agrees_with_plain_loops(rng, low_quality):
    anchors = random_boxes(rng, 300)
    boxes = np.stack([random_boxes(rng, 8) for _ in range(4)])
    classes = rng.integers(-1, 5, (4, 8))
    ignore = rng.uniform(size=(4, 8)) < 0.2
    targets = AnchorLabeler(low_quality=low_quality)(
        anchors, {"boxes": boxes, "classes": classes, "ignore": ignore}
    )
    kinds = set()
    for i in range(4):
        expected = numpy_matches(anchors, boxes[i], classes[i], ignore[i], low_quality)
        np.testing.assert_array_equal(targets.matches[i], expected)
        kinds |= {min(match, 0) for match in expected}
        for r, match in enumerate(expected):
            assert targets.classes[i, r] == (classes[i, match] if match >= 0 else match)
            if match >= 0:
                np.testing.assert_array_equal(targets.boxes[i, r], boxes[i, match])
    assert kinds == {0, BACKGROUND, IGNORED}  # the data reaches every case


def test_permuted_ground_truth_changes_nothing_but_indices(rng):
    anchors, boxes = random_boxes(rng, 200), random_boxes(rng, 9)
    classes = np.array([0, 1, 2, 3, 4, 5, -1, 6, 7])
    ignore = np.arange(9) == 4
    order = rng.permutation(9)
    labeler = AnchorLabeler(low_quality=True)
    straight = labeler(anchors, labels_of(boxes, classes, ignore))
    permuted = labeler(anchors, labels_of(boxes[order], classes[order], ignore[order]))
    np.testing.assert_array_equal(straight.classes, permuted.classes)
    index, other = straight.matches.numpy(), permuted.matches.numpy()
    positive = index >= 0
    assert positive.sum() >= 8
    np.testing.assert_array_equal(positive, other >= 0)
    np.testing.assert_array_equal(index[positive], order[other[positive]])
    np.testing.assert_array_equal(
        straight.boxes.numpy()[positive], permuted.boxes.numpy()[positive]
    )


def test_a_picture_is_labelled_alike_in_any_batch_and_padding(rng):
    anchors, boxes = random_boxes(rng, 200), random_boxes(rng, 5)
    alone = AnchorLabeler()(anchors, labels_of(boxes, np.arange(5)))
    padded = {
        "boxes": np.stack([np.pad(boxes, [(0, 7), (0, 0)]), random_boxes(rng, 12)]),
        "classes": np.stack([np.pad(np.arange(5), (0, 7), constant_values=-1), np.arange(12)]),
    }
    together = AnchorLabeler()(anchors, padded)
    np.testing.assert_array_equal(alone.matches[0], together.matches[0])
    np.testing.assert_array_equal(alone.classes[0], together.classes[0])


@pytest.mark.parametrize(("pictures", "boxes"), [(1, 3), (2, 0), (3, 1)])
def test_traced_once_for_unknown_batch_and_boxes(rng, pictures, boxes):
    labeler = AnchorLabeler(low_quality=True)
    signature = {
        "boxes": tf.TensorSpec((None, None, 4), tf.float32),
        "classes": tf.TensorSpec((None, None), tf.int64),
        "ignore": tf.TensorSpec((None, None), tf.bool),
    }
    traced = tf.function(labeler, input_signature=[tf.TensorSpec((None, 4)), signature])
    anchors = random_boxes(rng, 50)
    labels = {
        "boxes": np.stack([random_boxes(rng, boxes) for _ in range(pictures)]),
        "classes": rng.integers(0, 3, (pictures, boxes)),
        "ignore": np.zeros((pictures, boxes), bool),
    }
    found = traced(tf.constant(anchors), {k: tf.constant(v) for k, v in labels.items()})
    for i in range(pictures):
        expected = numpy_matches(anchors, *(labels[k][i] for k in signature), low_quality=True)
        np.testing.assert_array_equal(found.matches[i], expected)


def test_no_gradient_flows():
    anchors, boxes = tf.constant(ANCHORS), tf.constant(BOXES)
    with tf.GradientTape() as tape:
        tape.watch([anchors, boxes])
        targets = AnchorLabeler()(anchors, {"boxes": boxes[None], "classes": np.array([CLASSES])})
        total = tf.reduce_sum(targets.boxes)
    gradients = tape.gradient(total, [anchors, boxes], unconnected_gradients="zero")
    assert not np.any(gradients[0])
    assert not np.any(gradients[1])


# ------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("thresholds", [(0.4, 0.5), (1.1, 0.4), (0.5, -0.1)])
def test_thresholds_out_of_order_are_refused(thresholds):
    with pytest.raises(ValueError, match="negative_iou <= positive_iou"):
        AnchorLabeler(*thresholds)


def test_config_round_trip():
    labeler = AnchorLabeler(0.6, 0.3, low_quality=True)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(labeler))
    assert (copy.positive_iou, copy.negative_iou, copy.low_quality) == (0.6, 0.3, True)
    assert not copy.trainable
    assert copy.dtype == "float32"


def test_labels_stay_exact_under_mixed_precision():
    # bfloat16 holds 8 bits: 1001 would become 1000.
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        labels = labels_of([[1001, 1, 1011, 11]], [2])
        targets = AnchorLabeler()(np.array([[1001, 1, 1011, 11]], "f4"), labels)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(targets.boxes[0], [[1001, 1, 1011, 11]])
