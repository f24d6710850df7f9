"""Detections of several passes over one image -> one list.

NumPy alone. Boxes are xyxy in pixels of that image. Shape letters: N, M boxes.
"""

import numpy as np

from keras_retinanet.modeling.numpy_boxes import corner_overlaps


def overlaps(box: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (IoU, share of each other box that lies in `box`), both (M,) float64.

    Args:
        box: (4,) float64.
        others: (M, 4) float64; one without area has 0 of both.
    """
    iou, covered = corner_overlaps(box[None], others)
    return iou[0], covered[0]


def fuse(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, *, iou: float, passes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average boxes of one object, weighted by their scores (weighted boxes fusion).

    Best first, each box joins the cluster of its class whose average it overlaps most, by more
    than `iou`, or starts one. A cluster's score is the mean of its boxes', times the share of the
    passes that detected it.

    Args:
        boxes: (N, 4) float.
        scores: (N,) float.
        classes: (N,) int.
        iou: how much a box and an average must overlap, more than this, to be of one object.
        passes: how many gave the boxes.

    Returns:
        Boxes (M, 4) float64, scores (M,) float64 and classes (M,), best first.

    Source: Solovyev, Wang, Gabruseva 2021, "Weighted boxes fusion", section 3.
    """
    boxes, scores = np.asarray(boxes, np.float64), np.asarray(scores, np.float64)
    parts = []
    for class_id in np.unique(classes):
        rows = np.flatnonzero(classes == class_id)
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        means = np.zeros((len(rows), 4))
        weights, counts = np.zeros(len(rows)), np.zeros(len(rows))
        found = 0
        for row in rows:
            shared, _ = overlaps(boxes[row], means[:found])
            place = int(np.argmax(shared)) if found else 0
            if not found or shared[place] <= iou:
                place, found = found, found + 1
            total = weights[place] + scores[row]
            means[place] += (boxes[row] - means[place]) * (scores[row] / total)
            weights[place], counts[place] = total, counts[place] + 1
        fused = weights[:found] / counts[:found] * np.minimum(counts[:found], passes) / passes
        parts.append((means[:found], fused, np.full(found, class_id, classes.dtype)))
    if not parts:
        return boxes.reshape(0, 4), scores, classes
    joined, fused, names = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(-fused, kind="stable")
    return joined[order], fused[order], names[order]
