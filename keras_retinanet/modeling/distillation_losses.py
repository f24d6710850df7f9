"""Losses with which a student imitates a teacher (knowledge distillation); zero if both agree.

Features: PKD (Cao et al. 2022, "PKD: General Distillation Framework for Object Detectors via
Pearson Correlation Coefficient", section 3.2). Outputs: the class scores by the quality focal loss
(Li et al. 2020), which CrossKD takes too (Wang et al. 2023), the boxes by smooth L1.

Shape letters: B images, C channels, P positive anchors, R anchors, K classes; a level of the
pyramid has h x w cells.
"""

from collections.abc import Mapping

import tensorflow as tf

from keras_retinanet.modeling.class_losses import quality_focal_loss
from keras_retinanet.modeling.losses import smooth_l1

# Added to variances, so that a channel without any is 0.
EPSILON = 1e-6


def feature_loss(student: tf.Tensor, teacher: tf.Tensor) -> tf.Tensor:
    """Return 1 - r of a level, r the correlation of two channels, summed over images, a scalar.

    With T and S for the features of teacher and student, which each channel of each image brings to
    mean 0 and variance 1 over its cells:

        sum over images of mean over cells and channels of (T - S)^2 / 2

    Neither their scale nor their offset counts, so that no level and no channel outweighs another.
    A channel that is the same in all cells teaches nothing. PKD takes means and variances over the
    images of a batch as well; those of one image leave the loss as it is when a batch is shared.

    Args:
        student, teacher: (B, h, w, C).
    """
    squares = tf.square(_standardized(teacher) - _standardized(student))
    return tf.reduce_sum(tf.reduce_mean(squares, axis=[1, 2, 3])) / 2


def _standardized(features: tf.Tensor) -> tf.Tensor:
    features = tf.cast(features, tf.float32)
    mean, variance = tf.nn.moments(features, axes=[1, 2], keepdims=True)
    return (features - mean) * tf.math.rsqrt(variance + EPSILON)


def output_loss(
    student: Mapping[str, tf.Tensor], teacher: Mapping[str, tf.Tensor], is_positive: tf.Tensor
) -> tf.Tensor:
    """Return the loss of scores and boxes against the teacher's, summed over anchors, a scalar.

    With q and p for the class probabilities of teacher and student, d for their box deltas:

        sum over anchors and classes of |q - p|^2 cross_entropy(q, p)
        + sum over positive anchors and coordinates of smooth_l1(d_student - d_teacher)

    Args:
        student, teacher: dicts with "class_logits" (B, R, K) and "box_deltas" (B, R, 4).
        is_positive: (B, R) bool, whether a ground truth is assigned to the anchor.
    """
    logits, taught = (tf.cast(part["class_logits"], tf.float32) for part in (student, teacher))
    class_sum = tf.reduce_sum(quality_focal_loss(tf.sigmoid(taught), logits))
    index = tf.where(is_positive)
    own, deltas = (
        tf.gather_nd(tf.cast(part["box_deltas"], tf.float32), index) for part in (student, teacher)
    )  # (P, 4)
    return class_sum + tf.reduce_sum(smooth_l1(own - deltas))
