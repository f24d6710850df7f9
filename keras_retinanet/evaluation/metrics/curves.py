"""The numbers behind the report's curves: precision at each recall, counts at each threshold.

Shape letters: R recalls, K classes, S thresholds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_retinanet.evaluation.metrics.best_thresholds import best_of_all
from keras_retinanet.evaluation.metrics.coco_figures import CocoFigures
from keras_retinanet.evaluation.metrics.matching import Matches
from keras_retinanet.evaluation.tables import Found

# The thresholds of a slider with steps of .01.
THRESHOLDS = np.arange(101) / 100


@dataclass(frozen=True, eq=False)
class OperatingPoints:
    """What is right and wrong at each of `THRESHOLDS`, by COCO's matching at IoU .5."""

    boxes: np.ndarray  # (K,) int64, how many there are to find
    right: np.ndarray  # (K, S) int64, detections with a score of the threshold or more
    wrong: np.ndarray  # (K, S) int64
    # Of all thresholds, between these too, the one with the best F1: as `best_of_all`.
    best: Mapping[str, Any] = field(default_factory=dict)

    def totals(self) -> dict[str, np.ndarray]:
        """Return `precision`, `recall` and `F1` (S,) of all classes; NaN where not defined."""
        right, wrong, boxes = self.right.sum(axis=0), self.wrong.sum(axis=0), self.boxes.sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "precision": right / (right + wrong),
                "recall": right / boxes,
                "F1": 2 * right / (right + wrong + boxes),
            }

    @property
    def best_threshold(self) -> float | None:
        """The score with the best F1 of all classes; None where nothing is right."""
        threshold = self.best.get("threshold", -1.0)
        return None if threshold < 0 else threshold


def threshold_places(scores: np.ndarray) -> np.ndarray:
    """Return for each score the index of the highest of `THRESHOLDS` that keeps it; -1: none."""
    return np.searchsorted(THRESHOLDS, scores, side="right") - 1


def operating_points(found: Found, matches: Matches) -> OperatingPoints:
    """Count the detections of each class that a threshold keeps."""
    shape = (len(matches.boxes), len(THRESHOLDS))
    places = threshold_places(found.scores)
    counts: list[np.ndarray] = []
    for chosen in (matches.is_right, ~matches.is_right):
        rows = np.flatnonzero(chosen & matches.counts & (places >= 0))
        table = np.zeros(shape, np.int64)
        np.add.at(table, (found.classes[rows], places[rows]), 1)
        counts.append(table[:, ::-1].cumsum(axis=1)[:, ::-1])
    right, wrong = counts
    return OperatingPoints(matches.boxes, right, wrong, best=best_of_all(found, matches))


def mean_precision(coco: CocoFigures, ious: slice, index: int | None = None) -> np.ndarray | None:
    """Return the precision (R,) at `RECALLS`; None where there is nothing to find.

    Args:
        ious: of `IOUS`, over which the mean is taken.
        index: a class's; None: the mean over the classes that have a box to find.
    """
    classes = slice(None) if index is None else slice(index, index + 1)
    table = coco.precision[ious, :, classes, 0, -1]
    table = table[:, :, table.max(axis=(0, 1), initial=-1) > -1]
    return table.mean(axis=(0, 2)) if table.size else None


def curve_numbers(coco: CocoFigures) -> dict[str, list[float] | None]:
    """Return the mean precision at `RECALLS` as JSON has it: at IoU .5, .75 and over all."""
    spans = {"0.50": slice(0, 1), "0.75": slice(5, 6), "0.50:0.95": slice(None)}
    curves = {name: mean_precision(coco, span) for name, span in spans.items()}
    return {
        name: None if curve is None else curve.round(5).tolist() for name, curve in curves.items()
    }
