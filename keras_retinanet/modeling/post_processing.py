"""Logits + deltas -> boxes: one implementation for predict, evaluate and every export.

Shape letters: B images, R anchors, K classes, N detections, M candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from keras_retinanet.config.post_processing import USUAL_DETECTIONS, DetectionConfig
from keras_retinanet.modeling import boxes as box_ops
from keras_retinanet.modeling.boxes import BoxCoder


class DetectionBatch(NamedTuple):
    """Detections of a batch, best first; rows past `num` are zero."""

    boxes: tf.Tensor  # (B, N, 4) float32 xyxy in pixels of the network input
    scores: tf.Tensor  # (B, N) float32
    classes: tf.Tensor  # (B, N) int32, contiguous ids
    num: tf.Tensor  # (B,) int32


@dataclass(frozen=True)
class PostProcessing(DetectionConfig):
    """Score threshold, top-k per level, decode, clip, per-class NMS.

    The fields and their defaults are those of `DetectionConfig`: section 4.1 of the paper
    ("Inference") and Detectron's. A `max_detections` of "auto" becomes a number.
    """

    max_detections: int = USUAL_DETECTIONS

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_detections", self.limit)

    def __call__(
        self,
        outputs: Mapping[str, tf.Tensor],
        anchors: tf.Tensor,
        level_cells: Sequence[Any],
        sizes: tf.Tensor,
        coder: BoxCoder,
        canvas: Any = None,
    ) -> DetectionBatch:
        """Return the `DetectionBatch` of a batch.

        Args:
            outputs: "class_logits" (B, R, K) and "box_deltas" (B, R, 4) of the model.
            anchors: (R, 4) float32 xyxy.
            level_cells: how many of the R anchors each level has, P3 first.
            sizes: (B, 2) height and width of each image inside its canvas.
            coder: the model's box coder.
            canvas: (height, width) of the network input; needed for `clip_to` "canvas" alone.
        """
        boxes, table, best = self.candidates(
            outputs, anchors, level_cells, sizes, coder, canvas=canvas
        )
        suppress = self._suppress_per_class if best is None else self._suppress_all
        found = suppress(boxes, table, best)
        boxes = self._clip(found.boxes, sizes, canvas)
        return self._finish(found._replace(boxes=boxes))

    def candidates(
        self,
        outputs: Mapping[str, tf.Tensor],
        anchors: tf.Tensor,
        level_cells: Sequence[Any],
        sizes: tf.Tensor,
        coder: BoxCoder,
        *,
        canvas: Any = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Return the candidates of the suppression; arguments as for a call.

        These are boxes (B, M, 4) xyxy; scores (B, M, C), where 0 is no candidate, of all C classes
        that can be detected, or of one where each box has one class; that class (B, M), or None.
        """
        logits = tf.cast(outputs["class_logits"], tf.float32)
        deltas = tf.cast(outputs["box_deltas"], tf.float32)
        if self.background_output:
            logits = logits[..., 1:]
        best = None
        if self.suppress == "best_class":
            best = tf.argmax(logits, axis=2, output_type=tf.int32)  # (B, R)
            logits = tf.reduce_max(logits, axis=2, keepdims=True)
        with tf.name_scope("candidates"):
            index, table = self._candidates(logits, level_cells)
            if index is not None:  # only what top-k kept is decoded
                deltas, anchors = tf.gather(deltas, index, batch_dims=1), tf.gather(anchors, index)
                best = best if best is None else tf.gather(best, index, batch_dims=1)
            boxes = coder.decode(deltas, anchors)  # (B, M, 4)
        if self.clip_before_nms:
            boxes = self._clip(boxes, sizes, canvas)
            if self.drop_empty:
                table = tf.where(_has_area(boxes)[..., None], table, 0.0)
        return boxes, table, best

    def _candidates(
        self, logits: tf.Tensor, level_cells: Sequence[Any]
    ) -> tuple[tf.Tensor | None, tf.Tensor]:
        """Return anchor indices (B, M), or None for all, and scores (B, M, K); 0 is no candidate.

        With `pre_nms_top_k` per level a row is one (anchor, class) pair.
        """
        if self.pre_nms_top_k is None:
            return None, tf.sigmoid(logits)
        if self.top_k_per == "class":
            k = tf.minimum(self.pre_nms_top_k, tf.shape(logits)[1])
            ranked, _ = tf.math.top_k(tf.transpose(logits, [0, 2, 1]), k)  # (B, K, k)
            kept = logits >= ranked[:, None, :, -1]
            return None, tf.where(kept, tf.sigmoid(logits), 0.0)
        best_class = tf.reduce_max(logits, axis=2)  # (B, R)
        parts, start = [], 0
        for cells in level_cells:
            parts.append(self._level_candidates(logits, best_class, start, cells))
            start += cells
        scores, index, classes = (tf.concat(part, axis=1) for part in zip(*parts, strict=True))
        # One score column per class makes the suppression per class.
        return index, tf.one_hot(classes, tf.shape(logits)[2]) * scores[..., None]

    def _level_candidates(
        self, logits: tf.Tensor, best_class: tf.Tensor, start: Any, cells: Any
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return scores, anchor index and class, each (B, k), of the best of one level.

        Among all (anchor, class) pairs, not one class per anchor.

        Args:
            best_class: (B, R) the highest logit of each anchor.
            start, cells: the level has the anchors `start` to `start + cells`. The logits of all
                levels come along, because a slice would copy them.
        """
        classes = tf.shape(logits)[2]
        # A pair among the k best has its anchor among the k anchors with the best top class:
        # ranking R anchors first spares ranking R * K pairs.
        k = tf.minimum(self.pre_nms_top_k, cells)
        _, best = tf.math.top_k(best_class[:, start : start + cells], k, sorted=False)  # (B, k)
        # In anchor order, so that equal scores are ranked as one flat top-k would.
        best = tf.sort(best, axis=1) + start
        pairs = tf.reshape(tf.gather(logits, best, batch_dims=1), [-1, k * classes])
        top, flat = tf.math.top_k(pairs, tf.minimum(self.pre_nms_top_k, k * classes))
        index = tf.gather(best, flat // classes, batch_dims=1)
        return tf.sigmoid(top), index, flat % classes

    def _suppress_per_class(
        self, boxes: tf.Tensor, table: tf.Tensor, _: tf.Tensor | None
    ) -> DetectionBatch:
        result = tf.image.combined_non_max_suppression(
            boxes[:, :, None, :],
            table,
            max_output_size_per_class=self.max_detections,
            max_total_size=self.max_detections,
            iou_threshold=self.nms_iou,
            score_threshold=self.score_threshold,
            clip_boxes=False,
        )
        found = DetectionBatch(*result)
        return found._replace(classes=tf.cast(found.classes, tf.int32))

    def _suppress_all(
        self, boxes: tf.Tensor, table: tf.Tensor, classes: tf.Tensor | None
    ) -> DetectionBatch:
        """Return the best boxes (B, M, 4) with their `classes` (B, M), whatever their classes."""
        scores = table[..., 0]

        def keep(picture: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            kept = tf.image.non_max_suppression(
                *picture, self.max_detections, self.nms_iou, self.score_threshold
            )
            return tf.pad(kept, [[0, self.max_detections - tf.size(kept)]], constant_values=-1)

        kept = tf.map_fn(keep, (boxes, scores), fn_output_signature=tf.TensorSpec([None], "int32"))
        rows = tf.maximum(kept, 0)
        boxes, scores, classes = (
            tf.gather(part, rows, batch_dims=1) for part in (boxes, scores, classes)
        )
        num = tf.reduce_sum(tf.cast(kept >= 0, tf.int32), axis=1)
        return DetectionBatch(boxes, scores, classes, num)

    def _clip(self, boxes: tf.Tensor, sizes: tf.Tensor, canvas: Any) -> tf.Tensor:
        if self.clip_to == "none":
            return boxes
        limits = tf.cast([canvas] if self.clip_to == "canvas" else sizes, tf.float32)  # (B or 1, 2)
        limits -= self.clip_margin
        return box_ops.clip(boxes, limits[:, :1], limits[:, 1:])

    def _finish(self, found: DetectionBatch) -> DetectionBatch:
        """Return `found` with what `drop_empty` and `background_output` ask, zeros past `num`."""
        rows = tf.range(self.max_detections)
        kept = rows < found.num[:, None]
        if self.drop_empty:
            kept &= _has_area(found.boxes)
        # No ties: other runtimes break them otherwise.
        order = tf.argsort(tf.where(kept, rows, rows + self.max_detections), axis=1)
        kept, boxes, scores, classes = (
            tf.gather(part, order, batch_dims=1)
            for part in (kept, found.boxes, found.scores, found.classes)
        )
        return DetectionBatch(
            tf.where(kept[..., None], boxes, 0.0),
            tf.where(kept, scores, 0.0),
            tf.where(kept, classes + int(self.background_output), 0),
            tf.reduce_sum(tf.cast(kept, tf.int32), axis=1),
        )


def _has_area(boxes: tf.Tensor) -> tf.Tensor:
    """Return whether each of boxes (..., 4) covers anything."""
    return tf.reduce_all(boxes[..., 2:] > boxes[..., :2], axis=-1)
