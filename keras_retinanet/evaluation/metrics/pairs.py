"""Detections beside the true boxes of their image: the rows, overlaps and greedy matching.

Shape letters: D detections, T true boxes; d and t those of one image.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from keras_retinanet.evaluation.metrics.neighborhoods import MANY_PAIRS, neighborhoods
from keras_retinanet.evaluation.tables import EvaluationSet, Found
from keras_retinanet.modeling.numpy_boxes import coverages, overlaps


def rows_of_each(
    index: np.ndarray, count: int, scores: np.ndarray | None = None
) -> list[np.ndarray]:
    """Return the row numbers of each of `count` images or classes, in the order given.

    Args:
        index: (N,) int, each row's image or class.
        scores: (N,) float: then rows are best first, the earlier first among equals.
    """
    # Stable sorts from the last key to the first; 16 bits are sorted by digits, much faster.
    order = np.arange(len(index)) if scores is None else np.argsort(-scores, kind="stable")
    keys = index.astype(np.uint16) if count < 1 << 16 else index
    order = order[np.argsort(keys[order], kind="stable")]
    starts = np.searchsorted(index[order], np.arange(count + 1))
    return [order[begin:end] for begin, end in pairwise(starts)]


class ImagePairs:
    """Gives the rows of each image, (d,) of detections, best first, and (t,) of true boxes.

    Args:
        border: (4,) is added to all boxes xywh.
    """

    def __init__(self, pictures: EvaluationSet, found: Found, *, border: np.ndarray | float = 0.0):
        self._found, self._truths = found, pictures.truths
        self._count = len(pictures.image_ids)
        self._found_xywh, self._truth_xywh = found.xywh + border, pictures.truths.xywh + border

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield from zip(
            rows_of_each(self._found.image, self._count, self._found.scores),
            rows_of_each(self._truths.image, self._count),
            strict=True,
        )

    def parts(self, *, limit: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the rows of each image, those of one with thousands of boxes in parts.

        No box of a part overlaps a box of another.

        Args:
            limit: an image's best detections; the others are left out. None: all.
        """
        for rows, there in self:
            rows = rows[:limit]
            if rows.size * there.size <= MANY_PAIRS:
                yield rows, there
                continue
            for part in neighborhoods(self._found_xywh[rows], self._truth_xywh[there]):
                yield rows[part[0]], there[part[1]]

    def same_class(self, rows: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Return (d, t) bool: whether detections `rows` and true boxes `there` share a class."""
        return self._found.classes[rows][:, None] == self._truths.classes[there][None, :]

    def ious(self, rows: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Return the IoU (d, t) of detections `rows` with true boxes `there`."""
        return overlaps(self._found_xywh[rows], self._truth_xywh[there])

    def coverages(self, rows: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Return the share (d, t) of each of detections `rows` that lies in boxes `there`."""
        return coverages(self._found_xywh[rows], self._truth_xywh[there])

    def best_coverage(self, rows: np.ndarray, regions: np.ndarray) -> np.ndarray:
        """Return the largest share (d,) of each detection in a region of its class; 0: none."""
        shares = np.where(self.same_class(rows, regions), self.coverages(rows, regions), 0.0)
        return shares.max(axis=1, initial=0.0)

    def nearest(
        self,
        rows: np.ndarray,
        there: np.ndarray,
        measure: Callable[..., np.ndarray],
        *,
        least: float,
    ) -> np.ndarray:
        """Return the true box (d,) of its class with the largest `measure`, or -1.

        Args:
            measure: `ious` or `coverages`.
            least: a smaller `measure` is none.
        """
        if not there.size:
            return np.full(len(rows), -1)
        table = np.where(self.same_class(rows, there), measure(rows, there), -1.0)
        return np.where(table.max(axis=1) >= least, there[table.argmax(axis=1)], -1)


def match_in_order(ious: np.ndarray, threshold: float, *, last_of_equals: bool) -> np.ndarray:
    """Let each detection take the free true box that it overlaps most, the first row first.

    Args:
        ious: (d, t) float, detections best first; 0 where the classes forbid a match.
        threshold: the least IoU of a match, above 0.
        last_of_equals: of equal IoUs take the last, as COCO's evaluator does; else the first, as
            tidecv does.

    Returns:
        (d,) int: the column that each row takes; -1: none.
    """
    taken = np.full(len(ious), -1)
    if not ious.size:
        return taken
    free = ious[:, ::-1].copy() if last_of_equals else ious.copy()
    for row in np.flatnonzero(ious.max(axis=1) >= threshold):
        best = free[row].argmax()
        if free[row, best] >= threshold:
            taken[row] = best
            free[:, best] = 0.0
    return np.where(taken >= 0, ious.shape[1] - 1 - taken, -1) if last_of_equals else taken
