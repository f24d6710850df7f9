"""Focal loss, the box losses, and the combined RetinaNet loss.

Everything is summed over anchors, classes and coordinates; the one division is by the number of
positive anchors. Keras's own losses average over the last axis, which changes the meaning of alpha.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_retinanet.config.schema import LossConfig
from keras_retinanet.modeling import boxes as box_ops
from keras_retinanet.modeling.boxes import BoxCoder
from keras_retinanet.modeling.labeling import IGNORED, Targets


def focal_loss(
    one_hot: tf.Tensor,
    logits: tf.Tensor,
    alpha: float | Sequence[float] = LossConfig.alpha,
    gamma: float = LossConfig.gamma,
) -> tf.Tensor:
    """Return the alpha-balanced focal loss (..., K), elementwise (paper, equation 5).

    Args:
        one_hot: (..., K) float32 of 0 and 1.
        logits: (..., K) float32; finite with its gradient for any finite logit.
        alpha: weight of the foreground, 1 - alpha of the background; a number or one per class.
        gamma: focusing parameter; 0 gives the alpha-balanced cross-entropy.
    """
    balance = tf.convert_to_tensor(alpha, tf.float32)
    # The logit of the *right* answer: both classes become one formula.
    right = logits * (2.0 * one_hot - 1.0)
    cross_entropy = tf.nn.softplus(-right)  # -log p_t, exact for large logits
    weight = one_hot * balance + (1.0 - one_hot) * (1.0 - balance)
    if gamma:
        # (1 - p_t) ** gamma through the logarithm: no power of zero, so no infinite gradient.
        weight *= tf.exp(-gamma * tf.nn.softplus(right))
    return weight * cross_entropy


def smooth_l1(difference: tf.Tensor, beta: float = LossConfig.beta) -> tf.Tensor:
    """Return the smooth-L1 loss of `difference` (...,), elementwise (Fast R-CNN, equation 3).

    Quadratic up to `beta`, linear beyond, with matching slope; beta 0 is L1.
    """
    size = tf.abs(difference)
    if beta == 0:
        return size
    return tf.where(size < beta, 0.5 * size * size / beta, size - 0.5 * beta)


@keras.saving.register_keras_serializable(package="keras_retinanet")
class RetinaNetLoss(keras.losses.Loss):
    """Focal loss on the classes plus a loss on the boxes of the positive anchors.

    Args:
        alpha, gamma, box, beta, box_weight, normalizer_momentum: as described in `LossConfig`. The
            model keeps the moving average of positives.
        box_coder: the encoding of boxes, a `BoxCoder` or its fields; None: the model's.
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = LossConfig.alpha,
        gamma: float = LossConfig.gamma,
        *,
        box: str = LossConfig.box,
        beta: float = LossConfig.beta,
        box_weight: float = LossConfig.box_weight,
        box_coder: BoxCoder | dict[str, Any] | None = None,
        normalizer_momentum: float = LossConfig.normalizer_momentum,
        name: str = "retinanet_loss",
    ):
        if box not in ("smooth_l1", "l1", "giou"):
            raise ValueError(f"Expected box to be smooth_l1, l1 or giou. Received: box={box!r}.")
        # Sums here; Keras must not average what is already a scalar.
        super().__init__(name=name, reduction=None, dtype="float32")
        self.alpha = alpha
        self.gamma = gamma
        self.box = box
        self.beta = beta if box == "smooth_l1" else 0.0
        self.box_weight = box_weight
        if isinstance(box_coder, dict):
            box_coder = BoxCoder(box_coder["code"], tuple(box_coder["scales"]))
        self.box_coder = box_coder
        self.normalizer_momentum = normalizer_momentum

    def call(self, targets: Mapping[str, Any], outputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the scalar loss of one batch on one device, divided by its own positives.

        Args:
            targets: dict with "targets" (a `Targets`) and "anchors" (R, 4).
            outputs: dict with "class_logits" (B, R, K) and "box_deltas" (B, R, 4).
        """
        # Keras converts all targets to floats; indices are exact up to 2 ** 24.
        matches, classes, boxes = targets["targets"]
        matched = Targets(tf.cast(matches, tf.int32), tf.cast(classes, tf.int32), boxes)
        class_sum, box_sum = self.sums(targets["anchors"], matched, outputs)
        return (class_sum + box_sum) / tf.maximum(num_positives(matched), 1.0)

    def sums(
        self,
        anchors: tf.Tensor,
        targets: Targets,
        outputs: Mapping[str, tf.Tensor],
        weights: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return (class sum, weighted box sum), two float32 scalars, before normalization.

        Args:
            weights: (B, R) float32, factor of the losses of each anchor; None: 1.
        """
        logits = tf.cast(outputs["class_logits"], tf.float32)
        deltas = tf.cast(outputs["box_deltas"], tf.float32)
        if weights is None:
            weights = tf.ones_like(targets.classes, tf.float32)
        class_sum = self._class_sum(targets, logits, weights)
        return class_sum, self._box_sum(anchors, targets, deltas, weights)

    def _class_sum(self, targets: Targets, logits: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        # Class -1 and -2 give a row of zeros: background.
        one_hot = tf.one_hot(targets.classes, tf.shape(logits)[-1])  # (B, R, K)
        loss = tf.reduce_sum(focal_loss(one_hot, logits, self.alpha, self.gamma), axis=-1)
        return tf.reduce_sum(tf.where(targets.classes == IGNORED, 0.0, loss * weights))

    def _box_sum(
        self, anchors: tf.Tensor, targets: Targets, deltas: tf.Tensor, weights: tf.Tensor
    ) -> tf.Tensor:
        # Positives are few: gather them first.
        positive = tf.where(targets.matches >= 0)  # (P, 2) of image, anchor
        anchors = tf.gather(anchors, positive[:, 1])
        boxes = tf.gather_nd(targets.boxes, positive)
        deltas = tf.gather_nd(deltas, positive)
        coder = self.box_coder or BoxCoder()
        if self.box == "giou":
            loss = 1.0 - box_ops.generalized_iou(coder.decode(deltas, anchors), boxes)
        else:
            loss = smooth_l1(deltas - coder.encode(boxes, anchors), self.beta)
        # GIoU is one number per anchor, the deltas are four.
        weights = tf.reshape(tf.gather_nd(weights, positive), (-1, *[1] * (len(loss.shape) - 1)))
        return self.box_weight * tf.reduce_sum(loss * weights)

    def get_config(self) -> dict[str, Any]:
        coder = self.box_coder
        options = ("name", *(entry.name for entry in dataclasses.fields(LossConfig)))
        return {option: getattr(self, option) for option in options} | {
            "box_coder": {"code": coder.code, "scales": list(coder.scales)} if coder else None
        }


def num_positives(targets: Targets) -> tf.Tensor:
    """Return the number of matched anchors in the batch, a float32 scalar."""
    return tf.reduce_sum(tf.cast(targets.matches >= 0, tf.float32))
