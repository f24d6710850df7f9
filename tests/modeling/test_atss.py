"""ATSS by hand, against the paper's algorithm 1 in plain loops, and at its edges."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_retinanet
from keras_retinanet.config import MatchConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.anchors import Anchors, level_cells
from keras_retinanet.modeling.atss import AtssLabeler, build_labeler
from keras_retinanet.modeling.labeling import BACKGROUND, IGNORED, AnchorLabeler

# Two levels: four cells of 10 px in a row, and one of 40 px around all of them.
ROW = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [20, 0, 30, 10], [30, 0, 40, 10]], "f4")
ANCHORS = np.concatenate([ROW, [[0, -15, 40, 25]]]).astype("f4")
CELLS = [4, 1]


def labels_of(boxes, classes, ignore=None):
    labels = {
        "boxes": np.reshape(np.asarray(boxes, "f4"), (1, -1, 4)),
        "classes": np.reshape(np.asarray(classes, "i4"), (1, -1)),
    }
    if ignore is not None:
        labels["ignore"] = np.reshape(np.asarray(ignore, bool), (1, -1))
    return labels


def matches_of(boxes, classes, ignore=None, *, anchors=ANCHORS, cells=CELLS, top_k=2):
    labels = labels_of(boxes, classes, ignore)
    targets = AtssLabeler(top_k)(anchors, labels, level_cells=cells)
    return targets.matches[0].numpy().tolist()


# ----------------------------------------------------------------------------------- by hand


def test_a_box_by_hand():
    # Candidates: the anchors at 10 and 20 (centers 1 and 9 px away), and the large one. IoU:
    # 90/110 = .818, 10/190 = .053, 100/1600 = .0625. Mean .311, sample deviation .439: .750.
    targets = AtssLabeler(2)(ANCHORS, labels_of([[11, 0, 21, 10]], [7]), level_cells=CELLS)
    np.testing.assert_array_equal(targets.matches, [[BACKGROUND, 0, *[BACKGROUND] * 3]])
    np.testing.assert_array_equal(targets.classes, [[BACKGROUND, 7, *[BACKGROUND] * 3]])
    np.testing.assert_array_equal(targets.boxes[0, 1], [11, 0, 21, 10])


def test_the_candidates_alone_set_the_threshold():
    # Over two cells: IoU .5, .5 and 200/1600 = .125. Mean .375, sample deviation .217: .592, which
    # none reaches. With k = 4 two zeros come in: .225 + .236 = .461, and both cells are matched.
    box = [[10, 0, 30, 10]]
    assert matches_of(box, [1], top_k=2) == [BACKGROUND] * 5
    assert matches_of(box, [1], top_k=4) == [BACKGROUND, 0, 0, BACKGROUND, BACKGROUND]


def test_the_deviation_is_the_samples():
    # IoU 1, 0 and 100/1600: mean .354, deviation .56 of the sample (.914), .457 of the population.
    # The next: 6/14 and 4/16 and .0625: .247 + .183 = .430 > 6/14 = .4286; population: .397.
    assert matches_of([ROW[1]], [1]) == [BACKGROUND, 0, *[BACKGROUND] * 3]
    assert matches_of([[14, 0, 24, 10]], [1]) == [BACKGROUND] * 5


def test_anchors_of_one_cell_are_candidates_together():
    # Two anchors a cell: top_k 1 takes both of the nearest cell, and only them.
    twice = np.repeat(ROW, 2, axis=0)
    twice[1::2] += [2, 2, -2, -2]
    # IoU .36 and 1: mean .68, deviation .45, above 1. The next cell lets the best pass.
    assert matches_of([twice[3]], [1], anchors=twice, cells=[4], top_k=1) == [BACKGROUND] * 8
    found = matches_of([twice[3]], [1], anchors=twice, cells=[4], top_k=2)
    assert found == [*[BACKGROUND] * 3, 0, *[BACKGROUND] * 4]


def test_of_two_boxes_the_higher_iou_wins():
    boxes = [[11, 0, 21, 10], [10.5, 0, 20.5, 10], [11, 0, 21, 10]]
    assert matches_of(boxes, [5, 6, 7])[1] == 1
    # Of two equal boxes, the first.
    assert matches_of([boxes[0], boxes[2]], [5, 7])[1] == 0


@pytest.mark.parametrize(("left", "expected"), [(15.0, BACKGROUND), (14.9, 0)])
def test_a_center_on_the_border_is_not_inside(left, expected):
    # One level: IoU .5, 0, 0, 0. The anchor's center is x = 15.
    found = matches_of([[left, 0, 20, 10]], [1], anchors=ROW, cells=[4], top_k=4)
    assert found == [BACKGROUND, expected, BACKGROUND, BACKGROUND]


# ------------------------------------------------------------------------------------- edges


def test_no_ground_truth_is_all_background():
    targets = AtssLabeler()(ANCHORS, labels_of([], [], []), level_cells=CELLS)
    np.testing.assert_array_equal(targets.matches, [[BACKGROUND] * 5])
    assert targets.boxes.shape == (1, 5, 4)


def test_padding_is_never_matched():
    assert matches_of([ROW[1], [0, 0, 0, 0]], [-1, -1], [True, False]) == [BACKGROUND] * 5
    assert matches_of([ROW[1], ROW[1]], [-1, 4])[1] == 1


def test_ignored_boxes_are_not_matched_and_their_anchors_are_ignored():
    found = matches_of([[0, 0, 10, 10], [11, 0, 21, 10]], [2, 3], [True, False])
    assert found == [IGNORED, 1, BACKGROUND, BACKGROUND, BACKGROUND]
    # A matched anchor in an ignored box stays matched.
    found = matches_of([[0, 0, 40, 10], [11, 0, 21, 10]], [2, 3], [True, False])
    assert found == [IGNORED, 1, IGNORED, IGNORED, BACKGROUND]


@pytest.mark.parametrize(
    "box",
    [
        [11, 1, 11.5, 1.5],  # tiny, and between the centers
        [500, 500, 510, 510],  # outside of all anchors
        [20, 4, 20, 6],  # empty
        [14.995, 4.995, 15.005, 5.005],  # around a center, by less than the margin
    ],
)
def test_a_box_without_a_center_inside_matches_nothing(box):
    assert matches_of([box], [1]) == [BACKGROUND] * 5


def test_a_tiny_box_on_a_center_is_matched():
    assert matches_of([[14.5, 4.5, 15.5, 5.5]], [1]) == [BACKGROUND, 0, *[BACKGROUND] * 3]


def test_fewer_anchors_than_candidates():
    found = matches_of([[11, 0, 21, 10]], [1], top_k=1000)
    assert found == [BACKGROUND, 0, *[BACKGROUND] * 3]
    # One anchor alone: no deviation, and its own IoU is the mean.
    assert matches_of([[1, 0, 11, 10]], [1], anchors=ROW[:1], cells=[1]) == [0]


# ---------------------------------------------------------------------------- other code, laws


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def area(a):
    return (a[2] - a[0]) * (a[3] - a[1])


def algorithm_1(levels, boxes, classes, ignore, k):
    """The paper's algorithm 1 in loops, float64, for the anchors (N, 4) of each level.

    Returns:
        (R,) the index of each anchor's box, BACKGROUND or IGNORED.
    """
    anchors = np.concatenate(levels).astype("f8")
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    claims = [{} for _ in anchors]  # anchor -> {box: IoU}
    crowd = []
    for g, box in enumerate(np.asarray(boxes, "f8")):
        if classes[g] < 0 or ignore[g]:
            crowd += [box] if classes[g] >= 0 else []
            continue
        middle = (box[:2] + box[2:]) / 2
        candidates, first = [], 0
        for level in levels:
            own = range(first, first + len(level))
            candidates += sorted(own, key=lambda r: np.hypot(*(centers[r] - middle)))[:k]
            first += len(level)
        ious = {}
        for r in candidates:
            common = overlap(anchors[r], box)
            ious[r] = common / (area(anchors[r]) + area(box) - common)
        threshold = np.mean(list(ious.values())) + np.std(list(ious.values()), ddof=1)
        for r, value in ious.items():
            if value >= threshold and (box[:2] < centers[r]).all() and (centers[r] < box[2:]).all():
                claims[r][g] = value
    matches = [max(claim, key=claim.get, default=BACKGROUND) for claim in claims]
    for r, anchor in enumerate(anchors):
        in_crowd = any(overlap(anchor, box) >= area(anchor) / 2 for box in crowd)
        if matches[r] == BACKGROUND and in_crowd:
            matches[r] = IGNORED
    return matches


def random_boxes(rng, count, shape):
    sides = np.exp(rng.uniform(np.log(3), np.log(90), (count, 2)))
    centers = rng.uniform(0, 1, (count, 2)) * shape[::-1]
    return np.concatenate([centers - sides / 2, centers + sides / 2], 1).astype("f4")


@pytest.mark.long
@pytest.mark.parametrize(
    ("shape", "parts", "top_k"),
    [
        ((96, 160), {}, 9),
        ((75, 101), {}, 4),
        ((128, 96), {"scales": (2.0,), "ratios": (1.0,)}, 9),
        ((96, 96), {"ratios": (0.5, 2.0), "sizes": (10.0, 20.0, 40.0, 80.0, 160.0)}, 1),
    ],
)
def test_agrees_with_algorithm_1(rng, shape, parts, top_k):
    anchors = Anchors(**parts)
    every, cells = anchors(*shape).numpy(), level_cells(*shape)
    ends = np.cumsum(cells) * anchors.per_cell
    assert ends[-1] == len(every)
    boxes = np.stack([random_boxes(rng, 8, shape) for _ in range(4)])
    classes, ignore = rng.integers(-1, 5, (4, 8)), rng.uniform(size=(4, 8)) < 0.2
    labels = {"boxes": boxes, "classes": classes, "ignore": ignore}
    targets = AtssLabeler(top_k)(every, labels, level_cells=cells)
    kinds = set()
    for i in range(4):
        levels = np.split(every, ends[:-1])
        k = top_k * anchors.per_cell
        expected = np.array(algorithm_1(levels, boxes[i], classes[i], ignore[i], k))
        np.testing.assert_array_equal(targets.matches[i], expected)
        kinds |= {*np.minimum(expected, 0)}
        of_box = np.where(expected >= 0, classes[i][np.maximum(expected, 0)], expected)
        np.testing.assert_array_equal(targets.classes[i], of_box)
        matched = expected >= 0
        np.testing.assert_array_equal(targets.boxes[i][matched], boxes[i][expected[matched]])
    assert kinds == {0, BACKGROUND, IGNORED}  # the data reaches every case


def test_permuted_ground_truth_changes_nothing(rng):
    shape = (96, 128)
    anchors, cells = Anchors()(*shape), level_cells(*shape)
    boxes, classes, order = random_boxes(rng, 12, shape), np.arange(12), rng.permutation(12)
    straight = AtssLabeler()(anchors, labels_of(boxes, classes), level_cells=cells)
    permuted = AtssLabeler()(anchors, labels_of(boxes[order], classes[order]), level_cells=cells)
    assert (straight.classes.numpy() >= 0).sum() > 20
    np.testing.assert_array_equal(straight.classes, permuted.classes)
    np.testing.assert_array_equal(straight.boxes[0][straight.classes[0] >= 0],
                                  permuted.boxes[0][permuted.classes[0] >= 0])  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("jit_compile", [False, True])
def test_traced_once_for_unknown_images_and_boxes(rng, jit_compile):
    shape, counts = (64, 96), level_cells(64, 96)
    known = shape if jit_compile else (None, None)  # XLA needs the size

    @tf.function(jit_compile=jit_compile)
    def traced(image, labels):
        height, width = known if jit_compile else tf.unstack(tf.shape(image)[:2])
        return AtssLabeler()(
            Anchors()(height, width), labels, level_cells=level_cells(height, width)
        )

    image = tf.TensorSpec((*known, 3))
    labels = {
        "boxes": tf.TensorSpec((None, None, 4)),
        "classes": tf.TensorSpec((None, None), tf.int32),
    }
    function = traced.get_concrete_function(image, labels)
    for count in (0, 3):
        labels = labels_of(random_boxes(rng, count, shape), range(count))
        found = function(tf.zeros((*shape, 3)), {k: tf.constant(v) for k, v in labels.items()})
        expected = AtssLabeler()(Anchors()(*shape), labels, level_cells=counts)
        np.testing.assert_array_equal(found.matches, expected.matches)


# ------------------------------------------------------------------------------------- options


def test_config_round_trip():
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(AtssLabeler(5))
    )
    assert isinstance(copy, AtssLabeler)
    assert copy.top_k == 5
    assert not copy.trainable


def test_options_choose_the_labeler():
    assert type(build_labeler(MatchConfig())) is AnchorLabeler
    chosen = build_labeler(MatchConfig(positive_iou=0.6, low_quality=True))
    assert (chosen.positive_iou, chosen.negative_iou, chosen.low_quality) == (0.6, 0.4, True)
    chosen = build_labeler(MatchConfig("atss", top_k=3))
    assert isinstance(chosen, AtssLabeler)
    assert chosen.top_k == 3


def test_what_cannot_work_is_refused():
    with pytest.raises(UserError, match="top_k of at least 1"):
        AtssLabeler(0)
    with pytest.raises(ValueError, match="Expected level_cells"):
        AtssLabeler()(ANCHORS, labels_of([], []))


@pytest.mark.long
def test_a_model_trains_with_it_and_is_saved_with_it(tmp_path):
    model = keras_retinanet.retinanet("resnet18", num_classes=2)
    model.compile(labeler=AtssLabeler(4))
    labels = {"boxes": np.array([[[8, 8, 40, 50]]], "f4"), "classes": np.array([[1]])}
    assert np.isfinite(model.train_on_batch(np.zeros((1, 64, 64, 3), "f4"), labels)).all()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    kept = again.get_compile_config()["labeler"]["config"]
    assert kept["top_k"] == 4
