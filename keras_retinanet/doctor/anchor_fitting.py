"""How well anchors reach the boxes of a dataset, and anchors that reach them better.

Shape letters: N boxes, A anchors per cell, L levels.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_retinanet.config.model import LEVELS
from keras_retinanet.data.pipeline.plan import Shapes
from keras_retinanet.data.pipeline.random_windows import window_size
from keras_retinanet.data.records import Dataset
from keras_retinanet.doctor.evolution import minimize
from keras_retinanet.errors import UserError
from keras_retinanet.modeling import boxes as box_ops
from keras_retinanet.modeling.anchors import Anchors
from keras_retinanet.modeling.preprocessing import Preprocessing

# An anchor with this IoU is positive (RetinaNet paper, section 4, "Anchors"): a box without one
# teaches nothing, unless low-quality matches are on.
REACHED_IOU = 0.5
# At most this many boxes are looked at together: some 10 MB for 9 anchors per cell.
CHUNK = 1 << 16
# What the search evaluates on, drawn by the seed: the share is then sure to about a percent.
SEARCH_BOXES = 3000
# Smallest and largest size of a level in its strides, scale and ratio (the paper: 4; 1.6; 2).
SIZE_RANGE = (1.0, 8.0)
SCALE_RANGE = (1.0, 2.5)
RATIO_RANGE = (1 / 6, 6.0)
# Beside the share, the mean IoU counts, but none above this: a box that well reached needs no more,
# and the search would trade the rare boxes for it.
GOOD_IOU = 0.75
# What changes nothing (a level whose objects the dataset lacks) stays: the price of an octave.
CHANGE_PRICE = 1e-3
# Reaching a smaller share than the start does is no bargain, whatever the mean: its price.
LOSS_PRICE = 5.0


def network_boxes(
    dataset: Dataset, preprocessing: Preprocessing, *, tile: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes that training could match, without augmentation, and their inputs' sizes.

    Boxes to ignore are skipped; the others are cut at their image's border, as in training.

    Args:
        tile: side of the windows that training shows; 0: whole images. A window lies anywhere:
            here each box is in that of a grid which holds its center.

    Returns:
        ((N, 4) float32 xyxy in pixels of the network input, (N, 2) int32 (height, width) of the
        input, padding included, that each lies in).
    """
    boxes, canvases = [np.zeros((0, 4), np.float32)], [np.zeros((0, 2), np.int32)]
    shapes = Shapes(dataset, preprocessing, tile)
    for index, record in enumerate(dataset.records):
        canvas, (height, width) = shapes(index)
        high, wide = window_size(record.height, record.width, tile)
        kept = record.boxes[~record.ignore]
        cut = np.clip(kept, 0, [record.width, record.height] * 2)
        start = (cut[:, :2] + cut[:, 2:]) / 2 // [wide, high] * [wide, high]
        start = np.minimum(start, [record.width - wide, record.height - high])
        boxes.append((cut - np.tile(start, 2)) * ([width / wide, height / high] * 2))
        canvases.append(np.tile(np.array(canvas, np.int32), (len(kept), 1)))
    return np.concatenate(boxes).astype(np.float32), np.concatenate(canvases)


# --------------------------------------------------------------------------------- the real grid


def best_ious(boxes: np.ndarray, canvases: np.ndarray, anchors: Anchors) -> np.ndarray:
    """Return the highest IoU (N,) float32 of each box with an anchor of the real grid.

    All anchors of one shape overlap a box the more the nearer their centers are, on each axis by
    itself: so only the nearest cell of each level is looked at. Anchors that are clipped
    (`anchors.clip`) differ at the border; for them the whole grid is, which is slow.

    Args:
        boxes: (N, 4) xyxy in pixels of the network input.
        canvases: (N, 2) int (height, width) of the input that each lies in.
    """
    best = _best_of_grid if anchors.clip else _best_of_nearest
    parts = [slice(start, start + CHUNK) for start in range(0, len(boxes), CHUNK)]
    ious = [best(np.asarray(boxes[part]), np.asarray(canvases[part]), anchors) for part in parts]
    return np.concatenate([np.zeros(0), *ious]).astype(np.float32)


def _best_of_grid(boxes: np.ndarray, canvases: np.ndarray, anchors: Anchors) -> np.ndarray:
    best = np.zeros(len(boxes))
    for canvas in np.unique(canvases, axis=0):
        grid = anchors(*canvas.tolist())
        for index in np.flatnonzero((canvases == canvas).all(axis=1)):
            box = tf.constant(boxes[index][None], tf.float32)
            best[index] = tf.reduce_max(box_ops.iou(grid, box))
    return best


def _best_of_nearest(boxes: np.ndarray, canvases: np.ndarray, anchors: Anchors) -> np.ndarray:
    sides = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    return _reached(sides, _distances(boxes, canvases, anchors), anchors)


def _distances(boxes: np.ndarray, canvases: np.ndarray, anchors: Anchors) -> np.ndarray:
    """Return (L, N, 2): from each box's center to that of the nearest cell, along x and y."""
    centres = (boxes[:, :2].astype(np.float64) + boxes[:, 2:]) / 2
    canvases = canvases[:, ::-1]  # (width, height)
    distances = []
    for level in LEVELS:
        cells = -(-canvases // 2**level)
        strides = canvases // cells if anchors.stride == "true" else 2**level
        nearest = np.clip(np.rint(centres / strides - anchors.offset), 0, cells - 1)
        distances.append(np.abs(centres - (nearest + anchors.offset) * strides))
    return np.stack(distances)


def _reached(sides: np.ndarray, distances: np.ndarray, anchors: Anchors) -> np.ndarray:
    """Return (N,) the highest IoU of boxes of `sides` (N, 2) with the anchors `distances` away."""
    best = np.zeros(len(sides), sides.dtype)
    area = sides.prod(axis=1)[:, None]
    for size, distance in zip(anchors.sizes, distances, strict=True):
        cell = anchors.cell(size)
        shapes = (cell[:, 2:] - cell[:, :2]).astype(sides.dtype)  # (A, 2)
        common: np.ndarray | float = 1.0
        for axis in (0, 1):
            side, other = sides[:, axis, None], shapes[None, :, axis]  # (N, 1), (1, A)
            # What two intervals share: the shorter one, or the half lengths less the distance.
            shared = (side + other) / 2 - distance[:, axis, None]
            common = common * np.maximum(np.minimum(shared, np.minimum(side, other)), 0)
        union = area + shapes.prod(axis=1) - common
        best = np.maximum(best, (common / union).max(axis=1))
    return best


@dataclass(frozen=True)
class Coverage:
    """How well anchors reach N boxes: shares 0..1 with a best IoU of .4, .5 and .6 or more."""

    count: int
    at_40: float
    at_50: float
    at_60: float
    mean: float


def coverage(ious: np.ndarray) -> Coverage:
    """Return the shares and the mean of best IoUs (N,), as `best_ious` gives; zeros of none."""
    if not len(ious):
        return Coverage(0, 0.0, 0.0, 0.0, 0.0)
    at_40, at_50, at_60 = (
        float((ious >= np.float32(bound)).mean()) for bound in (0.4, REACHED_IOU, 0.6)
    )
    return Coverage(len(ious), at_40, at_50, at_60, float(ious.mean()))


# ------------------------------------------------------------------------------------ the fitting


def fit(
    boxes: np.ndarray,
    canvases: np.ndarray,
    start: Anchors,
    *,
    scales: int | None = None,
    ratios: int | None = None,
    seed: int = 0,
) -> Anchors:
    """Return anchors that reach more of the boxes, by differential evolution on the real grid.

    What counts is the share of boxes with a best IoU of .5 or more, then the mean IoU. Sizes rise
    with their levels and stay within 1 to 8 strides. The numbers are rounded. With as many scales
    and ratios as `start` has, the result is never worse: nothing better gives `start` itself.

    Args:
        boxes, canvases: (N, 4) and (N, 2), as `network_boxes` returns them.
        start: where to start from; all fields but sizes, scales and ratios are kept.
        scales, ratios: how many of each; None: as many as `start` has.
        seed: the same seed gives the same anchors.

    Raises:
        UserError: there are no boxes, or no anchors are asked for.
    """
    counts = (
        len(start.scales) if scales is None else scales,
        len(start.ratios) if ratios is None else ratios,
    )
    if not len(boxes) or min(counts) < 1:
        raise UserError(
            "Expected boxes to fit to, and at least one scale and ratio. "
            f"Received: {len(boxes)} boxes, scales={scales}, ratios={ratios}."
        )
    random = np.random.default_rng(seed)
    drawn = np.sort(random.permutation(len(boxes))[:SEARCH_BOXES])
    sides = (boxes[drawn, 2:] - boxes[drawn, :2]).astype(np.float32)
    # Where the cells lie does not depend on the anchors' shapes: worked out once.
    distances = _distances(boxes[drawn], canvases[drawn], start).astype(np.float32)
    first = _to_vector(start, *counts)
    low, high = _bounds(first, *counts)

    before = float((_reached(sides, distances, start) >= REACHED_IOU).mean())

    def cost(vector: np.ndarray) -> float:
        ious = _reached(sides, distances, _from_vector(vector, start, counts[0]))
        share = float((ious >= REACHED_IOU).mean())
        price = LOSS_PRICE * max(0.0, before - share)
        price += CHANGE_PRICE * float(np.abs(vector - first).mean())
        return price - share - float(np.minimum(ious, GOOD_IOU).mean())

    found = minimize(cost, first, low=low, high=high, random=random)
    fitted = _rounded(_from_vector(found, start, counts[0]))
    kept = [fitted, start] if counts == (len(start.scales), len(start.ratios)) else [fitted]
    return max(kept, key=lambda anchors: _merit(best_ious(boxes, canvases, anchors)))


def _merit(ious: np.ndarray) -> tuple[float, float]:
    found = coverage(ious)
    return found.at_50, found.mean


def _to_vector(anchors: Anchors, scales: int, ratios: int) -> np.ndarray:
    """Return log2 of 5 sizes, of the scales but the first, and of the ratios.

    The first scale is 1: it says the same as the sizes.
    """
    factors, shapes = np.sort(anchors.scales), np.sort(anchors.ratios)
    sizes = np.sort(anchors.sizes) * factors[0]
    if scales != len(factors):
        factors = 2 ** (np.arange(scales) / scales)  # an octave in equal steps, as in the paper
    if ratios != len(shapes):
        shapes = np.geomspace(0.5, 2, ratios) if ratios > 1 else np.ones(1)
    return np.log2(np.concatenate([sizes, factors[1:] / factors[0], shapes]))


def _from_vector(vector: np.ndarray, like: Anchors, scales: int) -> Anchors:
    """Return the anchors of a vector, with the other fields of `like`; `_to_vector`'s inverse."""
    values = 2.0**vector
    count = len(LEVELS)
    return dataclasses.replace(
        like,
        sizes=tuple(np.sort(values[:count]).tolist()),
        scales=(1.0, *np.sort(values[count : count + scales - 1]).tolist()),
        ratios=tuple(np.sort(values[count + scales - 1 :]).tolist()),
    )


def _bounds(first: np.ndarray, scales: int, ratios: int) -> tuple[np.ndarray, np.ndarray]:
    strides = 2.0 ** np.array(LEVELS)
    low, high = (
        np.log2([*strides * size, *[scale] * (scales - 1), *[ratio] * ratios])
        for size, scale, ratio in zip(SIZE_RANGE, SCALE_RANGE, RATIO_RANGE, strict=True)
    )
    return np.minimum(low, first), np.maximum(high, first)


def _rounded(anchors: Anchors) -> Anchors:
    """Return `anchors` with numbers that a person reads: sizes to .1 px, the rest to .001."""
    return dataclasses.replace(
        anchors,
        sizes=tuple(round(size, 1) for size in anchors.sizes),
        scales=tuple(round(scale, 3) for scale in anchors.scales),
        ratios=tuple(round(ratio, 3) for ratio in anchors.ratios),
    )
