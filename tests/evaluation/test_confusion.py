"""The confusion matrix: pairs reckoned by hand, and what must add up."""

import numpy as np
import pytest
from error_cases import as_tables, columns, made_case

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.errors.confusion import NOT_COUNTED, Confusion, confusion_matrix
from keras_retinanet.evaluation.errors.kinds import CORRECT, judge

BOX = [0.0, 0.0, 100.0, 100.0]
NEAR = [0.0, 0.0, 90.0, 100.0]  # IoU .9 with BOX
FAR = [200.0, 200.0, 100.0, 100.0]


def matrix(truths, found, *, classes=2, score_threshold=0.5):
    tables = as_tables(columns(truths, found, pictures=2, classes=classes))
    return confusion_matrix(*tables, score_threshold=score_threshold)


def test_one_of_each():
    truths = [(0, 0, BOX, False), (0, 1, FAR, False), (1, 0, BOX, False), (1, 1, FAR, False)]
    found = [
        (0, 0, BOX, 0.9),  # found
        (0, 0, FAR, 0.8),  # 1 taken for 0
        (1, 1, [0.0, 200.0, 50.0, 50.0], 0.7),  # false alarm
        (1, 0, BOX, 0.4),  # below the threshold: 0 not found
    ]
    result = matrix(truths, found)
    np.testing.assert_array_equal(result.counts, [[1, 0, 1], [1, 0, 1], [0, 1, 0]])
    assert result.truths.tolist() == [0, 1, -1, NOT_COUNTED]
    np.testing.assert_array_equal(result.shares()[0], [0.5, 0, 0.5])
    assert result.most_confused() == [Confusion("class 1", "class 0", 1, 0.5)]


def test_a_wrong_class_never_takes_the_box_of_the_right_one():
    found = [(0, 1, BOX, 0.9), (0, 0, NEAR, 0.6)]
    result = matrix([(0, 0, BOX, False)], found)
    np.testing.assert_array_equal(result.counts, [[1, 0, 0], [0, 0, 0], [0, 1, 0]])


def test_across_classes_the_highest_iou_goes_first():
    found = [(0, 1, NEAR, 0.9), (0, 2, BOX, 0.6)]
    result = matrix([(0, 0, BOX, False)], found, classes=3)
    assert result.counts[0].tolist() == [0, 0, 1, 0]
    assert result.counts[3].tolist() == [0, 1, 0, 0]


def test_one_box_is_one_pair():
    result = matrix([(0, 0, BOX, False)], [(0, 0, BOX, 0.9), (0, 0, NEAR, 0.8)])
    np.testing.assert_array_equal(result.counts, [[1, 0, 0], [0, 0, 0], [1, 0, 0]])


def test_boxes_to_ignore_and_detections_in_them_are_left_out():
    found = [(0, 0, NEAR, 0.9), (0, 1, NEAR, 0.8)]
    result = matrix([(0, 0, BOX, True)], found)
    np.testing.assert_array_equal(result.counts, [[0, 0, 0], [0, 0, 0], [0, 1, 0]])
    assert result.truths.tolist() == [NOT_COUNTED, -1]


def test_a_threshold_a_class():
    found = [(0, 0, BOX, 0.4), (0, 1, FAR, 0.4)]
    result = matrix([(0, 0, BOX, False)], found, score_threshold=np.array([0.3, 0.5]))
    np.testing.assert_array_equal(result.counts, [[1, 0, 0], [0, 0, 0], [0, 0, 0]])


def test_it_adds_up_and_its_diagonal_is_what_is_correct():
    pictures, found = as_tables(made_case())
    result = confusion_matrix(pictures, found, score_threshold=0.25)
    to_find = pictures.truths.classes[~pictures.truths.ignore]
    counted = found.classes[result.truths != NOT_COUNTED]
    np.testing.assert_array_equal(result.counts[:-1].sum(axis=1), np.bincount(to_find, minlength=8))
    np.testing.assert_array_equal(
        result.counts[:, :-1].sum(axis=0), np.bincount(counted, minlength=8)
    )
    # A detection takes its box whatever comes after it, so the threshold changes no match.
    correct = (judge(pictures, found).kinds == CORRECT) & (found.scores >= 0.25)
    np.testing.assert_array_equal(
        np.diag(result.counts)[:-1], np.bincount(found.classes[correct], minlength=8)
    )
    assert result.counts[:-1, :-1].sum() > correct.sum()


@pytest.mark.parametrize("pictures", [0, 1])
def test_nothing_at_all(pictures):
    tables = as_tables(columns([], [], pictures=pictures, classes=2))
    result = confusion_matrix(*tables, score_threshold=0.5)
    assert not result.counts.any()
    assert not result.shares().any()
    assert result.most_confused() == []


def test_thresholds_of_another_number_of_classes_are_named():
    with pytest.raises(UserError, match=r"Received: \(3,\) thresholds"):
        matrix([], [], score_threshold=np.zeros(3))
