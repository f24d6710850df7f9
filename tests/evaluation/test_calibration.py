"""Detection calibration error: by hand, against hotcoco's, and on scores that are true."""

import numpy as np
import pytest
from error_cases import as_tables, columns, made_case

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.calibration import calibration
from keras_retinanet.evaluation.metrics.matching import Matches, match_detections
from keras_retinanet.evaluation.tables import Found


def scored(scores, is_right, counts=None):
    count = len(scores)
    zeros = np.zeros(count, np.int32)
    truths = np.where(is_right, np.arange(count), -1).astype(np.int32)
    counts = np.ones(count, bool) if counts is None else np.array(counts, bool)
    found = Found(zeros, zeros, np.zeros((count, 4)), np.array(scores, np.float64))
    return found, Matches(truths, counts, np.array([count]))


def test_bins_by_hand():
    scores = [0.05, 0.15, 0.19, 0.95, 1.0, 0.1, 0.5]
    is_right = np.array([0, 0, 1, 1, 1, 0, 1], bool)
    made = calibration(*scored(scores, is_right, [1, 1, 1, 1, 1, 1, 0]))
    assert made.detections.tolist() == [1, 3, 0, 0, 0, 0, 0, 0, 0, 2]
    assert made.score[[0, 1, 9]] == pytest.approx([0.05, 0.44 / 3, 0.975])
    assert made.precision[[0, 1, 9]] == pytest.approx([0, 1 / 3, 1])
    gaps = [0.05, 1 / 3 - 0.44 / 3, 0.025]
    assert made.error == pytest.approx((gaps[0] + 3 * gaps[1] + 2 * gaps[2]) / 6)
    assert made.worst == pytest.approx(gaps[1])
    rows = made.rows()
    assert rows[1] == {"from": 0.1, "to": 0.2, "detections": 3} | {
        "score": pytest.approx(0.44 / 3),
        "precision": pytest.approx(1 / 3),
    }
    assert rows[2] == {"from": 0.2, "to": 0.3, "detections": 0, "score": None, "precision": None}


def test_true_scores_have_no_error(rng):
    scores = rng.uniform(size=200_000)
    is_right = rng.uniform(size=200_000) < scores
    true, bold = calibration(*scored(scores, is_right)), calibration(*scored(scores**0.5, is_right))
    assert true.error < 0.01
    # The mean gap between sqrt(s) and s is 2/3 - 1/2.
    assert bold.error == pytest.approx(1 / 6, abs=0.01)


def test_one_bin_is_mean_score_against_precision():
    made = calibration(*scored([0.2, 0.4, 0.9], np.array([True, False, True])), bins=1)
    assert made.error == made.worst == pytest.approx(2 / 3 - 0.5)


def test_low_scores_can_be_left_out():
    made = calibration(*scored([0.01, 0.3, 0.9], np.array([False, False, True])), min_score=0.3)
    assert made.detections.sum() == 2
    assert made.error == pytest.approx(0.2)


def test_nothing_found():
    made = calibration(*scored([], np.zeros(0, bool)))
    assert made.error == made.worst == -1
    assert made.detections.tolist() == [0] * 10


@pytest.mark.parametrize(
    ("scores", "options", "words"),
    [([0.5], {"bins": 0}, "Received: bins=0"), ([1.5], {}, r"from 1\.5 to 1\.5")],
)
def test_faults(scores, options, words):
    with pytest.raises(UserError, match=words):
        calibration(*scored(scores, np.ones(len(scores), bool)), **options)


def test_hotcocos_calibration_is_the_same():
    hotcoco = pytest.importorskip("hotcoco", reason="needs the extra `fast`")
    case = made_case()
    # hotcoco puts a score on an edge into the bin below: none is on one.
    case["found_scores"] = case["found_scores"] - 0.005
    pictures, found = as_tables(case)
    truths = pictures.truths
    annotations = hotcoco.COCO.from_arrays(
        [{"id": image, "height": 400, "width": 400} for image in pictures.image_ids],
        [{"id": index, "name": str(index)} for index in pictures.class_ids],
        truths.image.astype(np.int64),
        truths.classes.astype(np.int64),
        truths.xywh,
        area=truths.areas,
        iscrowd=truths.ignore,
    )
    rows = np.column_stack([found.image, found.xywh, found.scores, found.classes])
    evaluation = hotcoco.COCOeval(annotations, annotations.load_res(rows), "bbox")
    evaluation.evaluate()
    peer = evaluation.calibration(n_bins=10, iou_threshold=0.5)
    mine = calibration(found, match_detections(pictures, found))
    assert mine.error == pytest.approx(peer["ece"], abs=1e-12)
    assert mine.worst == pytest.approx(peer["mce"], abs=1e-12)


def test_columns_of_one_picture():
    # Of two detections of .8 one is right.
    case = columns(
        [(0, 0, [0, 0, 10, 10], False)],
        [(0, 0, [0, 0, 10, 10], 0.8), (0, 0, [50, 0, 10, 10], 0.8)],
        pictures=1,
        classes=1,
    )
    pictures, found = as_tables(case)
    made = calibration(found, match_detections(pictures, found))
    assert made.error == pytest.approx(0.3)
