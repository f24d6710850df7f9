"""An image of thousands of boxes in parts: no box of one part overlaps a box of another.

Whatever matches detections with true boxes does so among boxes that overlap, so that parts give
what the whole gives, without a table of all pairs.

Shape letters: d detections and t true boxes of one image, E pairs that overlap.
"""

from collections.abc import Iterator

import numpy as np

from keras_retinanet.modeling.numpy_boxes import overlapping

# The largest table of pairs, of which some are in memory at a time: 32 MB each in float64.
MANY_PAIRS = 1 << 22


def neighborhoods(
    found_xywh: np.ndarray, truth_xywh: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the parts of an image as ascending indices of detections and of true boxes.

    A part has up to `MANY_PAIRS` pairs; a single clump of boxes may have more.

    Args:
        found_xywh: (d, 4).
        truth_xywh: (t, 4).
    """
    pairs = _overlapping_pairs(found_xywh, truth_xywh)
    clumps, truth_clumps = _clumps(*pairs, len(found_xywh), len(truth_xywh))
    sizes, truth_sizes = (
        np.bincount(part, minlength=clumps.max(initial=0) + 1) for part in (clumps, truth_clumps)
    )
    bins = np.zeros(len(sizes), np.int64)
    number, held, truths_held = 0, 0, 0
    for clump, (size, truth_size) in enumerate(zip(sizes, truth_sizes, strict=True)):
        if held and (held + size) * (truths_held + truth_size) > MANY_PAIRS:
            number, held, truths_held = number + 1, 0, 0
        bins[clump], held, truths_held = number, held + size, truths_held + truth_size
    for index in range(number + 1):
        yield np.flatnonzero(bins[clumps] == index), np.flatnonzero(bins[truth_clumps] == index)


def _overlapping_pairs(found: np.ndarray, truths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the detection and the true box (E,) of each pair that overlaps."""
    step = max(1, MANY_PAIRS // max(1, len(truths)))
    starts = range(0, len(found), step)
    parts = [np.nonzero(overlapping(found[start : start + step], truths)) for start in starts]
    rows = [part[0] + start for start, part in zip(starts, parts, strict=True)]
    return np.concatenate(rows), np.concatenate([part[1] for part in parts])


def _clumps(
    rows: np.ndarray, columns: np.ndarray, count: int, truths: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the clump of each detection (d,) and true box (t,), numbered by its first detection.

    A true box without a detection is of clump 0: it matches nothing there either.
    """
    clumps, before = np.arange(count), None
    truth_clumps = np.full(truths, count)
    while before is None or not np.array_equal(clumps, before):
        before = clumps.copy()
        np.minimum.at(truth_clumps, columns, clumps[rows])
        np.minimum.at(clumps, rows, truth_clumps[columns])
        clumps = clumps[clumps]  # halves what is left of a long chain
    return clumps, np.where(truth_clumps < count, truth_clumps, 0)
