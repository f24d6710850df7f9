"""VOC's average precision: other people's numbers on the same detections, and cases by hand."""

import numpy as np
import pytest
from conftest import GOLDENS
from error_cases import as_tables, columns

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.voc_metric import voc_evaluation


@pytest.fixture(scope="module")
def goldens():
    with np.load(GOLDENS / "metrics.npz") as stored:
        return {name: stored[name] for name in stored.files}


def scored(truths, found, *, pictures=2, classes=1, **options):
    return voc_evaluation(
        *as_tables(columns(truths, found, pictures=pictures, classes=classes)), **options
    )


def test_port_of_the_development_kit(goldens):
    figures = voc_evaluation(*as_tables(goldens))
    eleven, area = (np.where(np.isnan(row), -1.0, row) for row in goldens["voc"])
    np.testing.assert_allclose(figures.ap_11, eleven, rtol=0, atol=1e-12)
    np.testing.assert_allclose(figures.ap_area, area, rtol=0, atol=1e-12)
    assert figures.means["VOC07_AP"] == pytest.approx(np.nanmean(goldens["voc"][0]), abs=1e-12)
    assert figures.means["VOC_AP"] == pytest.approx(np.nanmean(goldens["voc"][1]), abs=1e-12)


def test_object_detection_api_counts_sides_without_the_last_pixel(goldens):
    figures = voc_evaluation(*as_tables(goldens), inclusive=False)
    expected = np.where(np.isnan(goldens["voc_api"]), -1.0, goldens["voc_api"])
    np.testing.assert_allclose(figures.ap_area, expected, rtol=0, atol=1e-12)


def test_two_boxes_by_hand():
    truths = [(0, 0, [10, 10, 20, 20], False), (1, 0, [0, 0, 30, 30], False)]
    found = [
        (0, 0, [10, 10, 20, 20], 0.9),
        (0, 0, [10, 10, 20, 20], 0.8),  # again: wrong
        (1, 0, [0, 0, 30, 30], 0.7),
    ]
    figures = scored(truths, found)
    # Precision 1 up to recall .5, then 2/3: six of eleven points, or half the area.
    assert figures.ap_11[0] == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert figures.ap_area[0] == pytest.approx((1 + 2 / 3) / 2)
    assert figures.rows() == [
        {"class": "class 0", "boxes": 2, "difficult": 0, "detections": 3}
        | {"VOC07_AP": figures.ap_11[0], "VOC_AP": figures.ap_area[0]}
    ]


def test_what_finds_a_difficult_box_does_not_count():
    truths = [(0, 0, [10, 10, 20, 20], True), (0, 0, [60, 60, 20, 20], False)]
    on_difficult = [(0, 0, [10, 10, 20, 20], score) for score in (0.9, 0.8)]
    found = [*on_difficult, (0, 0, [60, 60, 20, 20], 0.7)]
    figures = scored(truths, found)
    assert figures.ap_area[0] == figures.ap_11[0] == 1
    assert (figures.boxes[0], figures.difficult[0]) == (1, 1)


def test_the_most_overlapped_box_is_looked_at_even_if_taken():
    # COCO would give the second detection the other box, with IoU .6; VOC does not.
    truths = [(0, 0, [0, 0, 100, 100], False), (0, 0, [0, 40, 100, 100], False)]
    found = [(0, 0, [0, 0, 100, 100], 0.9), (0, 0, [0, 15, 100, 100], 0.8)]
    assert scored(truths, found, inclusive=False).ap_area[0] == pytest.approx(0.5)


@pytest.mark.parametrize(("inclusive", "ap"), [(True, 1), (False, 0)])
def test_the_last_pixel_counts_in_small_boxes(inclusive, ap):
    # 5 x 10 of 10 x 11: .45, and with the last pixels 6 x 11 of 11 x 12: .5.
    figures = scored(
        [(0, 0, [0, 0, 10, 11], False)], [(0, 0, [0, 0, 5, 10], 0.5)], inclusive=inclusive
    )
    assert figures.ap_area[0] == ap


@pytest.mark.parametrize(
    ("truths", "found", "ap"),
    [
        ([(0, 0, [0, 0, 9, 9], False)], [], 0),
        ([], [(0, 0, [0, 0, 9, 9], 0.5)], -1),
        ([], [], -1),
        ([(0, 0, [0, 0, 9, 9], True)], [(0, 0, [0, 0, 9, 9], 0.5)], -1),
    ],
    ids=["nothing found", "no box", "neither", "difficult alone"],
)
def test_nothing_to_compare(truths, found, ap):
    figures = scored(truths, found)
    assert figures.ap_11[0] == figures.ap_area[0] == ap
    assert figures.means == {"VOC07_AP": ap, "VOC_AP": ap}


def test_classes_without_boxes_do_not_lower_the_mean():
    figures = scored([(0, 1, [0, 0, 9, 9], False)], [(0, 1, [0, 0, 9, 9], 0.5)], classes=3)
    assert figures.ap_area.tolist() == [-1, 1, -1]
    assert figures.means["VOC_AP"] == 1


def test_iou_out_of_range():
    with pytest.raises(UserError, match="Received: iou=0"):
        scored([], [], iou=0)
