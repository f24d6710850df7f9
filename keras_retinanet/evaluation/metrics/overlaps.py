"""How far boxes overlap, as COCO's evaluator computes it, and the rows of each picture or class.

Shape letters: D detections, T true boxes, P pictures. Boxes are xywh, float64 pixels: the form in
which pycocotools reads them, so that an IoU at a threshold falls on the same side of it.
"""

from itertools import pairwise

import numpy as np


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the intersection over union, (D, T) float64, of boxes (D, 4) and others (T, 4).

    Equal in every bit to `pycocotools.mask.iou` without crowds.
    """
    common = _intersections(boxes, others)
    union = _areas(boxes)[:, None] + _areas(others)[None, :] - common
    return _shares(common, union)


def coverages(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the share, (D, T) float64, of each of boxes (D, 4) that lies in others (T, 4).

    Equal in every bit to `pycocotools.mask.iou` with crowds.
    """
    common = _intersections(boxes, others)
    return _shares(common, np.broadcast_to(_areas(boxes)[:, None], common.shape))


def _areas(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, 2] * boxes[:, 3]


def _intersections(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    ends, other_ends = boxes[:, 2:] + boxes[:, :2], others[:, 2:] + others[:, :2]
    width, height = (
        np.minimum(ends[:, None, axis], other_ends[None, :, axis])
        - np.maximum(boxes[:, None, axis], others[None, :, axis])
        for axis in (0, 1)
    )
    return np.where((width > 0) & (height > 0), width * height, 0.0)


def _shares(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    return np.divide(parts, wholes, out=np.zeros_like(parts), where=parts > 0)


def rows_of_each(
    index: np.ndarray, count: int, scores: np.ndarray | None = None
) -> list[np.ndarray]:
    """Returns the row numbers of each picture or class.

    Args:
        index: (N,) int, each row's picture or class, below `count`.
        scores: (N,) float: then rows are best first, the earlier first among equals. Without,
            they are in the order given.
    """
    # Stable sorts from the last key to the first; 16 bits are sorted by digits, much faster.
    order = np.arange(len(index)) if scores is None else np.argsort(-scores, kind="stable")
    keys = index.astype(np.uint16) if count < 1 << 16 else index
    order = order[np.argsort(keys[order], kind="stable")]
    starts = np.searchsorted(index[order], np.arange(count + 1))
    return [order[begin:end] for begin, end in pairwise(starts)]
