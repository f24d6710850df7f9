"""Figures by size and shape: pycocotools with the same bins, and fates that add up."""

import contextlib
import io
import json
import math
from itertools import pairwise

import numpy as np
import pytest
from error_cases import as_tables, columns, made_case, random_boxes, wrong_detections
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_retinanet.evaluation.errors.breakdown import (
    ASPECTS,
    SIDES,
    aspect_breakdown,
    size_breakdown,
)
from keras_retinanet.evaluation.errors.costs import analyse_errors

PICTURES, CLASSES = 30, 4


@pytest.fixture(scope="module")
def case():
    """Boxes of all sizes and shapes, some crowds, and wrong detections, equal scores among them."""
    rng = np.random.default_rng(3)
    boxes = random_boxes(rng, 200)
    boxes[:, 2:] *= np.exp(rng.normal(-0.5, 1.0, (200, 2)))
    truths = [
        (int(rng.integers(PICTURES)), int(rng.integers(CLASSES)), list(box), rng.uniform() < 0.1)
        for box in boxes
    ]
    truths.append((0, 0, [300.0, 300.0, 32.0, 32.0], False))  # on an edge: of the upper bin
    found = wrong_detections(rng, truths, pictures=PICTURES, classes=CLASSES)
    return columns(truths, found, pictures=PICTURES, classes=CLASSES)


def reference(case, measure, edges, iou):
    """The AP of each bin by pycocotools; `measure` of a box takes the place of its area."""

    def rows(name):
        return [
            {"id": number, "image_id": int(image) + 1, "category_id": int(index) + 1, "bbox": box}
            | {"area": measure(box), "iscrowd": 0}
            for number, (image, index, box) in enumerate(
                zip(
                    case[f"{name}_image"],
                    case[f"{name}_classes"],
                    case[f"{name}_xywh"].tolist(),
                    strict=True,
                ),
                start=1,
            )
        ]

    content = {
        "images": [{"id": image + 1} for image in range(PICTURES)],
        "categories": [{"id": index + 1} for index in range(CLASSES)],
    }
    truths, found = rows("truth"), rows("found")
    for row, crowd in zip(truths, case["truth_ignore"].tolist(), strict=True):
        row["iscrowd"] = int(crowd)
    for row, score in zip(found, case["found_scores"].tolist(), strict=True):
        row["score"] = score
    with contextlib.redirect_stdout(io.StringIO()):
        indices = []
        for annotations in (truths, found):
            indices.append(COCO())
            indices[-1].dataset = {**content, "annotations": annotations}
            indices[-1].createIndex()
        evaluation = COCOeval(*indices, "bbox")
        evaluation.params.iouThrs = np.array([iou])
        # pycocotools counts both bounds in.
        evaluation.params.areaRng = [
            [low, min(np.nextafter(high, 0), 1e12)] for low, high in pairwise(edges)
        ]
        evaluation.params.areaRngLbl = [str(number) for number in range(len(edges) - 1)]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, :, -1]  # (recall, class, bin)
    figures = []
    for index in range(len(edges) - 1):
        defined = precision[..., index][precision[..., index] > -1]
        figures.append(defined.mean() if defined.size else -1.0)
    return figures


@pytest.mark.parametrize("iou", [0.5, 0.75])
def test_ap_by_size_and_shape_is_that_of_pycocotools(case, iou):
    errors = analyse_errors(*as_tables(case), foreground=iou)
    sizes = reference(case, lambda box: box[2] * box[3], np.square(SIDES), iou)
    aspects = reference(case, lambda box: box[2] / box[3], [0, *ASPECTS.values()], iou)
    for bins, expected in (
        (size_breakdown(errors), sizes),
        (aspect_breakdown(errors), aspects),
    ):
        assert len({figures.ap for figures in bins}) == len(bins)
        np.testing.assert_allclose([f.ap for f in bins], expected, rtol=0, atol=1e-12)


def test_every_box_to_find_has_one_fate_in_one_bin(case):
    for tables in (as_tables(case), as_tables(made_case())):
        errors = analyse_errors(*tables)
        to_find = int((~tables[0].truths.ignore).sum())
        for bins in (size_breakdown(errors), aspect_breakdown(errors)):
            assert sum(figures.truths for figures in bins) == to_find
            assert sum(figures.missed for figures in bins) == errors.counts["Miss"]
            assert sum(figures.found for figures in bins) == len(errors.judgement.rows("correct"))
            for figures in bins:
                lost = figures.badly_placed + figures.misnamed + figures.missed
                assert figures.found + lost == figures.truths


def test_bins_by_hand():
    truths = [(0, 0, [0.0, 0.0, 10.0, 20.0], False), (0, 1, [100.0, 100.0, 200.0, 200.0], False)]
    found = [(0, 0, [0.0, 0.0, 10.0, 20.0], 0.5), (0, 0, [100.0, 100.0, 200.0, 210.0], 0.9)]
    tables = as_tables(columns(truths, found, pictures=1, classes=2))
    errors = analyse_errors(*tables)
    by_size = {figures.name: figures for figures in size_breakdown(errors)}
    assert list(by_size) == [
        "below 16 px",
        *("16-32 px", "32-64 px", "64-96 px", "96-192 px", "192 px and more"),
    ]
    # The wrong detection is large, so it spoils nothing among the small ones.
    assert (by_size["below 16 px"].ap, by_size["below 16 px"].recall) == (1.0, 1.0)
    large = by_size["192 px and more"]
    assert (large.ap, large.truths, large.misnamed, large.recall) == (0.0, 1, 1, 0.0)
    assert (by_size["32-64 px"].ap, by_size["32-64 px"].recall) == (-1.0, -1.0)
    by_shape = {figures.name: figures.truths for figures in aspect_breakdown(errors)}
    assert by_shape == {"very tall": 0, "tall": 1, "square": 1, "wide": 0, "very wide": 0}
    plain = json.loads(json.dumps(large.to_plain(), allow_nan=False))
    assert (plain["high"], plain["recall"], large.high) == (None, 0.0, math.inf)


@pytest.mark.parametrize("pictures", [0, 1])
def test_nothing_at_all(pictures):
    errors = analyse_errors(*as_tables(columns([], [], pictures=pictures, classes=1)))
    for figures in (*size_breakdown(errors), *aspect_breakdown(errors)):
        assert (figures.ap, figures.truths) == (-1.0, 0)
