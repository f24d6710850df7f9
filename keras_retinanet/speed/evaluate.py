"""The time of an evaluation: of detecting, and of COCO's metrics for a file of detections."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.data.records import Dataset
from keras_retinanet.evaluation.metrics.coco_figures import CocoFigures, coco_evaluation, figures
from keras_retinanet.evaluation.metrics.coco_metric import annotation_file, score_files
from keras_retinanet.evaluation.results import write_coco_json
from keras_retinanet.evaluation.runner import DetectorRun, run_detector
from keras_retinanet.evaluation.tables import (
    EvaluationSet,
    Found,
    Truths,
    found_from_results,
    results_from_found,
    set_from_annotations,
    xywh_to_xyxy,
)
from keras_retinanet.files.text_files import read_json
from keras_retinanet.speed.tables import Table, time_row
from keras_retinanet.speed.timing import Times, measure

# Of a drawn scene: boxes an image (COCO's mean), detections of each that are nearly right, size.
BOXES, COPIES = 7, 3
SIZE = (480, 640)
REFERENCE = "pycocotools"


def scoring(*, images: int, detections: int = 100, classes: int = 80, repeat: int) -> Table:
    """Time the scoring of a drawn file of detections, and compare its metrics with pycocotools'.

    Args:
        images: how many the files have.
        detections: of each image.
        classes: of the files.
    """
    truth, found = scene(images, detections, classes)
    with tempfile.TemporaryDirectory() as folder:
        places = Path(folder) / "annotations.json", Path(folder) / "detections.json"
        places[0].write_text(json.dumps(annotation_file(truth)), encoding="utf-8")
        write_coco_json(results_from_found(found, truth), places[1])
        contents = [read_json(place) for place in places]
        calls = {
            "read the files": lambda: [read_json(place) for place in places],
            "annotations to columns": lambda: set_from_annotations(contents[0]),
            "detections to columns": lambda: found_from_results(contents[1], truth),
            "match and count": lambda: coco_evaluation(truth, found),
            "all of it": lambda: score_files(*places),
        }
        times = measure(calls, repeat=repeat)
    total = times["all of it"].median
    rows = [time_row(name, taken, total=total) for name, taken in times.items()]
    own = coco_evaluation(truth, found)
    title = (
        f"Evaluation: ms, {images:,} images, {len(found.scores):,} detections, {classes} classes, "
        f"by {own.engine}"
    )
    return Table(title, rows, [_difference(own, truth, found)])


def _difference(own: CocoFigures, truth: EvaluationSet, found: Found) -> str:
    if own.engine == REFERENCE:
        return f"{REFERENCE} itself computed the metrics."
    reference = figures(coco_evaluation(truth, found, engine="pycocotools"))
    gap = max(abs(value - reference[name]) for name, value in figures(own).items())
    return f"Largest difference of the twelve metrics to {REFERENCE}: {gap:.1e}."


def detection(model: Any, dataset: Dataset, *, images: int, batch_size: int, repeat: int) -> Table:
    """Time the detection in the first `images` of a dataset, as `evaluate` runs it."""
    dataset = replace(dataset, records=[*dataset.records[:images]])
    runs: list[DetectorRun] = []

    def run() -> None:
        runs.append(run_detector(model, dataset, batch_size=batch_size, progress=False))

    (times,) = measure({"run": run}, repeat=repeat, shortest=0.0).values()
    count = len(dataset.records)
    within = Times(tuple(run.ms_per_picture / 1000 for run in runs[-len(times.seconds) :]))
    total = times.median / count
    rows = [
        time_row("files to detections", times, per=count, total=total * count),
        time_row("of it, network and post-processing", within, total=total),
    ]
    return Table(f"Detection: ms per image, {count} images of {dataset.name}", rows)


def scene(images: int, detections: int, classes: int) -> tuple[EvaluationSet, Found]:
    """Draw ground truth and `detections` per image, sorted by score within each.

    Of each box there are three moved ones, one in five under another name; the rest is anywhere.
    """
    random = np.random.default_rng(0)
    count = images * BOXES
    xywh, names = _random_xywh(random, count), random.integers(0, classes, count, np.int32)
    image = np.repeat(np.arange(images, dtype=np.int32), BOXES)
    truths = Truths(
        image=image,
        classes=names,
        boxes=xywh_to_xyxy(xywh),
        areas=xywh[:, 2:].prod(axis=1) * random.uniform(0.5, 1, count),
        ignore=random.uniform(size=count) < 0.02,
    )
    copied = np.repeat(np.arange(count), COPIES)
    moved = xywh[copied]
    moved[:, :2] += random.normal(0, 0.08, (len(copied), 2)) * moved[:, 2:]
    moved[:, 2:] *= np.exp(random.normal(0, 0.1, (len(copied), 2)))
    other = random.integers(0, classes, len(copied), np.int32)
    is_right = random.uniform(size=len(copied)) < 0.8
    rest = images * max(0, detections - BOXES * COPIES)
    columns = [
        np.concatenate([image[copied], random.integers(0, images, rest, np.int32)]),
        np.concatenate(
            [np.where(is_right, names[copied], other), random.integers(0, classes, rest, np.int32)]
        ),
        xywh_to_xyxy(np.concatenate([moved, _random_xywh(random, rest)])),
        np.concatenate([random.beta(2, 2, len(copied)), random.beta(1, 6, rest)]),
    ]
    order = np.lexsort((-columns[3], columns[0]))
    truth = EvaluationSet(
        image_ids=list(range(1, images + 1)),
        file_names=[f"{number}.jpg" for number in range(images)],
        sizes=np.tile(np.array(SIZE, np.int32), (images, 1)),
        class_names=[f"class {index}" for index in range(classes)],
        class_ids=list(range(1, classes + 1)),
        truths=truths,
    )
    return truth, Found(*(column[order] for column in columns))


def _random_xywh(random: np.random.Generator, count: int) -> np.ndarray:
    sides = np.exp(random.uniform(np.log(8), np.log(300), (count, 2)))
    corners = random.uniform(0, 1, (count, 2)) * (np.array(SIZE[::-1]) - sides).clip(0)
    return np.concatenate([corners, sides], axis=1).astype(np.float32).astype(np.float64)
