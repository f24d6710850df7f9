"""Open Images' average precision: the challenge evaluator's numbers, and cases by hand."""

import numpy as np
import pytest
from conftest import GOLDENS
from error_cases import as_tables, columns

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.openimages_metric import open_images_evaluation

GROUP = (0, 0, [0, 0, 100, 100], True)
SINGLE = (0, 0, [200, 200, 50, 50], False)
FINDS_SINGLE = (0, 0, [200, 200, 50, 50], 0.6)


def scored(truths, found, *, classes=1, **options):
    case = columns(truths, found, pictures=2, classes=classes)
    return open_images_evaluation(*as_tables(case), **options)


@pytest.mark.parametrize("name", ["open_images", "open_images_verified"])
def test_evaluator_of_the_challenge(name):
    with np.load(GOLDENS / "metrics.npz") as stored:
        case = {key: stored[key] for key in stored.files}
    golden = case[name]
    verified = case["verified"] if name == "open_images_verified" else None
    figures = open_images_evaluation(*as_tables(case), verified=verified)
    np.testing.assert_allclose(figures.ap, np.where(np.isnan(golden), -1, golden), atol=1e-12)
    assert figures.mean == pytest.approx(np.nanmean(golden), abs=1e-12)


def test_many_in_a_group_are_one_right_detection():
    in_group = [(0, 0, [x, x, 20, 20], score) for x, score in ((5, 0.9), (40, 0.8), (70, 0.3))]
    figures = scored([GROUP, SINGLE], [*in_group, FINDS_SINGLE])
    assert figures.ap[0] == 1
    assert figures.rows() == [
        {"class": "class 0", "boxes": 1, "groups": 1, "detections": 4, "OpenImages_AP": 1.0}
    ]


def test_a_missed_group_is_a_missed_box():
    assert scored([GROUP, SINGLE], [FINDS_SINGLE]).ap[0] == pytest.approx(0.5)


def test_half_inside_is_inside():
    half = (0, 0, [80, 0, 40, 40], 0.9)
    less = (0, 0, [81, 0, 40, 40], 0.9)
    assert scored([GROUP], [half]).ap[0] == 1
    assert scored([GROUP], [less]).ap[0] == 0


def test_single_boxes_in_a_group_are_found_first():
    # The second detection of the box falls to the group around it.
    truths = [GROUP, (0, 0, [10, 10, 30, 30], False)]
    found = [(0, 0, [10, 10, 30, 30], 0.9), (0, 0, [11, 11, 30, 30], 0.8)]
    assert scored(truths, found).ap[0] == 1
    assert scored(truths, found[:1]).ap[0] == pytest.approx(0.5)


def test_a_group_of_another_class_excuses_nothing():
    figures = scored(
        [GROUP, (0, 1, [200, 0, 9, 9], False)], [(0, 1, [5, 5, 20, 20], 0.9)], classes=2
    )
    assert figures.ap.tolist() == [0, 0]


def test_classes_that_nobody_looked_for_are_left_out():
    truths = [SINGLE]
    found = [FINDS_SINGLE, (1, 0, [0, 0, 9, 9], 0.9)]
    assert scored(truths, found).ap[0] == pytest.approx(0.5)
    # Picture 0 has a box of the class: it was looked for whatever the table says.
    figures = scored(truths, found, verified=np.zeros((2, 1), bool))
    assert (figures.ap[0], figures.detections[0]) == (1, 1)
    with pytest.raises(UserError, match=r"Received: verified of shape \(1, 1\)"):
        scored(truths, found, verified=np.zeros((1, 1), bool))


@pytest.mark.parametrize(
    ("truths", "found", "ap"), [([], [FINDS_SINGLE], -1), ([GROUP], [], 0), ([], [], -1)]
)
def test_nothing_to_compare(truths, found, ap):
    figures = scored(truths, found)
    assert figures.ap[0] == figures.mean == ap
