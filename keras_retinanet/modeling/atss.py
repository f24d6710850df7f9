"""Adaptive training sample selection (ATSS): a threshold for each box from its nearest anchors.

Zhang et al. 2020, "Bridging the Gap Between Anchor-based and Anchor-free Detection via Adaptive
Training Sample Selection", section 3 and algorithm 1.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_retinanet.config import MatchConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling import boxes as box_ops
from keras_retinanet.modeling.labeling import BACKGROUND, AnchorLabeler, Labeler

# An anchor's center lies in a box by more than this many pixels. As in the authors' code: the
# center is rounded, and must not be inside when it lies on the border.
INSIDE_MARGIN = 0.01


@keras.saving.register_keras_serializable(package="keras_retinanet")
class AtssLabeler(Labeler):
    """Assign to each box those of its nearest anchors that overlap it clearly more than the others.

    The candidates of a box are, on each level, the `top_k` * A anchors whose centers are nearest
    to its own, with A anchors per cell (the paper has one). A candidate is assigned to the box if
    its IoU is at least the mean plus the standard deviation of all candidates' IoUs and its center
    is inside the box. An anchor with several boxes is assigned the one with the highest IoU; all
    others are background. A box without an anchor's center inside, such as a tiny one, is assigned
    none.

    Boxes marked `ignore`, and padding, are treated as in `AnchorLabeler`.

    Args:
        top_k: the paper's k.
    """

    def __init__(self, top_k: int = MatchConfig.top_k, **kwargs: Any):
        if top_k < 1:
            raise UserError(f"Expected top_k of at least 1. Received: top_k={top_k}.")
        super().__init__(**kwargs)
        self.top_k = top_k

    def match(
        self,
        anchors: tf.Tensor,
        boxes: tf.Tensor,
        *,
        matchable: tf.Tensor,
        level_cells: Sequence[int | tf.Tensor] | None,
    ) -> tf.Tensor:
        if level_cells is None:
            raise ValueError(
                "Expected level_cells, the number of cells of each level. Received: None. Give "
                "`level_cells(height, width)` of the network input."
            )
        candidates = self._candidates(anchors, boxes, level_cells)  # (G, C) indices of anchors
        near = tf.gather(anchors, candidates)  # (G, C, 4)
        ious = box_ops.iou(near, boxes[:, None, :])[..., 0]  # (G, C)
        positive = ious >= _threshold(ious)[:, None]
        positive &= _has_center_inside(near, boxes[:, None, :]) & matchable[:, None]
        return _best_box(candidates, tf.where(positive, ious, -1.0), tf.shape(anchors)[0])

    def _candidates(
        self, anchors: tf.Tensor, boxes: tf.Tensor, level_cells: Sequence[int | tf.Tensor]
    ) -> tf.Tensor:
        """Return the indices (G, C) int32 of the nearest anchors of all levels to each box."""
        per_cell = tf.shape(anchors)[0] // sum(level_cells)
        box_x, box_y = _centers(boxes[:, None, :])  # (G, 1)
        found, start = [], 0
        for cells in level_cells:
            x, y = _centers(anchors[start : start + cells * per_cell])  # (R of the level,)
            distance = (x - box_x) ** 2 + (y - box_y) ** 2  # (G, R of the level)
            # Of equally distant anchors, the first.
            nearest = tf.math.top_k(-distance, tf.minimum(self.top_k, cells) * per_cell).indices
            found.append(nearest + start)
            start += cells * per_cell
        return tf.concat(found, axis=1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"top_k": self.top_k}


def build_labeler(options: MatchConfig) -> Labeler:
    """Return the labeler that `options` ask for."""
    if options.name == "atss":
        return AtssLabeler(options.top_k)
    return AnchorLabeler(options.positive_iou, options.negative_iou, options.low_quality)


def _centers(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return x and y (...,) of the centers of boxes (..., 4)."""
    return (boxes[..., 0] + boxes[..., 2]) / 2, (boxes[..., 1] + boxes[..., 3]) / 2


def _threshold(ious: tf.Tensor) -> tf.Tensor:
    """Return mean plus standard deviation (G,) of ious (G, C).

    The deviation is the sample's, with divisor C - 1, as in the authors' code.
    """
    count = tf.cast(tf.shape(ious)[1], tf.float32)
    mean = tf.reduce_mean(ious, axis=1)
    squares = tf.reduce_sum((ious - mean[:, None]) ** 2, axis=1)
    return mean + tf.sqrt(squares / tf.maximum(count - 1.0, 1.0))


def _has_center_inside(anchors: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Return (...,) bool: the center of anchors (..., 4) lies in boxes (..., 4)."""
    x, y = _centers(anchors)
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    to_border = tf.minimum(tf.minimum(x - x1, y - y1), tf.minimum(x2 - x, y2 - y))
    return to_border > INSIDE_MARGIN


def _best_box(candidates: tf.Tensor, ious: tf.Tensor, num_anchors: tf.Tensor) -> tf.Tensor:
    """Return (R,) int32: the box with the highest IoU of each anchor, or BACKGROUND.

    Args:
        candidates: (G, C) int32 indices of anchors.
        ious: (G, C), negative where the candidate is not positive.
        num_anchors: R.
    """
    best = tf.math.unsorted_segment_max(ious, candidates, num_anchors)  # (R,)
    wins = (ious >= 0) & (ious == tf.gather(best, candidates))
    num_boxes = tf.shape(ious)[0]
    boxes = tf.where(wins, tf.range(num_boxes)[:, None], num_boxes)  # (G, C)
    # Of equally good boxes, the first; an anchor without candidate gives the largest integer.
    first = tf.math.unsorted_segment_min(boxes, candidates, num_anchors)
    return tf.where(first < num_boxes, first, BACKGROUND)
