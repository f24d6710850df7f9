"""Average precision per class of detections that are already judged right or wrong.

Shape letters: D detections, K classes.
"""

import numpy as np

from keras_retinanet.evaluation.metrics.pairs import rows_of_each

# COCO reads the precision at 101 recalls. They are those of pycocotools, to the last bit.
COCO_RECALLS = np.linspace(0.0, 1.0, 101)
# tidecv's own differ from them in the last bit of some.
TIDE_RECALLS = np.arange(101) / 100


def mean(values: np.ndarray) -> float:
    """The mean of what is defined (above -1) among a table's values; -1 where nothing is."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0


def class_average_precision(
    classes: np.ndarray, correct: np.ndarray, positives: np.ndarray, *, recalls: np.ndarray
) -> np.ndarray:
    """Return the mean, over `recalls`, of the precision at that recall or more.

    Args:
        classes: (D,) int, of the detections that count, best score first.
        correct: (D,) bool.
        positives: (K,) int, how many true boxes there are to find.
        recalls: 0..1, rising.

    Returns:
        (K,) float64, 0..1: 0 with detections and nothing to find, NaN with neither.
    """
    figures = np.full(len(positives), np.nan)
    for index, rows in enumerate(rows_of_each(classes, len(positives))):
        if positives[index] > 0:
            figures[index] = _average_precision(correct[rows], int(positives[index]), recalls)
        elif rows.size:
            figures[index] = 0.0
    return figures


def _average_precision(correct: np.ndarray, positives: int, recalls: np.ndarray) -> float:
    right = np.cumsum(correct)
    precision = right / np.arange(1, len(right) + 1)
    # The highest precision at this recall or more; 0 past the last recall reached.
    precision = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(precision[np.searchsorted(right / positives, recalls)].mean())
