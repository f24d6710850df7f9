"""The box losses, and the combined RetinaNet loss; `class_losses.py` has those of the classes.

Everything is summed over anchors, classes and coordinates; the one division is by the number of
positive anchors. Keras's own losses average over the last axis, which changes the meaning of alpha.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_retinanet.config import LossConfig
from keras_retinanet.modeling import boxes as box_ops
from keras_retinanet.modeling.boxes import BoxCoder
from keras_retinanet.modeling.class_losses import focal_sum, quality_focal_loss, varifocal_loss
from keras_retinanet.modeling.hard_examples import hard_examples
from keras_retinanet.modeling.labeling import IGNORED, Targets


def smooth_l1(difference: tf.Tensor, beta: float = LossConfig.beta) -> tf.Tensor:
    """Return the smooth-L1 loss of `difference` (...,), elementwise (Fast R-CNN, equation 3).

    Quadratic up to `beta`, linear beyond, with matching slope; beta 0 is L1.
    """
    size = tf.abs(difference)
    if beta == 0:
        return size
    return tf.where(size < beta, 0.5 * size * size / beta, size - 0.5 * beta)


# Box losses of 1 less an overlap of decoded boxes with their ground truth, both (..., 4).
DECODED = {
    "giou": box_ops.generalized_iou,
    "diou": box_ops.distance_iou,
    "ciou": box_ops.complete_iou,
}
CLASS_LOSSES = ("focal", "quality_focal", "varifocal", "ohem")
BOX_LOSSES = ("smooth_l1", "l1", *DECODED)


class _Positives(NamedTuple):
    """The matched anchors of a batch."""

    index: tf.Tensor  # (P, 2) int64 of image, anchor
    anchors: tf.Tensor  # (P, 4)
    boxes: tf.Tensor  # (P, 4): the ground truth of each
    deltas: tf.Tensor  # (P, 4): predicted


def _require_one_of(name: str, value: str, valid: Sequence[str]) -> None:
    if value not in valid:
        *most, last = valid
        raise ValueError(
            f"Expected {name} to be {', '.join(most)} or {last}. Received: {name}={value!r}."
        )


@keras.saving.register_keras_serializable(package="keras_retinanet")
class RetinaNetLoss(keras.losses.Loss):
    """Focal loss on the classes plus a loss on the boxes of the positive anchors.

    The two losses that learn a quality take for it the IoU of the decoded box with its ground
    truth, as a constant: no gradient flows through it. Their papers too divide the sum over
    anchors by the number of positives. They also weight the box loss of each anchor by its quality
    or score; here all positives weigh the same.

    Args:
        alpha, gamma, box, beta, box_weight, normalizer_momentum, classes, varifocal_alpha,
            ohem_batch, ohem_nms_iou, ohem_negatives: as described in `LossConfig`. The model keeps
            the moving average of positives.
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
        classes: str = LossConfig.classes,
        varifocal_alpha: float = LossConfig.varifocal_alpha,
        ohem_batch: int = LossConfig.ohem_batch,
        ohem_nms_iou: float = LossConfig.ohem_nms_iou,
        ohem_negatives: float = LossConfig.ohem_negatives,
        name: str = "retinanet_loss",
    ):
        _require_one_of("box", box, BOX_LOSSES)
        _require_one_of("classes", classes, CLASS_LOSSES)
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
        self.classes = classes
        self.varifocal_alpha = varifocal_alpha
        self.ohem_batch = ohem_batch
        self.ohem_nms_iou = ohem_nms_iou
        self.ohem_negatives = ohem_negatives

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
        positives = self._positives(anchors, targets, deltas)
        if self.classes == "ohem":
            class_sum = self._ohem_sum(anchors, targets, logits, weights)
        else:
            quality = None if self.classes == "focal" else self._quality(positives, targets)
            class_sum = self._class_sum(targets, logits, weights, quality=quality)
        return class_sum, self._box_sum(positives, weights)

    def _positives(self, anchors: tf.Tensor, targets: Targets, deltas: tf.Tensor) -> _Positives:
        # Positives are few: gather them first.
        positive = tf.where(targets.matches >= 0)
        return _Positives(
            positive,
            tf.gather(anchors, positive[:, 1]),
            tf.gather_nd(targets.boxes, positive),
            tf.gather_nd(deltas, positive),
        )

    def _quality(self, positives: _Positives, targets: Targets) -> tf.Tensor:
        """Return the IoU (B, R) of decoded boxes with their ground truth; 0 where none is."""
        decoded = (self.box_coder or BoxCoder()).decode(positives.deltas, positives.anchors)
        ious = box_ops.paired_iou(decoded, positives.boxes)
        shape = tf.shape(targets.matches, out_type=tf.int64)
        return tf.stop_gradient(tf.scatter_nd(positives.index, ious, shape))

    def _class_sum(
        self,
        targets: Targets,
        logits: tf.Tensor,
        weights: tf.Tensor,
        *,
        quality: tf.Tensor | None,
    ) -> tf.Tensor:
        weights = tf.where(targets.classes == IGNORED, 0.0, weights)
        if quality is None:
            balance, gamma = self.alpha, self.gamma
            return focal_sum(targets.classes, logits, weights, alpha=balance, gamma=gamma)
        # Class -1 and -2 give a row of zeros: background.
        scores = tf.one_hot(targets.classes, tf.shape(logits)[-1])  # (B, R, K)
        if self.classes == "quality_focal":
            loss = quality_focal_loss(scores * quality[..., None], logits, self.gamma)
        else:
            options = {"alpha": self.varifocal_alpha, "gamma": self.gamma}
            loss = varifocal_loss(scores * quality[..., None], logits, **options)
        return tf.reduce_sum(tf.reduce_sum(loss, axis=-1) * weights)

    def _ohem_sum(
        self, anchors: tf.Tensor, targets: Targets, logits: tf.Tensor, weights: tf.Tensor
    ) -> tf.Tensor:
        """Return the cross-entropy of the hard anchors; the box loss keeps all positive ones."""
        one_hot = tf.one_hot(targets.classes, tf.shape(logits)[-1])  # (B, R, K)
        loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=one_hot, logits=logits)
        loss = tf.reduce_sum(loss, axis=-1)  # (B, R)
        hard = hard_examples(
            loss,
            anchors,
            positive=targets.classes >= 0,
            ignored=targets.classes == IGNORED,
            batch=self.ohem_batch,
            nms_iou=self.ohem_nms_iou,
            negatives=self.ohem_negatives,
        )
        return tf.reduce_sum(tf.where(hard, loss * weights, 0.0))

    def _box_sum(self, positives: _Positives, weights: tf.Tensor) -> tf.Tensor:
        positive, anchors, boxes, deltas = positives
        coder = self.box_coder or BoxCoder()
        if self.box in DECODED:
            loss = 1.0 - DECODED[self.box](coder.decode(deltas, anchors), boxes)
        else:
            loss = smooth_l1(deltas - coder.encode(boxes, anchors), self.beta)
        # An IoU is one number per anchor, the deltas are four.
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
