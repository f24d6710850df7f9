"""COCO's matching by pycocotools, the reference.

T 10 IoUs, R 101 recalls, K classes, A 4 areas (all, small, medium, large), M 3 limits (1, 10, 100
detections an image).
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_retinanet.evaluation.tables import EvaluationSet, Found, Truths
from keras_retinanet.modeling.detections import coco_rows


class CocoTables(NamedTuple):
    """What the matching gives, float64, -1 where there is nothing to find."""

    precision: np.ndarray  # (T, R, K, A, M)
    recall: np.ndarray  # (T, K, A, M)
    scores: np.ndarray  # (T, R, K, A, M), the score at which each recall is reached


def picture_ranks(pictures: EvaluationSet) -> np.ndarray:
    """Return (P,) int64, each image's place by its id, the order in which COCO breaks ties."""
    return np.unique(np.array(pictures.image_ids), return_inverse=True)[1].astype(np.int64)


def annotation_rows(
    truths: Truths, *, image_ids: Sequence[Any], class_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Return true boxes as the annotations of COCO's file, under these ids."""
    rows = zip(
        truths.image.tolist(),
        truths.classes.tolist(),
        truths.xywh.tolist(),
        truths.areas.tolist(),
        truths.ignore.tolist(),
        strict=True,
    )
    # Numbered from 1: pycocotools takes a match with annotation 0 for no match.
    return [
        {
            "id": number,
            "image_id": image_ids[image],
            "category_id": class_ids[index],
            "bbox": bbox,
            "area": area,
            "iscrowd": int(ignore),
        }
        for number, (image, index, bbox, area, ignore) in enumerate(rows, start=1)
    ]


def reference_tables(pictures: EvaluationSet, found: Found, *, limits: Sequence[int]) -> CocoTables:
    """Match detections with ground truths by pycocotools; classes in the order of `class_names`."""
    ranks = picture_ranks(pictures).tolist()
    images = [{"id": rank} for rank in ranks]
    categories = [{"id": index} for index in range(len(pictures.class_names))]
    annotations = annotation_rows(
        pictures.truths, image_ids=ranks, class_ids=range(len(categories))
    )
    results = coco_rows(
        [ranks[image] for image in found.image.tolist()],
        found.classes.tolist(),
        xywh=found.xywh,
        scores=found.scores,
    )
    for number, row in enumerate(results, start=1):
        width, height = row["bbox"][2:]
        row |= {"id": number, "area": width * height, "iscrowd": 0}
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            *(_index(images, categories, rows) for rows in (annotations, results)), "bbox"
        )
        evaluation.params.maxDets = list(limits)
        evaluation.evaluate()
        evaluation.accumulate()
    return CocoTables(*(evaluation.eval[name] for name in CocoTables._fields))


def _index(images: list[Any], categories: list[Any], annotations: list[Any]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco
