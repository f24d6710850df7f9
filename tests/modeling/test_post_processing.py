"""Detections against a plain NumPy implementation, and at their edges."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.modeling.boxes import BoxCoder
from keras_retinanet.modeling.post_processing import DetectionBatch, PostProcessing

HUGE = np.array([[10_000, 10_000]], "i4")  # a picture so large that nothing is cut
SIZES = np.array([[100, 80], [60, 120], [90, 90]], "i4")  # of three pictures


def logit(probability):
    return np.log(probability / (1 - probability))


def detect(class_logits, box_deltas, anchors, *, cells=None, sizes=HUGE, coder=None, **options):
    """Run a `PostProcessing` on NumPy arrays (B, R, K), (B, R, 4) and (R, 4)."""
    outputs = {
        "class_logits": tf.constant(class_logits, tf.float32),
        "box_deltas": tf.constant(box_deltas, tf.float32),
    }
    cells = [len(anchors)] if cells is None else cells
    sizes = np.repeat(sizes, len(class_logits), 0) if len(sizes) == 1 else sizes
    anchors = tf.constant(anchors, tf.float32)
    return PostProcessing(**options)(
        outputs, anchors, cells, tf.constant(sizes), coder or BoxCoder()
    )


def still(scores, anchors, **options):
    """Detections of one picture where each anchor is its own box; scores are (R, K)."""
    scores = np.asarray(scores)[None]
    return detect(logit(scores), np.zeros((1, len(anchors), 4)), anchors, **options)


def rows(found: DetectionBatch, picture=0):
    """(class, score, box) of every detection of a picture, plain numbers."""
    num = int(found.num[picture])
    parts = (found.classes, found.scores, found.boxes)
    return [tuple(part[picture, n].numpy() for part in parts) for n in range(num)]


# --------------------------------------------------------------- an independent implementation


def numpy_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union > 0 else 0.0


def numpy_clip(box, size):
    return np.clip(box, 0, [size[1], size[0], size[1], size[0]])


def numpy_detections(logits, deltas, anchors, cells, size, *, score_threshold, pre_nms_top_k,
                     nms_iou, max_detections, clip_before_nms):  # fmt: skip
    """One picture, as detectron2 describes it; float64."""
    candidates, start = [], 0
    for count in cells:
        level = [
            (1 / (1 + np.exp(-logits[r, k])), r, k)
            for r in range(start, start + count)
            for k in range(logits.shape[1])
        ]
        level = [pair for pair in level if pair[0] > score_threshold]
        candidates += sorted(level, reverse=True)[:pre_nms_top_k]
        start += count
    kept = []
    for score, r, k in sorted(candidates, reverse=True):
        x1, y1, x2, y2 = anchors[r]
        dx, dy, dw, dh = deltas[r]
        x, y = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
        w, h = (x2 - x1) * np.exp(dw), (y2 - y1) * np.exp(dh)
        box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        box = numpy_clip(box, size) if clip_before_nms else box
        if all(k != other or numpy_iou(box, b) <= nms_iou for other, _, b in kept):
            kept.append((k, score, box))
    return [(k, score, numpy_clip(box, size)) for k, score, box in kept[:max_detections]]


@pytest.mark.parametrize("clip_before_nms", [True, False])
@pytest.mark.parametrize("max_detections", [12, 100])
def test_agrees_with_plain_numpy(rng, clip_before_nms, max_detections):
    cells, pictures, classes = [120, 40, 9], 3, 4
    corners = rng.uniform(-10, 90, (169, 2))
    anchors = np.hstack([corners, corners + rng.uniform(10, 50, (169, 2))]).astype("f4")
    logits = rng.normal(-1.5, 1.5, (pictures, 169, classes)).astype("f4")
    deltas = rng.normal(0, 0.2, (pictures, 169, 4)).astype("f4")
    options = {
        "score_threshold": 0.3,
        "pre_nms_top_k": 25,
        "nms_iou": 0.4,
        "max_detections": max_detections,
        "clip_before_nms": clip_before_nms,
    }
    found = detect(logits, deltas, anchors, cells=cells, sizes=SIZES, **options)
    for i in range(pictures):
        expected = numpy_detections(
            logits[i].astype("f8"), deltas[i].astype("f8"), anchors, cells, SIZES[i], **options
        )
        assert len(expected) >= 12
        for ours, theirs in zip(rows(found, i), expected, strict=True):
            assert ours[0] == theirs[0]
            assert ours[1] == pytest.approx(theirs[1], rel=1e-5)
            np.testing.assert_allclose(ours[2], theirs[2], atol=1e-3)


def test_three_pictures_at_once_equal_each_alone(rng):
    cells = [60, 20]
    corners = rng.uniform(0, 90, (80, 2))
    anchors = np.concatenate([corners, corners + 30], 1)
    logits, deltas = rng.normal(-1, 1, (3, 80, 3)), rng.normal(0, 0.2, (3, 80, 4))
    together = detect(logits, deltas, anchors, cells=cells, sizes=SIZES)
    for i in range(3):
        one = slice(i, i + 1)
        alone = detect(logits[one], deltas[one], anchors, cells=cells, sizes=SIZES[one])
        for ours, theirs in zip(alone, together, strict=True):
            np.testing.assert_array_equal(ours[0], theirs[i])


def test_any_batch_and_size_is_one_trace(rng):
    post_processing = PostProcessing(pre_nms_top_k=7)
    traces = []

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, 3)),
            tf.TensorSpec((None, None, 4)),
            tf.TensorSpec((None, 4)),
            tf.TensorSpec((2,), tf.int32),
            tf.TensorSpec((None, 2), tf.int32),
        ]
    )
    def traced(logits, deltas, anchors, cells, sizes):
        traces.append(1)
        outputs = {"class_logits": logits, "box_deltas": deltas}
        return post_processing(outputs, anchors, tf.unstack(cells), sizes, BoxCoder())

    for pictures, cells in [(1, [5, 1]), (2, [30, 9])]:
        count = sum(cells)
        corners = rng.uniform(0, 90, (count, 2)).astype("f4")
        anchors = np.concatenate([corners, corners + 30], 1)
        logits = rng.normal(-1, 1, (pictures, count, 3)).astype("f4")
        deltas = rng.normal(0, 0.2, (pictures, count, 4)).astype("f4")
        sizes = np.tile([[80, 100]], (pictures, 1)).astype("i4")
        found = traced(*map(tf.constant, (logits, deltas, anchors, cells, sizes)))
        eager = detect(logits, deltas, anchors, cells=cells, sizes=sizes, pre_nms_top_k=7)
        for ours, theirs in zip(found, eager, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert len(traces) == 1


# ------------------------------------------------------------------------------------ by hand

# Shifts of 2 and 4 px: IoU 8/12 = .67 with the first, 6/14 = .43; the second and third .67.
ROW = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10]], "f4")


def test_suppression_is_greedy():
    # The best removes the second, which then cannot remove the third.
    found = rows(still([[0.9], [0.8], [0.7]], ROW))
    np.testing.assert_array_equal([box for _, _, box in found], ROW[[0, 2]])
    np.testing.assert_allclose([score for _, score, _ in found], [0.9, 0.7], rtol=1e-6)


def test_an_overlap_of_exactly_the_threshold_stays():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 5, 10]], "f4")  # IoU .5
    assert len(rows(still([[0.9], [0.8]], boxes, nms_iou=0.5))) == 2
    assert len(rows(still([[0.9], [0.8]], boxes, nms_iou=0.49))) == 1


def test_two_classes_at_one_box_both_survive():
    found = rows(still([[0.9, 0.8]], ROW[:1]))
    assert [int(k) for k, _, _ in found] == [0, 1]
    np.testing.assert_array_equal([box for _, _, box in found], ROW[[0, 0]])


def test_suppression_is_per_class():
    found = rows(still([[0.9, 0.1], [0.2, 0.8]], ROW[:2]))
    # In class 0 the first box removes the second, in class 1 the second the first.
    assert [(int(k), int(box[0])) for k, _, box in found] == [(0, 0), (1, 2)]


def test_a_score_of_exactly_the_threshold_is_out():
    # sigmoid(0) is .5 in any arithmetic.
    anchors = ROW[:1]
    exact = detect(np.zeros((1, 1, 1)), np.zeros((1, 1, 4)), anchors, score_threshold=0.5)
    assert len(rows(exact)) == 0
    above = detect(np.full((1, 1, 1), 1e-3), np.zeros((1, 1, 4)), anchors, score_threshold=0.5)
    assert len(rows(above)) == 1


def test_threshold_0_keeps_every_pair_once():
    anchors = ROW + np.array([[0], [100], [200]])
    found = rows(still([[0.9, 1e-6], [0.2, 0.3], [0.4, 0.5]], anchors, score_threshold=0.0))
    pairs = [(int(box[0]), int(k)) for k, _, box in found]
    assert pairs == [(0, 0), (204, 1), (204, 0), (102, 1), (102, 0), (0, 1)]


def test_rows_past_num_are_zero():
    found = still([[0.9], [0.8], [0.7]], ROW + np.float32(5), max_detections=5)
    assert found.num.numpy().tolist() == [2]
    assert not any(np.any(part[0, 2:]) for part in found[:3])
    assert found.num.dtype == found.classes.dtype == tf.int32


def test_nothing_found():
    found = still(np.full((3, 2), 0.01), ROW)
    assert found.num.numpy().tolist() == [0]
    assert found.boxes.shape == (1, 100, 4)
    assert not any(np.any(part) for part in found)


def apart(count):
    """Boxes of 10 x 10 px that do not touch."""
    x = 20.0 * np.arange(count)
    return np.stack([x, 0 * x, x + 10, 0 * x + 10], 1)


def test_top_k_is_over_pairs_of_each_level():
    # Level 1: both classes of its first anchor beat every other anchor. Level 2 is its own.
    scores = [[0.9, 0.8], [0.7, 0.1], [0.6, 0.1], [0.2, 0.1], [0.1, 0.3]]
    found = rows(still(scores, apart(5), cells=[3, 2], pre_nms_top_k=2))
    assert [(int(box[0] // 20), int(k)) for k, _, box in found] == [(0, 0), (0, 1), (4, 1), (3, 0)]


def test_equal_scores_at_the_cut_keep_the_first_anchor():
    # As one flat top-4 over the pairs would, though the third anchor ranks first.
    found = rows(still([[0.6, 0.5], [0.7, 0.5], [0.8, 0.5]], apart(3), pre_nms_top_k=4))
    pairs = [(int(box[0] // 20), int(k)) for k, _, box in found]
    assert pairs == [(2, 0), (1, 0), (0, 0), (0, 1)]


def test_fewer_anchors_than_top_k():
    assert len(rows(still(np.full((2, 1), 0.5), apart(2), cells=[1, 1]))) == 2


def test_at_most_max_detections_over_all_classes():
    scores = np.linspace(0.9, 0.5, 40).reshape(20, 2)
    found = rows(still(scores, apart(20), max_detections=7))
    np.testing.assert_allclose([s for _, s, _ in found], scores.ravel()[:7], rtol=1e-5)


def test_a_hundred_of_one_class_is_no_limit_per_class():
    assert len(rows(still(np.full((150, 2), 0.5), apart(150)))) == 100


# --------------------------------------------------------------------------------------- clip


def test_boxes_are_cut_at_each_pictures_own_size():
    anchors = np.array([[-10, -10, 500, 500]], "f4")
    sizes = np.array([[100, 200], [300, 50]], "i4")
    found = detect(np.full((2, 1, 1), 3), np.zeros((2, 1, 4)), anchors, sizes=sizes)
    np.testing.assert_array_equal(found.boxes[:, 0], [[0, 0, 200, 100], [0, 0, 50, 300]])


@pytest.mark.parametrize(("before", "kept"), [(True, 1), (False, 2)])
def test_clipping_before_or_after_the_suppression(before, kept):
    # 30 and 10 px wide: IoU 1/3; inside the picture of 10 px they are one box.
    anchors = np.array([[0, 0, 30, 10], [0, 0, 10, 10]], "f4")
    found = rows(still([[0.9], [0.8]], anchors, sizes=[[10, 10]], clip_before_nms=before))
    np.testing.assert_array_equal([box for _, _, box in found], [[0, 0, 10, 10]] * kept)


def test_the_models_coder_is_used():
    coder = BoxCoder("corners", (0.2, 0.2, 0.2, 0.2))
    found = detect([[[3.0]]], [[[1.0, 0, 0, -1]]], [[10.0, 20, 30, 60]], coder=coder)
    np.testing.assert_allclose(found.boxes[0, 0], [14, 20, 30, 52], rtol=1e-6)


# ---------------------------------------------------------------------------------- wild values


@pytest.mark.parametrize("size", [100.0, -100.0, 1e4, -1e4])
def test_wild_outputs_stay_finite_and_inside(size):
    found = detect(np.full((1, 3, 2), size), np.full((1, 3, 4), size), ROW, sizes=[[40, 60]])
    assert all(np.isfinite(part.numpy()).all() for part in found)
    assert found.boxes.numpy().min() >= 0
    assert found.boxes.numpy()[..., 2].max() <= 60


def test_nan_logits_are_no_detections():
    # A training that diverged must show as nothing found, not as a crash.
    found = detect(np.full((1, 3, 2), np.nan), np.zeros((1, 3, 4)), ROW)
    assert found.num.numpy().tolist() == [0]


def test_bfloat16_outputs_give_float32_detections(rng):
    logits = tf.constant(rng.normal(size=(1, 3, 2)), tf.bfloat16)
    outputs = {"class_logits": logits, "box_deltas": tf.zeros((1, 3, 4), tf.bfloat16)}
    found = PostProcessing()(outputs, tf.constant(ROW), [3], tf.constant(HUGE), BoxCoder())
    assert found.boxes.dtype == found.scores.dtype == tf.float32
    best = tf.reduce_max(tf.sigmoid(tf.cast(logits, tf.float32)))
    assert float(found.scores[0, 0]) == pytest.approx(float(best))


def test_the_logits_of_a_level_are_not_copied():
    @tf.function(
        input_signature=[tf.TensorSpec((None, 45, 80)), tf.TensorSpec((None, 45, 4)),
                         tf.TensorSpec((45, 4))]
    )  # fmt: skip
    def detections(logits, deltas, anchors):
        outputs = {"class_logits": logits, "box_deltas": deltas}
        return PostProcessing()(outputs, anchors, [36, 9], tf.constant(HUGE), BoxCoder())

    operations = detections.get_concrete_function().graph.get_operations()
    slices = [op.outputs[0].shape for op in operations if op.type in ("Slice", "StridedSlice")]
    assert slices and not [shape for shape in slices if shape.rank == 3 and shape[2] == 80]
