"""Online hard example mining: the anchors of an image on which the classes cost most."""

import tensorflow as tf

from keras_retinanet.config import LossConfig


def hard_examples(
    losses: tf.Tensor,
    anchors: tf.Tensor,
    *,
    positive: tf.Tensor,
    ignored: tf.Tensor,
    batch: int = LossConfig.ohem_batch,
    nms_iou: float = LossConfig.ohem_nms_iou,
    negatives: float = LossConfig.ohem_negatives,
) -> tf.Tensor:
    """Return which anchors (B, R) bool to learn from (Shrivastava et al. 2016, section 4).

    In each image the anchors are ordered by loss, those of equal loss as they stand. An anchor
    that overlaps one before it by more than `nms_iou` is dropped, as neighbors have much the same
    loss. Of what is left the first `batch` are taken; or, as in SSD, up to `batch` positive and
    negative anchors with `negatives` of the latter for each of the former.

    Args:
        losses: (B, R) float32.
        anchors: (R, 4) float32 xyxy.
        positive: (B, R) bool.
        ignored: (B, R) bool, anchors never to take.
        batch: maximum number of anchors per image.
        nms_iou: 1 keeps all.
        negatives: 0: take the anchors by their loss alone. Otherwise an image without a positive
            anchor gives none.
    """

    def choose(image: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        losses, positive, ignored = image  # (R,)
        losses = tf.where(ignored, -1.0, losses)
        length = _enough(losses, positive, negatives=negatives) if negatives else batch
        length = tf.minimum(length, tf.shape(losses)[0])
        order = _by_loss(losses, anchors, length, nms_iou=nms_iou)
        if negatives:
            order = _with_ratio(order, tf.gather(positive, order), batch, negatives=negatives)
        # Each anchor is in the order at most once.
        return tf.scatter_nd(order[:, None], tf.ones_like(order), tf.shape(losses)[:1]) > 0

    images = tuple(tf.stop_gradient(part) for part in (losses, positive, ignored))
    return tf.map_fn(choose, images, fn_output_signature=tf.bool)


def _enough(losses: tf.Tensor, positive: tf.Tensor, *, negatives: float) -> tf.Tensor:
    """Return how many anchors in falling order hold all positive and enough negative ones."""
    # Suppression takes time for each anchor that it keeps, and the easy ones are many.
    positives = tf.reduce_sum(tf.cast(positive, tf.float32))
    lowest = tf.reduce_min(tf.where(positive, losses, losses.dtype.max))
    down_to_lowest = tf.reduce_sum(tf.cast(losses >= lowest, tf.int32))
    return tf.maximum(down_to_lowest, tf.cast(tf.math.ceil(positives * (1 + negatives)), tf.int32))


def _by_loss(
    losses: tf.Tensor, anchors: tf.Tensor, length: tf.Tensor, *, nms_iou: float
) -> tf.Tensor:
    """Return the first `length` indices int32 in falling order of the losses of 0 or more."""
    if nms_iou < 1:
        return tf.image.non_max_suppression(anchors, losses, length, nms_iou, score_threshold=-0.5)
    losses, order = tf.math.top_k(losses, length)
    return tf.boolean_mask(order, losses >= 0)


def _with_ratio(
    order: tf.Tensor, positive: tf.Tensor, batch: int, *, negatives: float
) -> tf.Tensor:
    """Return the first of `order` with `negatives` negative ones for each positive one."""
    most = int(batch / (1 + negatives))
    positives = tf.boolean_mask(order, positive)[:most]
    count = tf.cast(negatives * tf.cast(tf.shape(positives)[0], tf.float32), tf.int32)
    return tf.concat([positives, tf.boolean_mask(order, ~positive)[:count]], axis=0)
