"""COCO's matching by pycocotools, the reference.

T 10 IoUs, R 101 recalls, K classes, A 4 areas (all, small, medium, large), M 3 limits (1, 10, 100
detections an image).
"""

import contextlib
import io
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_retinanet.evaluation.tables import EvaluationSet, Found


class CocoTables(NamedTuple):
    """What the matching gives, -1 where there is nothing to find.

    Attributes:
        precision: (T, R, K, A, M) float64.
        recall: (T, K, A, M) float64.
        scores: (T, R, K, A, M) float64, the score at which each recall is reached.
    """

    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray


def picture_ranks(pictures: EvaluationSet) -> np.ndarray:
    """Return (P,) int64, each image's place by its id, the order in which COCO breaks ties."""
    return np.unique(np.array(pictures.image_ids), return_inverse=True)[1].astype(np.int64)


def reference_tables(pictures: EvaluationSet, found: Found) -> CocoTables:
    """Match detections with ground truths by pycocotools; classes in the order of `class_names`."""
    ranks, truths = picture_ranks(pictures), pictures.truths
    images = [{"id": rank} for rank in ranks.tolist()]
    categories = [{"id": index} for index in range(len(pictures.class_names))]
    # Numbered from 1: pycocotools takes a match with annotation 0 for no match.
    true_rows = zip(
        ranks[truths.image].tolist(),
        truths.classes.tolist(),
        truths.xywh.tolist(),
        truths.areas.tolist(),
        truths.ignore.tolist(),
        strict=True,
    )
    annotations = [
        {"id": number, "image_id": image, "category_id": index, "bbox": bbox}
        | {"area": area, "iscrowd": int(ignore)}
        for number, (image, index, bbox, area, ignore) in enumerate(true_rows, start=1)
    ]
    found_rows = zip(
        ranks[found.image].tolist(),
        found.classes.tolist(),
        found.xywh.tolist(),
        found.scores.tolist(),
        strict=True,
    )
    results = [
        {"id": number, "image_id": image, "category_id": index, "bbox": bbox}
        | {"area": bbox[2] * bbox[3], "iscrowd": 0, "score": score}
        for number, (image, index, bbox, score) in enumerate(found_rows, start=1)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            *(_index(images, categories, rows) for rows in (annotations, results)), "bbox"
        )
        evaluation.evaluate()
        evaluation.accumulate()
    return CocoTables(*(evaluation.eval[name] for name in CocoTables._fields))


def _index(images: list[Any], categories: list[Any], annotations: list[Any]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco
