"""Logits + deltas -> boxes: one implementation for predict, evaluate and every export."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_retinanet import boxes as box_ops
from keras_retinanet.boxes import BoxCoder


class DetectionBatch(NamedTuple):
    """Detections of a batch, best first; rows past `num` are zero."""

    boxes: tf.Tensor  # (B, N, 4) float32 xyxy in pixels of the network input
    scores: tf.Tensor  # (B, N) float32
    classes: tf.Tensor  # (B, N) int32, contiguous ids
    num: tf.Tensor  # (B,) int32


@dataclass(frozen=True, eq=False)
class Detections:
    """What a model found in one picture, best first.

    Attributes:
        boxes: (N, 4) float32 xyxy in pixels of that picture.
        scores: (N,) float32.
        classes: (N,) int32, indices into `class_names`.
        class_names: the names of all the model's classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    class_names: list[str] = field(repr=False)

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Detector:
    """Score threshold, top-k per level, decode, clip, per-class NMS; fields of `DetectionConfig`.

    Section 4.1 of the paper ("Inference") and Detectron's defaults.
    """

    score_threshold: float = 0.05
    pre_nms_top_k: int = 1000
    nms_iou: float = 0.5
    max_detections: int = 100
    clip_before_nms: bool = True

    def __call__(self, outputs, anchors, level_cells, sizes, coder: BoxCoder) -> DetectionBatch:
        """Return the `DetectionBatch` of a batch.

        Args:
            outputs: "class_logits" (B, R, K) and "box_deltas" (B, R, 4) of the model.
            anchors: (R, 4) float32 xyxy.
            level_cells: how many of the R anchors each level has, P3 first.
            sizes: (B, 2) height and width of each picture inside its canvas; boxes are cut there.
            coder: the model's box coder.
        """
        logits = tf.cast(outputs["class_logits"], tf.float32)
        deltas = tf.cast(outputs["box_deltas"], tf.float32)
        with tf.name_scope("candidates"):
            parts = []
            start = 0
            for cells in level_cells:
                scores, index, classes = self._level_candidates(logits[:, start : start + cells])
                parts.append((scores, index + start, classes))
                start += cells
            scores, index, classes = (tf.concat(part, axis=1) for part in zip(*parts, strict=True))
            # Only what top-k kept is decoded.
            boxes = coder.decode(
                tf.gather(deltas, index, batch_dims=1), tf.gather(anchors, index)
            )  # (B, M, 4)
        limits = sizes[:, :1], sizes[:, 1:]  # (B, 1) each
        if self.clip_before_nms:
            boxes = box_ops.clip(boxes, *limits)
        found = self._suppress(boxes, scores, classes, tf.shape(logits)[-1])
        return found._replace(boxes=box_ops.clip(found.boxes, *limits))

    def _level_candidates(self, logits):
        """Return scores, anchor index and class, each (B, k), of the best of one level.

        Among all (anchor, class) pairs, not one class per anchor.
        """
        anchors, classes = tf.shape(logits)[1], tf.shape(logits)[2]
        # A pair among the k best has its anchor among the k anchors with the best top class:
        # ranking R anchors first spares ranking R * K pairs.
        k = tf.minimum(self.pre_nms_top_k, anchors)
        _, best = tf.math.top_k(tf.reduce_max(logits, axis=2), k, sorted=False)  # (B, k)
        # In anchor order, so that equal scores are ranked as one flat top-k would.
        best = tf.sort(best, axis=1)
        pairs = tf.reshape(tf.gather(logits, best, batch_dims=1), [-1, k * classes])
        top, flat = tf.math.top_k(pairs, tf.minimum(self.pre_nms_top_k, k * classes))
        index = tf.gather(best, flat // classes, batch_dims=1)
        return tf.sigmoid(top), index, flat % classes

    def _suppress(self, boxes, scores, classes, num_classes):
        # One score column per class makes the suppression per class.
        table = tf.one_hot(classes, num_classes) * scores[..., None]  # (B, M, K)
        result = tf.image.combined_non_max_suppression(
            boxes[:, :, None, :],
            table,
            max_output_size_per_class=self.max_detections,
            max_total_size=self.max_detections,
            iou_threshold=self.nms_iou,
            score_threshold=self.score_threshold,
            clip_boxes=False,
        )
        return DetectionBatch(
            result.nmsed_boxes,
            result.nmsed_scores,
            tf.cast(result.nmsed_classes, tf.int32),
            result.valid_detections,
        )
