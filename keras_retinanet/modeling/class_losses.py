"""Losses of the class logits: focal loss and its successors, elementwise; the fast focal sum.

Shape letters: B images, R anchors, K classes, P positive anchors.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_retinanet.config import LossConfig


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


def focal_sum(
    classes: tf.Tensor,
    logits: tf.Tensor,
    weights: tf.Tensor,
    *,
    alpha: float | Sequence[float] = LossConfig.alpha,
    gamma: float = LossConfig.gamma,
) -> tf.Tensor:
    """Return the weighted sum of `focal_loss` over all anchors and classes, a scalar.

    Nearly all of one_hot is 0: the loss of the background is computed for every logit, and
    replaced for the few others. With its gradient in closed form, of which one array is kept,
    this takes a third of the time of `focal_loss`, and less of its memory.

    Args:
        classes: (B, R) int32, negative where every class is background.
        logits: (B, R, K) float32.
        weights: (B, R) float32, factor of each anchor; no gradient flows to it.
    """
    foreground = tf.where(classes >= 0)
    class_of = tf.cast(tf.gather_nd(classes, foreground), tf.int64)
    index = tf.concat([foreground, class_of[:, None]], axis=1)  # (P, 3)
    num_classes = tf.shape(logits)[-1]
    balance = tf.broadcast_to(tf.convert_to_tensor(alpha, tf.float32), [num_classes])
    own_balance, own_weights = tf.gather(balance, class_of), tf.gather_nd(weights, foreground)

    @tf.custom_gradient
    def total(logits: tf.Tensor) -> tuple[tf.Tensor, Any]:
        loss, slope = _background_loss(logits, gamma)
        if not isinstance(alpha, float):  # one per class
            factor = weights[..., None] * (1.0 - balance)  # (B, R, K)
            dense = tf.reduce_sum(factor * loss)
        else:  # the same for all classes: fewer passes
            factor = weights[..., None] * (1.0 - alpha)  # (B, R, 1)
            dense = tf.reduce_sum(factor[..., 0] * tf.reduce_sum(loss, axis=-1))
        own = tf.gather_nd(logits, index)  # (P,)
        right, right_slope = _background_loss(-own, gamma)
        wrong, wrong_slope = _background_loss(own, gamma)
        change = own_balance * right - (1.0 - own_balance) * wrong
        slope_change = -own_balance * right_slope - (1.0 - own_balance) * wrong_slope
        slope = tf.tensor_scatter_nd_add(slope * factor, index, own_weights * slope_change)
        return dense + tf.reduce_sum(own_weights * change), lambda upstream: upstream * slope

    return total(logits)


def _background_loss(logits: tf.Tensor, gamma: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Return p ** gamma * -log(1 - p) and its derivative by the logits; p is their sigmoid."""
    cross_entropy = tf.nn.softplus(logits)
    probability = tf.sigmoid(logits)
    # log p = logit - cross entropy
    square, log = probability * probability, logits - cross_entropy
    power = square if gamma == 2 else tf.exp(gamma * log)
    loss = power * cross_entropy
    # power * (gamma * (1 - p) * cross_entropy + p), with fewer passes
    scaled = gamma * loss
    return loss, scaled + (power - scaled) * probability


def quality_focal_loss(
    quality: tf.Tensor, logits: tf.Tensor, gamma: float = LossConfig.gamma
) -> tf.Tensor:
    """Return the quality focal loss (..., K), elementwise (Li et al. 2020, equation 2).

    Args:
        quality: (..., K) float32 in 0..1, the score to learn: 0 for the background.
        logits: (..., K) float32; finite with its gradient for any finite logit.
        gamma: focusing parameter, the beta of that paper.
    """
    weight = _power(tf.abs(quality - tf.sigmoid(logits)), gamma)
    return weight * tf.nn.sigmoid_cross_entropy_with_logits(labels=quality, logits=logits)


def varifocal_loss(
    quality: tf.Tensor,
    logits: tf.Tensor,
    *,
    alpha: float = LossConfig.varifocal_alpha,
    gamma: float = LossConfig.gamma,
) -> tf.Tensor:
    """Return the varifocal loss (..., K), elementwise (Zhang et al. 2021, equation 2).

    Args:
        quality: (..., K) float32 in 0..1, the score to learn, which also weights the foreground; 0
            is background.
        logits: (..., K) float32; finite with its gradient for any finite logit.
        alpha: weight of the background.
        gamma: focusing parameter, of the background alone.
    """
    background = alpha * _power(tf.sigmoid(logits), gamma)
    weight = tf.where(quality > 0, quality, background)
    return weight * tf.nn.sigmoid_cross_entropy_with_logits(labels=quality, logits=logits)


def _power(value: tf.Tensor, exponent: float) -> tf.Tensor:
    """Return value ** exponent for values of 0 to 1, with a finite gradient."""
    # Below, a root has no slope; the square of it is zero in float32.
    return tf.pow(tf.maximum(value, 1e-7), exponent)
