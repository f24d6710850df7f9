"""hotcoco gives pycocotools' tables on every kind of case, and without it pycocotools serves."""

import dataclasses
import json

import numpy as np
import pytest
from error_cases import as_tables, made_case

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.crowds import counted_detections, most_of_a_class
from keras_retinanet.evaluation.metrics import coco_figures, fast_coco
from keras_retinanet.evaluation.metrics.coco_figures import (
    FIGURES,
    IOUS,
    class_table,
    coco_evaluation,
    figures,
    iou_table,
    mean,
    per_class,
)
from keras_retinanet.evaluation.metrics.matching import match_detections
from keras_retinanet.evaluation.summary import format_summary, summarise
from keras_retinanet.evaluation.tables import (
    EvaluationSet,
    Found,
    Truths,
    found_from_results,
    set_from_annotations,
    xywh_to_xyxy,
)

TABLES = ("precision", "recall", "scores")


@pytest.fixture(scope="module", params=["real_coco", "tiny_coco"])
def real(request):
    folder = request.getfixturevalue(request.param)
    text = (folder / "annotations/instances_val2017.json").read_text()
    return set_from_annotations(json.loads(text))


def drawn(pictures, rng, *, each, classes):
    """Detections anywhere, `each` a picture, of the first `classes`."""
    count = each * len(pictures.image_ids)
    xywh = np.concatenate([rng.uniform(0, 400, (count, 2)), rng.uniform(1, 250, (count, 2))], 1)
    image = np.repeat(np.arange(len(pictures.image_ids), dtype=np.int32), each)
    names = rng.integers(0, classes, count, np.int32)
    return Found(image, names, xywh_to_xyxy(xywh), rng.uniform(size=count))


def perturbed(pictures, rng, spread, *, copies=4, renamed=0.1):
    """True boxes, crowds too, moved by `spread` of their sides, some under other names."""
    truths = pictures.truths
    rows = np.repeat(np.arange(len(truths.image)), copies)
    xywh = truths.xywh[rows]
    xywh[:, :2] += rng.normal(0, spread, (len(rows), 2)) * xywh[:, 2:]
    xywh[:, 2:] *= np.exp(rng.normal(0, spread, (len(rows), 2)))
    names = truths.classes[rows].copy()
    wrong = rng.uniform(size=len(rows)) < renamed
    names[wrong] = rng.integers(0, len(pictures.class_ids), wrong.sum())
    return Found(truths.image[rows], names, xywh_to_xyxy(xywh), rng.uniform(size=len(rows)))


def cases_of(real):
    rng = np.random.default_rng(0)
    crowds = dataclasses.replace(real.truths, ignore=np.ones_like(real.truths.ignore))
    nothing = Truths(*(column[:0] for column in dataclasses.astuple(real.truths)))
    close, far = perturbed(real, rng, 0.05), perturbed(real, rng, 0.3)
    steps = np.round(far.boxes / 8) * 8 + [0, 0, 8, 8]
    # Ids from 0, falling, so that equal scores are ordered against the rows.
    falling = dataclasses.replace(
        real,
        image_ids=list(range(len(real.image_ids)))[::-1],
        class_ids=list(range(len(real.class_ids)))[::-1],
    )
    return {
        "random": (real, drawn(real, rng, each=100, classes=len(real.class_ids))),
        "over 100 of a class": (real, drawn(real, rng, each=250, classes=2)),
        "close": (real, close),
        "far": (real, far),
        "ties": (real, dataclasses.replace(close, scores=np.round(close.scores, 1))),
        "one score": (real, dataclasses.replace(close, scores=np.full(len(close.scores), 0.5))),
        "whole steps": (real, Found(far.image, far.classes, steps, np.round(far.scores, 2))),
        "falling ids": (falling, dataclasses.replace(close, scores=np.round(close.scores, 1))),
        "nothing found": (real, Found(*(column[:0] for column in dataclasses.astuple(far)[:4]))),
        "nothing to find": (dataclasses.replace(real, truths=nothing), far),
        "all crowds": (dataclasses.replace(real, truths=crowds), far),
    }


def exact_ious():
    """Boxes of whole multiples, so that many IoUs are .5, .55, .. exactly; some without area."""
    rng = np.random.default_rng(1)
    sides = rng.integers(1, 20, (300, 2)) * 5.0
    xywh = np.concatenate([rng.integers(0, 30, (300, 2)) * 5.0, sides], axis=1)
    image, names = rng.integers(0, 12, 300, np.int32), rng.integers(0, 2, 300, np.int32)
    truths = Truths(image, names, xywh_to_xyxy(xywh), sides.prod(axis=1), rng.random(300) < 0.1)
    rows = np.repeat(np.arange(300), 4)
    found = xywh[rows]
    found[:, 2] *= rng.integers(0, 21, len(rows)) / 20
    pictures = EvaluationSet(
        image_ids=[f"picture {number}" for number in range(14)],
        file_names=["x.jpg"] * 14,
        sizes=np.full((14, 2), 250, np.int32),
        class_names=["a", "b"],
        class_ids=[0, 1],
        truths=truths,
    )
    scores = np.round(rng.uniform(size=len(rows)), 2)
    return pictures, Found(image[rows], names[rows], xywh_to_xyxy(found), scores)


def no_picture_and_no_class():
    empty = Truths(*(np.zeros(shape) for shape in (0, 0, (0, 4), 0)), np.zeros(0, bool))
    empty = dataclasses.replace(empty, image=empty.image.astype(np.int32))
    empty = dataclasses.replace(empty, classes=empty.image)
    pictures = EvaluationSet([], [], np.zeros((0, 2), np.int32), [], [], empty)
    return pictures, Found(empty.image, empty.image, empty.boxes, empty.areas)


def assert_equal_tables(pictures, found):
    """Compares all tables and figures of both engines; returns pycocotools'."""
    reference = coco_evaluation(pictures, found, engine="pycocotools")
    fast = coco_evaluation(pictures, found, engine="hotcoco")
    assert (reference.engine, fast.engine) == ("pycocotools", "hotcoco")
    for name in TABLES:
        expected, got = getattr(reference, name), getattr(fast, name)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12, err_msg=name)
    assert figures(fast) == pytest.approx(figures(reference), abs=1e-12)
    return reference


@pytest.fixture(scope="module")
def _hotcoco():
    pytest.importorskip("hotcoco", reason="needs the extra `fast`")


@pytest.mark.usefixtures("_hotcoco")
def test_sample_of_cocos_authors(coco_sample):
    names = "instances_val2014_100.json", "instances_val2014_fakebbox100_results.json"
    content, rows = (json.loads((coco_sample / name).read_text()) for name in names)
    pictures = set_from_annotations(content)
    reference = assert_equal_tables(pictures, found_from_results(rows, pictures))
    assert reference.figure("AP") == pytest.approx(0.5045806987, abs=1e-10)


@pytest.mark.long
@pytest.mark.usefixtures("_hotcoco")
def test_every_kind_of_case_on_real_images(real):
    assert real.truths.ignore.sum() == 5
    assert len(set(real.truths.image)) < len(real.image_ids)  # a picture without boxes
    ap = {}
    for name, case in cases_of(real).items():
        ap[name] = assert_equal_tables(*case).figure("AP")
    assert ap["nothing found"] == 0
    assert ap["nothing to find"] == ap["all crowds"] == -1
    assert 0.4 < ap["close"] < 1 and 0 < ap["far"] < 0.2


@pytest.mark.usefixtures("_hotcoco")
@pytest.mark.parametrize("case", [exact_ious, no_picture_and_no_class])
def test_made_up_cases(case):
    assert_equal_tables(*case())


@pytest.mark.usefixtures("_hotcoco")
def test_errors_of_every_kind():
    assert_equal_tables(*as_tables(made_case()))


def test_without_the_package_pycocotools_serves(monkeypatch):
    monkeypatch.setattr(coco_figures, "is_installed", lambda: False)
    case = as_tables(made_case())
    assert coco_evaluation(*case).engine == "pycocotools"
    with pytest.raises(UserError, match=r"Install keras_retinanet\[fast\]"):
        coco_evaluation(*case, engine="hotcoco")
    with pytest.raises(UserError, match="Received: slow"):
        coco_evaluation(*case, engine="slow")


@pytest.mark.usefixtures("_hotcoco")
def test_with_the_package_it_is_the_default():
    assert fast_coco.is_installed()
    assert coco_evaluation(*as_tables(made_case())).engine == "hotcoco"


def test_matches_are_those_behind_ap50():
    pictures, found = as_tables(made_case())
    evaluation = coco_evaluation(pictures, found, engine="pycocotools")
    matches = match_detections(pictures, found)
    for index, boxes in enumerate(matches.boxes):
        rows = np.flatnonzero((found.classes == index) & matches.counts)
        # Equal scores: picture by picture, as COCO's evaluator has them.
        rows = rows[np.lexsort((found.image[rows], -found.scores[rows]))]
        right = np.cumsum(matches.is_right[rows])
        if boxes:
            recall = right[-1] / boxes if len(right) else 0.0
            assert evaluation.recall[0, index, 0, -1] == pytest.approx(recall, abs=1e-12)
            best = [
                (right / np.arange(1, len(right) + 1))[right / boxes >= point].max(initial=0)
                for point in np.linspace(0, 1, 101)
            ]
            assert evaluation.figure("AP50", index) == pytest.approx(np.mean(best), abs=1e-12)


def crowd_of_150():
    """150 true boxes of one image, each found exactly."""
    x, y = np.meshgrid(np.arange(15) * 20.0, np.arange(10) * 20.0)
    boxes = np.stack([x.ravel(), y.ravel(), x.ravel() + 9, y.ravel() + 9], axis=1)
    zeros = np.zeros(150, np.int32)
    truths = Truths(zeros, zeros, boxes, np.full(150, 81.0), zeros.astype(bool))
    sizes = np.array([[300, 300]], np.int32)
    pictures = EvaluationSet(["a"], ["a.jpg"], sizes, ["tree"], [1], truths)
    return pictures, Found(zeros, zeros, boxes, np.linspace(1, 0.5, 150))


@pytest.mark.parametrize("engine", ["pycocotools", "hotcoco"])
def test_a_higher_limit_counts_the_rest_of_a_crowd(engine):
    if engine == "hotcoco":
        pytest.importorskip("hotcoco", reason="needs the extra `fast`")
    case = crowd_of_150()
    by_coco = coco_evaluation(*case, engine=engine)
    # Recall ends at two thirds: 67 of 101 points.
    assert by_coco.figure("AP50") == pytest.approx(67 / 101)
    whole = coco_evaluation(*case, engine=engine, limit=300)
    assert (whole.figure("AP50"), whole.figure("AR100")) == (1, 1)
    assert whole.figure("AR1") == by_coco.figure("AR1") == pytest.approx(1 / 150)


def test_the_limit_follows_the_crowd_where_tiles_give_more():
    pictures, found = crowd_of_150()
    assert most_of_a_class(pictures) == 150
    assert counted_detections(pictures, in_tiles=False) == 100
    assert counted_detections(pictures, in_tiles=True) == 300
    summary = summarise(pictures, found, engine="pycocotools", limit=300)
    text = format_summary(summary)
    assert summary["coco"]["AP"] == 1 and text.count("maxDets=300") == 10
    assert (
        "count 300 detections per image and class, not 100 as COCO does; an image has 150" in text
    )


def test_tables_by_class_and_iou():
    pictures, found = as_tables(made_case())
    evaluation = coco_evaluation(pictures, found, engine="pycocotools")
    overall, rows = figures(evaluation), class_table(evaluation)
    assert [row["class"] for row in rows] == pictures.class_names
    for name in FIGURES:
        defined = [row[name] for row in rows if row[name] >= 0]
        assert overall[name] == pytest.approx(np.mean(defined), abs=1e-12)
    truths = pictures.truths
    for index, row in enumerate(rows):
        mine = (truths.classes == index) & ~truths.ignore
        assert row["boxes"] == mine.sum()
        assert row["pictures"] == len(set(truths.image[mine]))
        assert row["detections"] == (found.classes == index).sum()
        assert per_class(evaluation)[row["class"]] == {"AP": row["AP"], "AP50": row["AP50"]}
    ious = iou_table(evaluation)
    assert [row["IoU"] for row in ious] == list(IOUS)
    assert ious[0]["AP"] == overall["AP50"] and ious[5]["AP"] == overall["AP75"]
    assert np.mean([row["AR"] for row in ious]) == pytest.approx(overall["AR100"], abs=1e-12)
    assert mean(np.array([-1.0, -1.0])) == -1
