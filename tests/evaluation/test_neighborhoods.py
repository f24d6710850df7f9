"""Images of many boxes in parts: what is matched in them is what is matched in the whole."""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from error_cases import as_tables, columns, random_boxes, wrong_detections

from keras_retinanet.evaluation.errors.breakdown import size_breakdown
from keras_retinanet.evaluation.errors.confusion import confusion_matrix
from keras_retinanet.evaluation.errors.costs import analyse_errors
from keras_retinanet.evaluation.errors.kinds import judge
from keras_retinanet.evaluation.metrics import neighborhoods, pairs
from keras_retinanet.evaluation.metrics.matching import match_detections
from keras_retinanet.evaluation.metrics.openimages_metric import open_images_evaluation
from keras_retinanet.evaluation.metrics.voc_metric import voc_evaluation
from keras_retinanet.modeling.numpy_boxes import overlaps


@pytest.fixture
def set_limit(monkeypatch):
    def change(limit):
        for module in (neighborhoods, pairs):
            monkeypatch.setattr(module, "MANY_PAIRS", limit)

    return change


@pytest.fixture(scope="module")
def case():
    """Two images with some hundred boxes each, crowds and equal scores among them."""
    rng = np.random.default_rng(5)
    boxes = random_boxes(rng, 500)
    boxes[:, :2] *= 4
    truths = [
        (int(rng.integers(2)), int(rng.integers(4)), list(box), rng.uniform() < 0.05)
        for box in boxes
    ]
    found = wrong_detections(rng, truths, pictures=2, classes=4)
    return as_tables(columns(truths, found, pictures=2, classes=4))


def same(one, other):
    assert type(one) is type(other)
    if is_dataclass(one):
        for field in fields(one):
            same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            same(*pair)
    else:
        np.testing.assert_array_equal(one, other)


def evaluated(pictures, found):
    errors = analyse_errors(pictures, found)
    return [
        errors.judgement,
        judge(pictures, found, max_detections=50),
        match_detections(pictures, found),
        voc_evaluation(pictures, found, inclusive=True),
        open_images_evaluation(pictures, found),
        confusion_matrix(pictures, found, score_threshold=0.3),
        size_breakdown(errors),
    ]


@pytest.mark.parametrize("limit", [1, 5_000])
def test_parts_give_what_the_whole_gives(case, limit, set_limit):
    whole = evaluated(*case)
    set_limit(limit)
    parts = [part for part in pairs.ImagePairs(*case).parts() if part[0].size]
    assert len(parts) > 2
    same(evaluated(*case), whole)


def test_parts_have_every_box_once_and_no_overlap_between_them(rng, set_limit):
    set_limit(200)
    found, truths = (random_boxes(rng, count) * [12, 12, 1, 1] for count in (300, 80))
    parts = list(neighborhoods.neighborhoods(found, truths))
    for index, count in ((0, 300), (1, 80)):
        rows = [part[index] for part in parts]
        assert all(np.all(np.diff(each) > 0) for each in rows)
        np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(count))
    part_of, part_of_truth = np.zeros(300, int), np.zeros(80, int)
    for number, (rows, there) in enumerate(parts):
        part_of[rows], part_of_truth[there] = number, number
    rows, there = np.nonzero(overlaps(found, truths))
    assert len(rows) > 50 and len(parts) > 5
    np.testing.assert_array_equal(part_of[rows], part_of_truth[there])


def test_a_long_chain_is_one_clump(set_limit):
    """Each box overlaps the next one alone, in an order that no sweep follows."""
    set_limit(10)
    starts = np.random.default_rng(0).permutation(400) * 10.0
    boxes = np.stack([starts, starts * 0, starts * 0 + 14, starts * 0 + 5], axis=1)
    sizes = [len(rows) for rows, _ in neighborhoods.neighborhoods(boxes[:200], boxes[200:])]
    assert sum(sizes) == 200
    joined = np.concatenate([boxes, boxes + [5, 0, 0, 0]])
    (part,) = neighborhoods.neighborhoods(joined, joined)
    assert len(part[0]) == len(part[1]) == 800
