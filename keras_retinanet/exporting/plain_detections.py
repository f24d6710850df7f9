"""Detections by operators that TensorFlow Lite and XLA know."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.modeling.post_processing import DetectionBatch, PostProcessing

# Coordinates of boxes that were not cut, beyond which overlaps are no more exact.
WILD = 1e5
# Smaller floats count as zero on some devices.
MIN_NORMAL = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Squares:
    """A grid with one square per class: boxes moved into them overlap within their class alone.

    A grid and not a row, because coordinates far from 0 are coarse.
    """

    columns: int
    side: Any  # () float32
    low: Any  # () float32, the lowest coordinate

    @classmethod
    def around(cls, boxes, num_classes: int) -> "Squares":
        """Return squares as small as `boxes` (..., 4) allow."""
        low = tf.reduce_min(boxes)
        return cls(math.ceil(math.sqrt(num_classes)), tf.reduce_max(boxes) - low + 1.0, low)

    def shift(self, classes):
        """Return what moves boxes of `classes` (...) into their squares, (..., 4)."""
        places = tf.stack([classes % self.columns, classes // self.columns] * 2, axis=-1)
        return tf.cast(places, tf.float32) * self.side - self.low + 0.5

    def classes(self, boxes):
        """Return the classes (...) int32 of boxes (..., 4) in their squares."""
        x1, y1, x2, y2 = tf.unstack(boxes / self.side, axis=-1)
        column, row = tf.floor((x1 + x2) / 2), tf.floor((y1 + y2) / 2)
        return tf.cast(column + row * self.columns, tf.int32)


class PlainPostProcessing(PostProcessing):
    """The same detections by operators that TensorFlow Lite and XLA know: NonMaxSuppressionV4.

    Boxes of different classes are moved apart, then suppressed together. That rounds their
    coordinates: where an overlap is within 1e-4 of `nms_iou` the choice may differ.
    """

    def _suppress_per_class(self, boxes, table, _):
        num_classes = table.shape[2]
        if self.pre_nms_top_k is not None and self.top_k_per == "level":  # one class a row
            classes = tf.argmax(table, axis=2, output_type=tf.int32)
            scores = tf.reduce_max(table, axis=2)
        else:
            rows = boxes.shape[1] or tf.shape(boxes)[1]
            scores = tf.reshape(table, [-1, rows * num_classes])
            classes = tf.zeros_like(scores, tf.int32) + tf.tile(tf.range(num_classes), [rows])
            boxes = tf.repeat(boxes, num_classes, axis=1)
        # Those that are no candidates need no room.
        is_candidate = (scores > self.score_threshold)[..., None]
        boxes = tf.where(is_candidate, tf.clip_by_value(boxes, -WILD, WILD), 0.0)
        return self._suppress(boxes, scores, classes, Squares.around(boxes, num_classes))

    def _suppress_all(self, boxes, table, classes):
        boxes = tf.clip_by_value(boxes, -WILD, WILD)
        return self._suppress(boxes, table[..., 0], classes, None)

    def _suppress(self, boxes, scores, classes, squares: Squares | None):
        """Return the best of boxes (B, M, 4) with scores and classes (B, M).

        They suppress others of their class if there are `squares`, else all others.
        """
        # These operators suppress from the threshold on, the others beyond it.
        iou = max(np.nextafter(np.float32(self.nms_iou), np.float32(2)), MIN_NORMAL)
        compared = boxes if squares is None else boxes + squares.shift(classes)
        compared = _each_overlaps_itself(compared, alone=iou > 1)

        def keep(picture):
            kept = tf.raw_ops.NonMaxSuppressionV4(
                boxes=picture[0],
                scores=picture[1],
                max_output_size=self.max_detections,
                iou_threshold=min(float(iou), 1.0),
                score_threshold=self.score_threshold,
                pad_to_max_output_size=True,
            )
            return tuple(kept)

        if scores.shape[0] == 1:  # no loop
            kept, num = (part[None] for part in keep((compared[0], scores[0])))
        else:
            specs = tf.TensorSpec([self.max_detections], "int32"), tf.TensorSpec([], "int32")
            kept, num = tf.map_fn(keep, (compared, scores), fn_output_signature=specs)
        boxes, scores, classes = (
            tf.gather(part, kept, batch_dims=1) for part in (boxes, scores, classes)
        )
        return DetectionBatch(boxes, scores, classes, num)


def _each_overlaps_itself(boxes, *, alone: bool):
    """Return boxes (B, M, 4) where empty ones, or all that are to be `alone`, have a place apart.

    An empty box overlaps nothing, nor itself, and TensorFlow Lite takes such a box again and again
    (lite/kernels/internal/reference/non_max_suppression.h puts what it took back in the queue).
    """
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    is_apart = tf.ones_like(x1, tf.bool) if alone else tf.equal((x2 - x1) * (y2 - y1), 0.0)
    left = 2.0 * tf.cast(tf.range(tf.shape(x1)[1]), tf.float32) + tf.zeros_like(x1)
    top = tf.reduce_min(boxes) - 2.0 + tf.zeros_like(x1)
    places = tf.stack([left, top, left + 1.0, top + 1.0], axis=-1)
    return tf.where(is_apart[..., None], places, boxes)
