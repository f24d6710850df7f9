"""COCO's matching at one IoU, and the score threshold where F1 is best, by hand and by search."""

import numpy as np
import pytest
from error_cases import as_tables, columns, made_case

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.errors.kinds import ERROR_KINDS
from keras_retinanet.evaluation.metrics.best_thresholds import ALL_CLASSES, best_thresholds
from keras_retinanet.evaluation.metrics.matching import match_detections
from keras_retinanet.evaluation.report.report_page import analyse
from keras_retinanet.evaluation.summary import format_summary


def case(truths, found, *, pictures=2, classes=1):
    return as_tables(columns(truths, found, pictures=pictures, classes=classes))


def test_detections_choose_in_the_order_of_their_scores():
    truths = [(0, 0, [0, 0, 100, 100], False), (0, 0, [0, 40, 100, 100], False)]
    found = [
        (0, 0, [0, 15, 100, 100], 0.8),  # its best box is taken: it finds the other, IoU .6
        (0, 0, [0, 0, 100, 100], 0.9),
        (0, 0, [0, 5, 100, 100], 0.7),
        (0, 1, [0, 0, 100, 100], 0.99),
        (1, 0, [0, 0, 100, 100], 0.99),
    ]
    matches = match_detections(*case(truths, found, classes=2))
    assert matches.truths.tolist() == [1, 0, -1, -1, -1]
    assert matches.counts.all()
    assert matches.boxes.tolist() == [2, 0]
    strict = match_detections(*case(truths, found, classes=2), iou=0.75)
    assert strict.truths.tolist() == [-1, 0, -1, -1, -1]


def test_regions_to_ignore_take_any_number_of_detections():
    truths = [(0, 0, [0, 0, 100, 100], True), (0, 0, [10, 10, 20, 20], False)]
    found = [
        (0, 0, [10, 10, 20, 20], 0.5),  # inside too, but it finds a box
        (0, 0, [40, 40, 20, 20], 0.9),
        (0, 0, [60, 60, 20, 20], 0.8),
        (0, 0, [90, 0, 40, 40], 0.7),  # a quarter inside
        (0, 1, [40, 40, 20, 20], 0.9),
    ]
    matches = match_detections(*case(truths, found, classes=2))
    assert matches.truths.tolist() == [1, -1, -1, -1, -1]
    assert matches.counts.tolist() == [True, False, False, True, True]


def test_all_detections_of_a_picture_count():
    found = [(0, 0, [0, 0, 9, 9], 0.5 - row / 1000) for row in range(130)]
    found += [(0, 1, [0, 0, 9, 9], 0.01), (1, 0, [0, 0, 9, 9], 0.01)]
    assert match_detections(*case([], found, classes=2)).counts.all()


@pytest.mark.parametrize("count", [150, 279])
def test_more_boxes_than_cocos_limit_by_hand(count):
    """Every box found, and one wrong detection after each ten: COCO's 100 would hide the rest."""
    spots = [[20 * (i % 20), 20 * (i // 20), 9, 9] for i in range(count)]
    truths = [(0, 0, spot, False) for spot in spots]
    found, score = [], 1.0
    for i, spot in enumerate(spots):
        score -= 0.002
        found.append((0, 0, spot, score))
        if i % 10 == 9:
            score -= 0.002
            found.append((0, 0, [900, 20 * i, 9, 9], score))
    tables = case(truths, found, pictures=1)
    wrong = (count - 1) // 10  # those before the last right one
    *_, overall = best_thresholds(*tables, match_detections(*tables))
    assert (overall["right"], overall["wrong"], overall["missed"]) == (count, wrong, 0)
    assert overall["F1"] == pytest.approx(2 * count / (2 * count + wrong))
    analysis = analyse(*tables, engine="pycocotools")
    assert analysis.summary["best_threshold"] == overall
    assert analysis.points.best_threshold == analysis.threshold == overall["threshold"]
    # At that threshold: all found, so nothing to gain from misses.
    assert analysis.confusion.counts.tolist() == [[count, 0], [wrong, 0]]
    assert analysis.errors.counts == dict.fromkeys(ERROR_KINDS, 0) | {"Bkg": count // 10}
    assert analysis.errors.costs["Miss"] == 0
    # COCO's twelve stay at 100 detections: 91 of the first 100 are right.
    assert analysis.summary["coco"]["AR100"] == pytest.approx(91 / count)
    assert analysis.summary["most_boxes"] == count
    assert f"an image has {count} boxes of a class" in format_summary(analysis.summary)


def test_iou_out_of_range():
    with pytest.raises(UserError, match=r"Received: iou=1\.5"):
        match_detections(*case([], []), iou=1.5)


def test_best_threshold_by_hand():
    truths = [(0, 0, [x, 0, 10, 10], False) for x in (0, 50, 100, 150)]
    found = [
        (0, 0, [0, 0, 10, 10], 0.9),
        (0, 0, [50, 0, 10, 10], 0.8),
        (0, 0, [300, 0, 10, 10], 0.8),  # as good as the one before: kept with it or not at all
        (0, 0, [100, 0, 10, 10], 0.7),
        (0, 0, [300, 50, 10, 10], 0.6),
        (0, 1, [0, 0, 10, 10], 0.95),
    ]
    tables = case(truths, found, classes=2)
    first, second, overall = best_thresholds(*tables, match_detections(*tables))
    assert first == {
        "class": "class 0",
        "threshold": 0.7,
        "precision": 0.75,
        "recall": 0.75,
        "F1": 0.75,
        "right": 3,
        "wrong": 1,
        "missed": 1,
    }
    # A class without boxes, of which every detection is wrong.
    assert second == {"class": "class 1", "right": 0, "wrong": 0, "missed": 0} | dict.fromkeys(
        ("threshold", "precision", "recall", "F1"), -1.0
    )
    assert overall["class"] == ALL_CLASSES
    assert (overall["threshold"], overall["right"], overall["wrong"]) == (0.7, 3, 2)
    assert overall["F1"] == pytest.approx(2 * 3 / (5 + 4))


def test_no_other_threshold_is_better():
    pictures, found = as_tables(made_case())
    matches = match_detections(pictures, found)
    rows = best_thresholds(pictures, found, matches)
    groups = [found.classes == index for index in range(len(pictures.class_names))]
    for row, mine in zip(rows, [*groups, np.ones(len(found.scores), bool)], strict=True):
        mine = mine & matches.counts
        boxes = row["right"] + row["missed"]
        f1 = {
            score: 2 * (matches.is_right & kept).sum() / (kept.sum() + boxes)
            for score in np.unique(found.scores[mine])
            for kept in [mine & (found.scores >= score)]
        }
        if row["F1"] < 0:
            assert not any(f1.values())
            continue
        assert row["F1"] == pytest.approx(max(f1.values()))
        assert f1[row["threshold"]] == pytest.approx(row["F1"])
        precision, recall = row["precision"], row["recall"]
        assert row["F1"] == pytest.approx(2 * precision * recall / (precision + recall))
        assert row["recall"] == pytest.approx(row["right"] / boxes)
