"""Which detection finds which true box at one IoU, by COCO's rules.

Shape letters: D detections, T true boxes; d and t those of one class in one image.
"""

from dataclasses import dataclass

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.pairs import ImagePairs, match_in_order
from keras_retinanet.evaluation.tables import EvaluationSet, Found

MATCH_IOU = 0.5


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of each detection."""

    truths: np.ndarray  # (D,) int32, row of the true box that it finds; -1: none
    counts: np.ndarray  # (D,) bool: False in a region to ignore of its class
    boxes: np.ndarray  # (K,) int64, how many boxes of each class there are to find

    @property
    def is_right(self) -> np.ndarray:
        """(D,) bool: finds a box."""
        return self.truths >= 0


def match_detections(pictures: EvaluationSet, found: Found, *, iou: float = MATCH_IOU) -> Matches:
    """Match detections with true boxes as COCO's evaluator does for the area "all".

    Best score first, each takes the free box of its class that it overlaps most, if the IoU is
    `iou` or more. One that finds none but lies in a region to ignore does not count. All
    detections are matched: COCO's limit of 100 per image would hide what is found in a crowd.

    Raises:
        UserError: `iou` is not above 0 and at most 1.
    """
    if not 0 < iou <= 1:
        raise UserError(f"Expected an IoU above 0, at most 1. Received: iou={iou}. COCO's is 0.5.")
    truths, pairs = pictures.truths, ImagePairs(pictures, found)
    taken = np.full(len(found.scores), -1, np.int32)
    counts = np.ones(len(found.scores), bool)
    for rows, there in pairs.parts():
        if not rows.size or not there.size:
            continue
        is_crowd = truths.ignore[there]
        boxes, crowds = there[~is_crowd], there[is_crowd]
        ious = np.where(pairs.same_class(rows, boxes), pairs.ious(rows, boxes), 0.0)
        columns = match_in_order(ious, iou, last_of_equals=True)
        taken[rows] = np.append(boxes, -1)[columns]
        counts[rows] = (columns >= 0) | (pairs.best_coverage(rows, crowds) < iou)
    return Matches(taken, counts, pictures.box_counts)
