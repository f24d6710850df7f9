"""Average precision of Pascal VOC: 11 points (2007), area (2010), and difficult boxes.

Shape letters: D detections, T true boxes, K classes, N detections of one class that count.
Source: Everingham et al. 2010, "The PASCAL Visual Object Classes (VOC) Challenge", section 4.2, and
the development kit's VOCevaldet.m, which decides what the text leaves open.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.average_precision import mean
from keras_retinanet.evaluation.metrics.pairs import ImagePairs, rows_of_each
from keras_retinanet.evaluation.tables import EvaluationSet, Found, class_rows

# The challenge's IoU.
VOC_IOU = 0.5
# 0, .1, .. 1 as NumPy and every Python port of the kit have them: .30000000000000004 and its like
# are not reached by a recall of exactly .3.
ELEVEN_POINTS = np.arange(0.0, 1.1, 0.1)
# VOC's corners are the first and last pixel inside, so that a side is x2 - x1 + 1.
LAST_PIXEL = np.array([0.0, 0.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class VocFigures:
    """Average precisions of each class at one IoU, -1 for a class without a box to find."""

    iou: float
    class_names: list[str]
    ap_11: np.ndarray  # (K,) float64, VOC 2007's: the mean of the best precision at 11 recalls
    ap_area: np.ndarray  # (K,) float64, VOC 2010's: the area below the precision made monotone
    boxes: np.ndarray  # (K,) int64
    difficult: np.ndarray  # (K,) int64, not among `boxes`
    detections: np.ndarray  # (K,) int64

    @property
    def means(self) -> dict[str, float]:
        """`VOC07_AP` and `VOC_AP`: the means over the classes that have a box to find, or -1."""
        return {"VOC07_AP": mean(self.ap_11), "VOC_AP": mean(self.ap_area)}

    def rows(self) -> list[dict[str, Any]]:
        """Return for each class its name, counts and both average precisions."""
        counts = {"boxes": self.boxes, "difficult": self.difficult, "detections": self.detections}
        return class_rows(self.class_names, **counts, VOC07_AP=self.ap_11, VOC_AP=self.ap_area)


def voc_evaluation(
    pictures: EvaluationSet, found: Found, *, iou: float = VOC_IOU, inclusive: bool = True
) -> VocFigures:
    """Score detections by VOC's rules.

    Each detection looks at the box of its class that it overlaps most. If that IoU is `iou` or
    more, the best-scored detection finds the box and any other counts as wrong; on a difficult box
    they count neither way. Else the detection is wrong.

    Args:
        pictures: the ground truth; `ignore` are the difficult boxes.
        inclusive: corners name the first and last pixel inside, as in VOC's files and kit; False:
            they are edges, as in COCO's.

    Raises:
        UserError: `iou` is not above 0 and at most 1.
    """
    if not 0 < iou <= 1:
        raise UserError(f"Expected an IoU above 0, at most 1. Received: iou={iou}. VOC's is 0.5.")
    truths, count = pictures.truths, len(pictures.class_names)
    claimed = np.full(len(found.scores), -1)
    pairs = ImagePairs(pictures, found, border=LAST_PIXEL * inclusive)
    for rows, there in pairs.parts():
        claimed[rows] = pairs.nearest(rows, there, pairs.ious, least=iou)
    counts = ~np.append(truths.ignore, False)[claimed]  # the last for what claims none
    is_true = first_claims(claimed, found.scores)
    boxes = pictures.box_counts
    curves = [
        precision_recall(is_true[rows], boxes[index])
        for index, rows in enumerate(rows_of_each(found.classes, count, found.scores))
        for rows in [rows[counts[rows]]]
    ]
    return VocFigures(
        iou=iou,
        class_names=pictures.class_names,
        ap_11=np.where(boxes > 0, [eleven_point_ap(*curve) for curve in curves], -1.0),
        ap_area=np.where(boxes > 0, [area_ap(*curve) for curve in curves], -1.0),
        boxes=boxes,
        difficult=np.bincount(truths.classes[truths.ignore], minlength=count),
        detections=np.bincount(found.classes, minlength=count),
    )


def first_claims(claimed: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return which detections are the best-scored that claim their true box.

    Args:
        claimed: (D,) int, row of the true box, or -1: none.
        scores: (D,) float; among equals the earlier row is first.

    Returns:
        (D,) bool.
    """
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(claimed[order], return_index=True)
    is_first = np.zeros(len(scores), bool)
    is_first[order[first]] = True
    return is_first & (claimed >= 0)


def precision_recall(is_true: np.ndarray, boxes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and recall (N,) after each detection, best first."""
    right = np.cumsum(is_true, dtype=np.float64)
    return right / np.arange(1, len(right) + 1), right / max(boxes, 1)


def eleven_point_ap(precision: np.ndarray, recall: np.ndarray) -> float:
    """Return VOC 2007's average precision of a curve (N,)."""
    best = [precision[recall >= point].max(initial=0.0) for point in ELEVEN_POINTS]
    return float(np.mean(best))


def area_ap(precision: np.ndarray, recall: np.ndarray) -> float:
    """Return VOC 2010's average precision of a curve (N,)."""
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * best_from_here))
