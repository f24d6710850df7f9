"""Which class is taken for which: the confusion matrix of a detector, with background.

Shape letters: P images, D detections, T true boxes, K classes; K as an index is the background.
"""

from dataclasses import dataclass

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.errors.kinds import FOREGROUND
from keras_retinanet.evaluation.metrics.pairs import ImagePairs, match_in_order
from keras_retinanet.evaluation.tables import EvaluationSet, Found


@dataclass(frozen=True)
class Confusion:
    """Number of boxes of one class that were taken for another, and their share of it."""

    truth: str
    taken_for: str
    count: int
    share: float


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Pairs of true boxes and detections, counted by their classes.

    Attributes:
        counts: (K + 1, K + 1) int64. Row: the true class, last the background (false alarms).
            Column: the class detected, last the background (not found). The diagonal is what was
            found as what it is. A row of a class sums to its true boxes, a column to its
            detections. Boxes to ignore and detections in them are skipped.
        class_names: (K,).
        truths: (D,) int32, row of the true box that each detection stands for, whatever its class;
            -1: a false alarm; NOT_COUNTED: below the threshold or to ignore.
    """

    counts: np.ndarray
    class_names: list[str]
    truths: np.ndarray

    def shares(self) -> np.ndarray:
        """Return the matrix with each row divided by its sum; an empty row stays 0."""
        sums = self.counts.sum(axis=1, keepdims=True)
        return self.counts / np.maximum(sums, 1)

    def between(self) -> np.ndarray:
        """Return how often each of the K classes was taken for each other one (K, K)."""
        between = self.counts[:-1, :-1].copy()
        np.fill_diagonal(between, 0)
        return between

    def most_confused(self, limit: int = 10) -> list[Confusion]:
        """Return the pairs of classes that were confused most often, without background."""
        between, shares = self.between(), self.shares()
        order = np.argsort(-between, axis=None, kind="stable")[:limit]
        return [
            Confusion(
                self.class_names[row],
                self.class_names[column],
                int(between[row, column]),
                float(shares[row, column]),
            )
            for row, column in zip(*np.unravel_index(order, between.shape), strict=True)
            if between[row, column]
        ]


NOT_COUNTED = -2


def confusion_matrix(
    pictures: EvaluationSet,
    found: Found,
    *,
    score_threshold: float | np.ndarray,
    foreground: float = FOREGROUND,
) -> ConfusionMatrix:
    """Pair detections with true boxes, one to one, and count the pairs by class.

    First each detection, best score first, takes a free box of its own class, as for the AP. What
    is left over is paired across classes, the highest IoU first. So a wrong class never takes a
    box from the right one.

    Args:
        score_threshold: detections below it are skipped; one number, or (K,) one a class.
        foreground: the least IoU of a pair.

    Raises:
        UserError: the thresholds are not one, or one a class; `foreground` is not in 0..1.
    """
    size = len(pictures.class_names)
    thresholds = np.asarray(score_threshold, np.float64)
    if thresholds.shape not in [(), (size,)] or not 0 < foreground <= 1:
        raise UserError(
            f"Expected one score threshold or {size}, and 0 < foreground <= 1. Received: "
            f"{thresholds.shape} thresholds, foreground={foreground}. Give one a class."
        )
    truths, pairs = pictures.truths, ImagePairs(pictures, found)
    kept = found.scores >= np.broadcast_to(thresholds, (size,))[found.classes]
    partners = np.where(kept, -1, NOT_COUNTED).astype(np.int32)
    for ranked, there in pairs.parts():
        rows, crowds = ranked[kept[ranked]], there[truths.ignore[there]]
        there = there[~truths.ignore[there]]
        taken = _partners(pairs.ious(rows, there), pairs.same_class(rows, there), foreground)
        partners[rows[taken >= 0]] = there[taken[taken >= 0]]
        inside = pairs.best_coverage(rows, crowds) > foreground
        partners[rows[(taken < 0) & inside]] = NOT_COUNTED
    return ConfusionMatrix(_counts(pictures, found, partners), pictures.class_names, partners)


def _partners(ious: np.ndarray, same: np.ndarray, foreground: float) -> np.ndarray:
    """Return the column (d,) that each row of ious (d, t) takes; -1: none."""
    taken = match_in_order(np.where(same, ious, 0.0), foreground, last_of_equals=False)
    rows, columns = np.nonzero(~same & (ious >= foreground))
    left = set(range(ious.shape[1])) - set(taken.tolist())
    for place in np.argsort(-ious[rows, columns], kind="stable"):
        row, column = rows[place], columns[place]
        if taken[row] < 0 and column in left:
            taken[row] = column
            left.remove(column)
    return taken


def _counts(pictures: EvaluationSet, found: Found, partners: np.ndarray) -> np.ndarray:
    truths, background = pictures.truths, len(pictures.class_names)
    counts = np.zeros((background + 1, background + 1), np.int64)
    paired = partners >= 0
    np.add.at(counts, (truths.classes[partners[paired]], found.classes[paired]), 1)
    # What is not paired is a false alarm, or not found.
    counts[-1, :-1] = np.bincount(found.classes[partners == -1], minlength=background)
    counts[:-1, -1] = pictures.box_counts - counts[:-1].sum(axis=1)
    return counts
