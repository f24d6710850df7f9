"""Average precision by the rules of the Open Images Challenge: groups, and classes not looked for.

Shape letters: P images, D detections, T true boxes, K classes. Sources: the challenge's page
"Object detection evaluation" (https://storage.googleapis.com/openimages/web/evaluation.html) and,
in what it leaves open, the challenge's evaluator in the TensorFlow Object Detection API.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.average_precision import mean
from keras_retinanet.evaluation.metrics.pairs import ImagePairs, rows_of_each
from keras_retinanet.evaluation.metrics.voc_metric import area_ap, first_claims, precision_recall
from keras_retinanet.evaluation.tables import EvaluationSet, Found, class_rows

# The share of two boxes, and of a detection inside a group, from which on they match.
OPEN_IMAGES_IOU = 0.5


@dataclass(frozen=True, eq=False)
class OpenImagesFigures:
    """Average precisions of each class at IoU .5, -1 for a class without a box to find."""

    class_names: list[str]
    ap: np.ndarray  # (K,) float64, the area below the precision made monotone (VOC 2010's)
    boxes: np.ndarray  # (K,) int64
    groups: np.ndarray  # (K,) int64, not among `boxes`; each is one more thing to find
    detections: np.ndarray  # (K,) int64, without those of classes not looked for

    @property
    def mean(self) -> float:
        """The mean over the classes that have a box or a group to find; -1 without any."""
        return mean(self.ap)

    def rows(self) -> list[dict[str, Any]]:
        """Return for each class its name, counts and average precision."""
        counts = {"boxes": self.boxes, "groups": self.groups, "detections": self.detections}
        return class_rows(self.class_names, **counts, OpenImages_AP=self.ap)


def open_images_evaluation(
    pictures: EvaluationSet, found: Found, *, verified: np.ndarray | None = None
) -> OpenImagesFigures:
    """Score detections by the challenge's rules.

    Single boxes are matched as VOC's. Of the detections left over, those that lie by half or more
    in a group's box count as one right detection of the group together, with the best of their
    scores; a group without any is missed. Others are wrong.

    With the hierarchy (see the reader `openimages`) each box also counts for the classes above its
    own. Detections are not expanded: one counts for the class that it names.

    Args:
        pictures: the ground truth; `ignore` are the boxes around a group (`IsGroupOf`), of which
            the reader makes boxes to ignore.
        verified: (P, K) bool, classes that a person looked for in an image, found or not.
            Detections of others there are skipped; classes with a box there are always looked
            for. None: all were looked for everywhere.

    Raises:
        UserError: `verified` has another shape.
    """
    truths, count = pictures.truths, len(pictures.class_names)
    if verified is not None:
        found = _of_verified(pictures, found, verified)
    single, group = _claims(pictures, found)
    is_true = first_claims(single, found.scores)
    in_group = ~is_true & (group >= 0)
    # One row a group that was met, with its best score.
    is_first = first_claims(np.where(in_group, group, -1), found.scores)
    counts = ~in_group | is_first
    boxes = pictures.box_counts
    groups = np.bincount(truths.classes[truths.ignore], minlength=count)
    is_right = is_true | is_first
    ap = [
        area_ap(*precision_recall(is_right[rows[counts[rows]]], boxes[index] + groups[index]))
        for index, rows in enumerate(rows_of_each(found.classes, count, found.scores))
    ]
    return OpenImagesFigures(
        class_names=pictures.class_names,
        ap=np.where(boxes + groups > 0, ap, -1.0),
        boxes=boxes,
        groups=groups,
        detections=np.bincount(found.classes, minlength=count),
    )


def _of_verified(pictures: EvaluationSet, found: Found, verified: np.ndarray) -> Found:
    """Return the detections of classes that were looked for in their image."""
    shape = (len(pictures.image_ids), len(pictures.class_names))
    if np.shape(verified) != shape:
        raise UserError(
            f"Expected a row per image, a column per class, {shape}. Received: verified of shape "
            f"{np.shape(verified)}. Give one for these images and classes."
        )
    looked_for = np.array(verified, bool)
    looked_for[pictures.truths.image, pictures.truths.classes] = True
    return found.select(looked_for[found.image, found.classes])


def _claims(pictures: EvaluationSet, found: Found) -> tuple[np.ndarray, np.ndarray]:
    """Return for each detection the single box and the group it may find (D,), or -1.

    That is the one of its class that it overlaps, or lies in, most, if by half or more.
    """
    claims = np.full((2, len(found.scores)), -1)
    pairs, is_group = ImagePairs(pictures, found), pictures.truths.ignore
    for rows, there in pairs.parts():
        for kind, measure in enumerate((pairs.ious, pairs.coverages)):
            boxes = there[is_group[there] == bool(kind)]
            claims[kind, rows] = pairs.nearest(rows, boxes, measure, least=OPEN_IMAGES_IOU)
    return claims[0], claims[1]
