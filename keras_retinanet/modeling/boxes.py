"""Box arithmetic in one format: (x1, y1, x2, y2), float32, pixels of the network input.

A box covers [x1, x2) x [y1, y2): its width is x2 - x1, with no added pixel.
"""

import math
from dataclasses import dataclass

import tensorflow as tf

from keras_retinanet.config.model import BoxCoderConfig

# Limit of exp() of a width delta, so that a large delta cannot overflow: at most 1000/16 times the
# anchor (Detectron's bound; its numerator was the largest side at the time).
MAX_LOG_SCALE = math.log(1000.0 / 16.0)
# Pixels: shorter sides count as this long in the aspect ratio of CIoU.
MIN_SIDE = 1e-3


def area(boxes: tf.Tensor) -> tf.Tensor:
    """Return the areas (...,) of boxes (..., 4); zero where a box is inverted."""
    return tf.maximum(boxes[..., 2] - boxes[..., 0], 0.0) * tf.maximum(
        boxes[..., 3] - boxes[..., 1], 0.0
    )


def intersection(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return the common area (..., R, G) of boxes (..., R, 4) and others (..., G, 4)."""
    # One coordinate at a time uses a third of the memory of (..., R, G, 2) temporaries.
    x1, y1, x2, y2 = tf.split(boxes, 4, axis=-1)  # (..., R, 1) each
    ox1, oy1, ox2, oy2 = (o[..., None, :, 0] for o in tf.split(others, 4, axis=-1))  # (..., 1, G)
    width = tf.minimum(x2, ox2) - tf.maximum(x1, ox1)
    height = tf.minimum(y2, oy2) - tf.maximum(y1, oy1)
    return tf.maximum(width, 0.0) * tf.maximum(height, 0.0)


def iou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return the intersection over union (..., R, G) of (..., R, 4) boxes and (..., G, 4)."""
    common = intersection(boxes, others)
    union = area(boxes)[..., :, None] + area(others)[..., None, :] - common
    return tf.math.divide_no_nan(common, union)


def paired_iou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return the IoU (...,) of boxes (..., 4) with others (..., 4), pairwise in place."""
    common, union = _paired_areas(boxes, others)
    return tf.math.divide_no_nan(common, union)


def coverage(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return the fraction (..., R, G) of each box (..., R, 4) that lies in others (..., G, 4)."""
    return tf.math.divide_no_nan(intersection(boxes, others), area(boxes)[..., :, None])


def generalized_iou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return GIoU (...,) of boxes (..., 4) with others (..., 4), pairwise in place.

    In -1..1; 1 for equal boxes (Rezatofighi et al. 2019, equation 1).
    """
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    ox1, oy1, ox2, oy2 = tf.unstack(others, axis=-1)
    common, union = _paired_areas(boxes, others)
    hull = (tf.maximum(x2, ox2) - tf.minimum(x1, ox1)) * (tf.maximum(y2, oy2) - tf.minimum(y1, oy1))
    overlap = tf.math.divide_no_nan(common, union)
    return overlap - tf.math.divide_no_nan(hull - union, hull)


def distance_iou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return DIoU (...,) of boxes (..., 4) with others (..., 4), pairwise in place.

    The IoU less the squared distance of the centers over the squared diagonal of the hull; in
    -1..1, 1 for equal boxes (Zheng et al. 2020, equation 7).
    """
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    ox1, oy1, ox2, oy2 = tf.unstack(others, axis=-1)
    apart = ((x1 + x2) - (ox1 + ox2)) ** 2 / 4 + ((y1 + y2) - (oy1 + oy2)) ** 2 / 4
    wide, high = (
        tf.maximum(x2, ox2) - tf.minimum(x1, ox1),
        tf.maximum(y2, oy2) - tf.minimum(y1, oy1),
    )
    return paired_iou(boxes, others) - tf.math.divide_no_nan(apart, wide**2 + high**2)


def complete_iou(boxes: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return CIoU (...,) of boxes (..., 4) with others (..., 4), pairwise in place.

    DIoU less alpha * v, where v compares the aspect ratios and alpha, through which no gradient
    flows, grows with the IoU (Zheng et al. 2020, equations 8 to 11). The gradient is the exact
    one, without the change of scale that the authors make in equation 12.
    """
    angle = _aspect_angle(others) - _aspect_angle(boxes)
    v = 4 / math.pi**2 * angle**2
    # Not negative by rounding of the IoU of equal boxes.
    miss = tf.maximum(1.0 - paired_iou(boxes, others), 0.0)
    alpha = tf.stop_gradient(tf.math.divide_no_nan(v, miss + v))
    return distance_iou(boxes, others) - alpha * v


def _aspect_angle(boxes: tf.Tensor) -> tf.Tensor:
    """Return arctan(width / height) (...,) of boxes (..., 4)."""
    _, _, width, height = _centers(boxes)
    # The angle of an empty box has no slope: a side of a thousandth of a pixel gives it one.
    return tf.atan2(tf.maximum(width, MIN_SIDE), tf.maximum(height, MIN_SIDE))


def _paired_areas(boxes: tf.Tensor, others: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the areas (...,) of intersection and union, pairwise in place."""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    ox1, oy1, ox2, oy2 = tf.unstack(others, axis=-1)
    common = tf.maximum(tf.minimum(x2, ox2) - tf.maximum(x1, ox1), 0.0) * tf.maximum(
        tf.minimum(y2, oy2) - tf.maximum(y1, oy1), 0.0
    )
    return common, area(boxes) + area(others) - common


def clip(boxes: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Clip boxes (..., N, 4) at `height` and `width`, each of which broadcasts to (..., N)."""
    height = tf.cast(height, boxes.dtype)
    width = tf.cast(width, boxes.dtype)
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return tf.stack(
        [
            tf.clip_by_value(x1, 0.0, width),
            tf.clip_by_value(y1, 0.0, height),
            tf.clip_by_value(x2, 0.0, width),
            tf.clip_by_value(y2, 0.0, height),
        ],
        axis=-1,
    )


@dataclass(frozen=True)
class BoxCoder(BoxCoderConfig):
    """Encode boxes relative to their anchors, and decode them again.

    "xywh" is (dx, dy, log dw, log dh) of the center form (Fast R-CNN).
    """

    def encode(self, boxes: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        """Return deltas (..., 4) of boxes (..., 4) relative to anchors (..., 4).

        For an empty box (padding) the result is finite and meaningless.
        """
        ax, ay, aw, ah = _centers(anchors)
        if self.code == "corners":
            sides = tf.stack([aw, ah, aw, ah], axis=-1)
            return (boxes - anchors) / sides / self.scales
        x, y, w, h = _centers(boxes)
        dx, dy = (x - ax) / aw, (y - ay) / ah
        # A hundredth of a pixel keeps the logarithm of padding finite.
        dw, dh = tf.math.log(tf.maximum(w, 0.01) / aw), tf.math.log(tf.maximum(h, 0.01) / ah)
        order = [dx, dy, dw, dh] if self.code == "xywh" else [dy, dx, dh, dw]
        return tf.stack(order, axis=-1) / self.scales

    def decode(self, deltas: tf.Tensor, anchors: tf.Tensor) -> tf.Tensor:
        """Return boxes (..., 4), not clipped, of deltas (..., 4) relative to anchors (..., 4)."""
        ax, ay, aw, ah = _centers(anchors)
        deltas = deltas * self.scales
        if self.code == "corners":
            return anchors + deltas * tf.stack([aw, ah, aw, ah], axis=-1)
        dx, dy, dw, dh = tf.unstack(deltas, axis=-1)
        if self.code == "yxhw":
            dx, dy, dw, dh = dy, dx, dh, dw
        x, y = ax + dx * aw, ay + dy * ah
        w, h = aw * tf.exp(self._bounded(dw)), ah * tf.exp(self._bounded(dh))
        return tf.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=-1)

    def _bounded(self, log_scale: tf.Tensor) -> tf.Tensor:
        if self.log_clip == "none":
            return log_scale
        if self.log_clip == "both":
            log_scale = tf.maximum(log_scale, -MAX_LOG_SCALE)
        return tf.minimum(log_scale, MAX_LOG_SCALE)


def _centers(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
