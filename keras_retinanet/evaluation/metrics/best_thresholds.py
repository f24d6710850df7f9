"""Precision, recall and F1 of each class at the score threshold where F1 is best.

Shape letters: D detections, K classes, N detections of one class that count.
"""

from typing import Any

import numpy as np

from keras_retinanet.evaluation.metrics.matching import Matches
from keras_retinanet.evaluation.metrics.pairs import rows_of_each
from keras_retinanet.evaluation.tables import EvaluationSet, Found

# The row of all classes under one threshold, where no class has this name.
ALL_CLASSES = "all classes"


def best_thresholds(
    pictures: EvaluationSet, found: Found, matches: Matches
) -> list[dict[str, Any]]:
    """Find the score from which on detections are best kept, for each class and for all together.

    Args:
        matches: of `found` with `pictures`.

    Returns:
        Of each class, and last of all classes under one threshold (`ALL_CLASSES`): "class",
        "threshold" (keep scores of this or more), "precision", "recall", "F1" (0..1), and the
        counts "right", "wrong" and "missed" there. Without a box to find, or without a right
        detection, the four figures are -1 and all boxes are missed.
    """
    by_class = rows_of_each(found.classes, len(pictures.class_names), found.scores)
    groups = [
        (name, rows[matches.counts[rows]], int(matches.boxes[index]))
        for index, (name, rows) in enumerate(zip(pictures.class_names, by_class, strict=True))
    ]
    by_name = [
        {"class": name, **_best(found.scores[rows], matches.is_right[rows], boxes)}
        for name, rows, boxes in groups
    ]
    return [*by_name, best_of_all(found, matches)]


def best_of_all(found: Found, matches: Matches) -> dict[str, Any]:
    """Find the one threshold for all classes; the last row of `best_thresholds`.

    Text, files, report, TensorBoard and the model file have their threshold from here.
    """
    rows = np.flatnonzero(matches.counts)
    rows = rows[np.argsort(-found.scores[rows], kind="stable")]
    boxes = int(matches.boxes.sum())
    return {"class": ALL_CLASSES, **_best(found.scores[rows], matches.is_right[rows], boxes)}


def _best(scores: np.ndarray, is_right: np.ndarray, boxes: int) -> dict[str, float]:
    """Return the figures at the best F1 of detections (N,), best score first.

    Of thresholds with the same F1 the highest is taken.
    """
    if not is_right.any():
        undefined = dict.fromkeys(("threshold", "precision", "recall", "F1"), -1.0)
        return {**undefined, "right": 0, "wrong": 0, "missed": boxes}
    right = np.cumsum(is_right)
    # Equal scores cannot be told apart by a threshold: only the last of them is a place to cut.
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    f1 = 2 * right[ends] / (ends + 1 + boxes)
    best = int(np.argmax(f1))
    kept, hits = int(ends[best]) + 1, int(right[ends[best]])
    return {
        "threshold": float(scores[kept - 1]),
        "precision": hits / kept,
        "recall": hits / boxes,
        "F1": float(f1[best]),
        "right": hits,
        "wrong": kept - hits,
        "missed": boxes - hits,
    }
