"""COCO's figures for the content of COCO's own files: dicts in, numbers out.

Boxes are xywh in pixels of the original image (https://cocodataset.org, "Data format").
"""

from pathlib import Path
from typing import Any

from keras_retinanet.data.records import Dataset
from keras_retinanet.evaluation.metrics.coco_figures import (
    FIGURES,
    LIMITS,
    CocoFigures,
    Engine,
    coco_evaluation,
    figures,
)
from keras_retinanet.evaluation.metrics.reference_coco import annotation_rows
from keras_retinanet.evaluation.tables import (
    EvaluationSet,
    evaluation_set,
    found_from_results,
    set_from_annotations,
)
from keras_retinanet.files.collector import collector_at_rest
from keras_retinanet.files.text_files import read_json


def ground_truth(dataset: Dataset) -> dict[str, list[dict[str, Any]]]:
    """Write a dataset in the form of COCO's annotation file.

    Args:
        dataset: its boxes are xyxy pixels of the original images. Boxes to ignore become
            crowds, which match any number of detections and count neither way.

    Returns:
        `images`, `categories` (with the original class ids) and `annotations` (ids from 1).
    """
    return annotation_file(evaluation_set(dataset))


def annotation_file(pictures: EvaluationSet) -> dict[str, list[dict[str, Any]]]:
    """Return what `ground_truth` returns, of columns."""
    images = [
        {"id": image_id, "file_name": name, "height": height, "width": width}
        for image_id, name, (height, width) in zip(
            pictures.image_ids, pictures.file_names, pictures.sizes.tolist(), strict=True
        )
    ]
    annotations = annotation_rows(
        pictures.truths, image_ids=pictures.image_ids, class_ids=pictures.class_ids
    )
    categories = [
        {"id": class_id, "name": name}
        for class_id, name in zip(pictures.class_ids, pictures.class_names, strict=True)
    ]
    return {"images": images, "categories": categories, "annotations": annotations}


def match(
    annotation_file: dict[str, Any], detections: list[dict[str, Any]], *, engine: Engine = "auto"
) -> CocoFigures:
    """Run COCO's matching on the content of COCO's files.

    Args and Raises: as `coco_metrics`. Returns: what `figures` and `per_class` read.
    """
    pictures = set_from_annotations(annotation_file)
    return coco_evaluation(pictures, found_from_results(detections, pictures), engine=engine)


def coco_metrics(
    annotation_file: dict[str, Any], detections: list[dict[str, Any]], *, engine: Engine = "auto"
) -> dict[str, float]:
    """Score detections against ground truth with COCO's twelve metrics.

    Args:
        annotation_file: content of a COCO instances file, or `ground_truth(dataset)`. A missing
            `area` is the box's, a missing `iscrowd` is 0. Not changed.
        detections: content of a COCO results file; may be empty. Not changed.
        engine: of `coco_evaluation`.

    Returns:
        The metrics under the names of `FIGURES`, 0..1. Without a box to find a figure is -1;
        with boxes and no detection it is 0.

    Raises:
        UserError: either is malformed, or a detection's image or category is not among the
            annotations'; the engine is unknown or not installed.
    """
    return figures(match(annotation_file, detections, engine=engine))


def format_metrics(metrics: dict[str, Any], limit: int = LIMITS[-1]) -> str:
    """Write the twelve metrics in pycocotools' wording, scale 0..1, one a line.

    Args:
        limit: how many detections counted, instead of COCO's 100.
    """
    lines = []
    for name, (title, iou, area, most) in FIGURES.items():
        most = limit if most == LIMITS[-1] else most
        lines.append(
            f" {title} @[ IoU={iou:<9} | area={area:>6s} | maxDets={most:>3d} ] = "
            f"{metrics[name]:0.3f}"
        )
    return "\n".join(lines)


def score_files(
    annotations_path: str | Path, detections_path: str | Path, *, engine: Engine = "auto"
) -> dict[str, float]:
    """Score a COCO results file against an annotation file; needs no model.

    Returns and Raises: as `coco_metrics`; UserError too when a file cannot be read as JSON.
    """
    with collector_at_rest():
        contents = read_json(annotations_path), read_json(detections_path)
        return coco_metrics(*contents, engine=engine)
