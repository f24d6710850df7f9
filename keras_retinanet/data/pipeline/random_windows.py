"""Random windows of large images to train on: which part of its image an example shows.

A window is a pure function of the image's record, the side of a tile and the example's seed.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.data.records import Dataset, Record

# Of the windows of an image with objects, at least this share is drawn around one: most of an
# aerial image is often empty, and an empty window teaches no box.
OBJECT_SHARE = 0.5
# Told apart from all that augmentation draws from the same seed.
WINDOW_STREAM = 1_000_033
# `most_in_a_window` looks at blocks that begin at every quarter of a side.
QUARTERS = 4


def window_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Return (height, width) of the windows of an image; 0 as `side`: the image is the window."""
    return (min(height, side), min(width, side)) if side else (height, width)


def windows_per_epoch(dataset: Dataset, side: int) -> np.ndarray:
    """Return how often each record is drawn in an epoch, (R,) int64, at least once.

    Together its windows have about as many pixels as the image.
    """
    counts = []
    for record in dataset.records:
        high, wide = window_size(record.height, record.width, side)
        counts.append(max(1, round(record.height * record.width / (high * wide))))
    return np.array(counts, np.int64)


def draw_window(record: Record, side: int, seed: np.ndarray) -> np.ndarray:
    """Draw a window; in `OBJECT_SHARE` of the draws one that holds a random box as far as it can.

    Args:
        seed: (2,) int32.

    Returns:
        Start and length, (2, 2) int32 (height, width) in pixels of the image.
    """
    random = np.random.default_rng([*seed.astype(np.int32).view(np.uint32), WINDOW_STREAM])
    size = np.array([record.height, record.width])
    length = np.array(window_size(record.height, record.width, side))
    last = size - length
    low, high = np.zeros(2, np.int64), last
    boxes = record.boxes[~record.ignore]
    if len(boxes) and random.random() < OBJECT_SHARE:
        box = boxes[random.integers(len(boxes))].astype(np.float64)
        begin, end = (np.clip(box[corner], 0, size) for corner in ([1, 0], [3, 2]))
        # A box that fits lies in the window; a larger one fills it.
        low = np.clip(np.ceil(np.minimum(begin, end - length)), 0, last).astype(np.int64)
        high = np.clip(np.floor(np.maximum(begin, end - length)), low, last).astype(np.int64)
    return np.stack([random.integers(low, high + 1), length]).astype(np.int32)


def windows(dataset: Dataset, side: int) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return the graph function (index (), seed (2,)) -> start and length, (2,) int32 each."""
    sizes = tf.constant([(r.height, r.width) for r in dataset.records], tf.int32)
    if not side:
        return lambda index, seed: (tf.zeros(2, tf.int32), sizes[index])

    def draw(index: np.ndarray, seed: np.ndarray) -> np.ndarray:
        return draw_window(dataset.records[int(index)], side, seed)

    def window(index: Any, seed: Any) -> tuple[Any, Any]:
        place = tf.numpy_function(draw, [index, seed], tf.int32, stateful=False)
        start, length = tf.unstack(tf.ensure_shape(place, (2, 2)))
        return start, length

    return window


def most_in_a_window(record: Record, side: int) -> int:
    """Return a bound on how many boxes a window of `side` shows; 0 as `side`: all boxes.

    It is the fullest of the blocks, a quarter larger than a window, that begin at every quarter.
    """
    if not side:
        return len(record.boxes)
    step = side / QUARTERS
    x1, y1, x2, y2 = record.boxes.T
    most = 0
    for row in range(math.ceil(record.height / step)):
        is_in_row = (y1 < row * step + side + step) & (y2 > row * step)
        # A box counts in every block from the first that reaches it to the one it ends in.
        first = np.floor((x1[is_in_row] - side - step) / step).astype(int) + 1
        last = np.ceil(x2[is_in_row] / step).astype(int) - 1
        ends = max(1, math.ceil(record.width / step))
        changes = np.bincount(np.clip(first, 0, ends), minlength=ends + 1)
        changes -= np.bincount(np.clip(last + 1, 0, ends), minlength=ends + 1)
        most = max(most, int(np.cumsum(changes)[:ends].max(initial=0)))
    return most
