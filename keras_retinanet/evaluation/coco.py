"""COCO's twelve figures by pycocotools: dicts in the forms of COCO's own files in, numbers out.

Boxes are xywh in pixels of the original picture (https://cocodataset.org, "Data format").
"""

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import UserError

# Name -> title, IoU, area and detections per picture, in the order of pycocotools' `stats`.
FIGURES: dict[str, tuple[str, str, str, int]] = {
    "AP": ("Average Precision  (AP)", "0.50:0.95", "all", 100),
    "AP50": ("Average Precision  (AP)", "0.50", "all", 100),
    "AP75": ("Average Precision  (AP)", "0.75", "all", 100),
    "AP_small": ("Average Precision  (AP)", "0.50:0.95", "small", 100),
    "AP_medium": ("Average Precision  (AP)", "0.50:0.95", "medium", 100),
    "AP_large": ("Average Precision  (AP)", "0.50:0.95", "large", 100),
    "AR1": ("Average Recall     (AR)", "0.50:0.95", "all", 1),
    "AR10": ("Average Recall     (AR)", "0.50:0.95", "all", 10),
    "AR100": ("Average Recall     (AR)", "0.50:0.95", "all", 100),
    "AR_small": ("Average Recall     (AR)", "0.50:0.95", "small", 100),
    "AR_medium": ("Average Recall     (AR)", "0.50:0.95", "medium", 100),
    "AR_large": ("Average Recall     (AR)", "0.50:0.95", "large", 100),
}


def image_ids(dataset: Dataset) -> list[int]:
    """Gives each record of a data set the integer id that COCO's form asks for.

    Returns:
        The records' own ids where all are integers, else 1..N in the records' order.
    """
    own = [record.image_id for record in dataset.records]
    if all(isinstance(image_id, int | np.integer) for image_id in own):
        return [int(image_id) for image_id in own]
    return list(range(1, len(own) + 1))


def ground_truth(dataset: Dataset) -> dict[str, list[dict[str, Any]]]:
    """Writes a data set in the form of COCO's annotation file.

    Args:
        dataset: its boxes are xyxy pixels of the original pictures. Boxes to ignore become
            crowds, which match any number of detections and count neither way.

    Returns:
        `images`, `categories` (with the original class ids) and `annotations` (ids from 1).
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, record in zip(image_ids(dataset), dataset.records, strict=True):
        images.append(
            {"id": image_id, "file_name": record.file_name}
            | {"height": int(record.height), "width": int(record.width)}
        )
        boxes = np.asarray(record.boxes, np.float64).tolist()
        for (x1, y1, x2, y2), index, ignore, area in zip(
            boxes, record.classes, record.ignore, record.areas, strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(dataset.class_ids[int(index)]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(area),
                    "iscrowd": int(ignore),
                }
            )
    categories = [
        {"id": int(class_id), "name": name}
        for class_id, name in zip(dataset.class_ids, dataset.class_names, strict=True)
    ]
    return {"images": images, "categories": categories, "annotations": annotations}


def _index_ground_truth(annotation_file: dict[str, Any]) -> COCO:
    """Puts an annotation file's content into pycocotools' index; raises UserError if malformed."""
    if not isinstance(annotation_file, dict):
        raise UserError("Annotations must be a JSON object. Give a COCO instances file.")
    for key in ("images", "categories", "annotations"):
        if not isinstance(annotation_file.get(key), list):
            raise UserError(f"Annotations must hold a list `{key}`. Give a COCO instances file.")
    try:
        annotations = [
            {
                # Numbered anew: pycocotools takes a match with annotation 0 for no match, and
                # some tools (Roboflow) count from 0. Nothing else reads the id.
                "id": number,
                "image_id": annotation["image_id"],
                "category_id": annotation["category_id"],
                "bbox": annotation["bbox"],
                "area": annotation.get("area", annotation["bbox"][2] * annotation["bbox"][3]),
                "iscrowd": int(annotation.get("iscrowd", 0)),
            }
            for number, annotation in enumerate(annotation_file["annotations"], start=1)
        ]
        return _index({**annotation_file, "annotations": annotations})
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            "Annotations need `image_id`, `category_id` and `bbox` (xywh), images and categories "
            f"an `id`. Received: {type(error).__name__}: {error}. Give a COCO instances file."
        ) from error


def _index_detections(annotations: COCO, detections: list[dict[str, Any]]) -> COCO:
    """Does what `COCO.loadRes` does, for an empty list too and without changing its input."""
    if not isinstance(detections, list):
        raise UserError("Detections must be a JSON list. Give a COCO results file.")
    results = [_checked_detection(number, row) for number, row in enumerate(detections, start=1)]
    strangers = [row["image_id"] for row in results if row["image_id"] not in annotations.imgs]
    if strangers:
        raise UserError(
            "Detections must be of pictures in the annotations. Received: image_id="
            f"{strangers[0]!r}. Give the annotations of the split that was detected."
        )
    if results and not any(row["category_id"] in annotations.cats for row in results):
        raise UserError(
            "Detections must have the annotations' category ids. Received: category_id="
            f"{results[0]['category_id']!r}, and no other of the file is known. Write the "
            "original ids, not contiguous ones."
        )
    return _index({**annotations.dataset, "annotations": results})


def _checked_detection(number: int, row: dict[str, Any]) -> dict[str, Any]:
    """Copies what is scored of one detection, with the area that pycocotools asks for."""
    try:
        x, y, width, height = (float(value) for value in row["bbox"])
        score = float(row["score"])
        if not math.isfinite(x + y + width + height + score):
            raise ValueError("a number is not finite")
        checked = {key: row[key] for key in ("image_id", "category_id")}
        hash(tuple(checked.values()))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            "A detection needs `image_id`, `category_id`, `bbox` (4 numbers, xywh) and `score`. "
            f"Received: entry {number} with {type(error).__name__}: {error}. "
            "Give a COCO results file."
        ) from error
    box = {"bbox": [x, y, width, height], "area": width * height, "iscrowd": 0}
    return {**checked, **box, "score": score, "id": number}


def _index(content: dict[str, Any]) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
    return coco


def match(annotation_file: dict[str, Any], detections: list[dict[str, Any]]) -> COCOeval:
    """Runs COCO's matching at all its IoUs, areas and limits, silently.

    Args and Raises: as `coco_metrics`. Returns: a summarized `COCOeval`, which `figures` and
    `per_class` read.
    """
    annotations = _index_ground_truth(annotation_file)
    results = _index_detections(annotations, detections)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(annotations, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def figures(evaluation: COCOeval) -> dict[str, float]:
    """Names the twelve figures of a `match`, 0..1, or -1 where there is nothing to find."""
    return dict(zip(FIGURES, (float(value) for value in evaluation.stats), strict=True))


def per_class(evaluation: COCOeval) -> dict[str, dict[str, float]]:
    """Reads the AP and the AP50 of each class, by name, from a `match`.

    Returns:
        Class name -> {"AP", "AP50"}; -1 for a class without a box to find.
    """
    # (IoU, recall, class) at all areas and 100 detections a picture; -1 where undefined.
    precision = evaluation.eval["precision"][..., 0, -1]

    def mean(values: np.ndarray) -> float:
        defined = values[values > -1]
        return float(defined.mean()) if defined.size else -1.0

    names = [evaluation.cocoGt.cats[class_id]["name"] for class_id in evaluation.params.catIds]
    return {
        name: {"AP": mean(precision[:, :, k]), "AP50": mean(precision[0, :, k])}
        for k, name in enumerate(names)
    }


def coco_metrics(
    annotation_file: dict[str, Any], detections: list[dict[str, Any]]
) -> dict[str, float]:
    """Scores detections against ground truth with COCO's twelve figures.

    Args:
        annotation_file: content of a COCO instances file, or `ground_truth(dataset)`. A missing
            `area` is the box's, a missing `iscrowd` is 0. Not changed.
        detections: content of a COCO results file; may be empty. Not changed. Categories that
            the annotations lack are left out, as by pycocotools.

    Returns:
        The figures under the names of `FIGURES`, 0..1. Without a box to find a figure is -1;
        with boxes and no detection it is 0.

    Raises:
        UserError: either is malformed, a detection's picture is not among the annotations', or
            no detection's category is.
    """
    return figures(match(annotation_file, detections))


def format_metrics(metrics: dict[str, Any]) -> str:
    """Writes the twelve figures in pycocotools' wording, scale 0..1, one a line."""
    return "\n".join(
        f" {title} @[ IoU={iou:<9} | area={area:>6s} | maxDets={limit:>3d} ] = {metrics[name]:0.3f}"
        for name, (title, iou, area, limit) in FIGURES.items()
    )


def score_files(annotations_path: str | Path, detections_path: str | Path) -> dict[str, float]:
    """Scores a COCO results file against an annotation file; needs no model.

    Returns and Raises: as `coco_metrics`; UserError too when a file cannot be read as JSON.
    """
    return coco_metrics(_read_json(annotations_path), _read_json(detections_path))


def _read_json(path: str | Path) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} must be a JSON file. Received: {error}.") from error
