"""Box arithmetic on NumPy arrays: conversions and overlaps, each written once.

Shape letters: N boxes, M others. xyxy is (x1, y1, x2, y2), xywh is (x1, y1, width, height). The
two are not interchangeable to the last bit: (x + w) - x is not always w.
"""

import numpy as np


def xyxy_to_xywh(boxes: np.ndarray) -> np.ndarray:
    """Return boxes (N, 4) xyxy as xywh, in the precision given."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def xywh_to_xyxy(boxes: np.ndarray) -> np.ndarray:
    """Return boxes (N, 4) xywh as xyxy, in the precision given."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union (N, M) of boxes (N, 4) and others (M, 4), both xywh.

    Equal in every bit to `pycocotools.mask.iou` without crowds.
    """
    common = _intersections(*_corners(boxes), *_corners(others))
    return _iou(common, _areas(boxes), _areas(others))


def overlapping(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return (N, M) bool, whether boxes (N, 4) and others (M, 4), both xywh, have a common area."""
    (starts, ends), (other_starts, other_ends) = _corners(boxes), _corners(others)
    along_x, along_y = (
        np.minimum(ends[:, None, axis], other_ends[None, :, axis])
        > np.maximum(starts[:, None, axis], other_starts[None, :, axis])
        for axis in (0, 1)
    )
    return along_x & along_y


def coverages(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the share (N, M) of each of boxes (N, 4) that lies in others (M, 4), both xywh.

    Equal in every bit to `pycocotools.mask.iou` with crowds.
    """
    common = _intersections(*_corners(boxes), *_corners(others))
    return _shares(common, np.broadcast_to(_areas(boxes)[:, None], common.shape))


def corner_overlaps(boxes: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the IoU (N, M), and the share (N, M) of each of `others` that lies in `boxes`.

    Args:
        boxes: (N, 4) float64 xyxy.
        others: (M, 4) float64 xyxy. The overlap with a box without area is 0.
    """
    common = _intersections(boxes[:, :2], boxes[:, 2:], others[:, :2], others[:, 2:])
    areas, other_areas = (np.maximum(b[:, 2:] - b[:, :2], 0).prod(axis=1) for b in (boxes, others))
    shares = _shares(common, np.broadcast_to(other_areas, common.shape))
    return _iou(common, areas, other_areas), shares


def _corners(xywh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return xywh[:, :2], xywh[:, 2:] + xywh[:, :2]


def _areas(xywh: np.ndarray) -> np.ndarray:
    return xywh[:, 2] * xywh[:, 3]


def _intersections(
    starts: np.ndarray, ends: np.ndarray, other_starts: np.ndarray, other_ends: np.ndarray
) -> np.ndarray:
    width, height = (
        np.minimum(ends[:, None, axis], other_ends[None, :, axis])
        - np.maximum(starts[:, None, axis], other_starts[None, :, axis])
        for axis in (0, 1)
    )
    return np.where((width > 0) & (height > 0), width * height, 0.0)


def _iou(common: np.ndarray, areas: np.ndarray, other_areas: np.ndarray) -> np.ndarray:
    return _shares(common, areas[:, None] + other_areas[None, :] - common)


def _shares(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    return np.divide(parts, wholes, out=np.zeros_like(parts), where=parts > 0)
