"""Losses with which a student imitates a teacher (knowledge distillation); zero if both agree.

Features: the focal distillation of FGD (Yang et al. 2022, "Focal and Global Knowledge Distillation
for Detectors", section 3.1), with the weights that its authors published for RetinaNet. Its second
half, the global relation, is left out: it trains layers of its own. Outputs: the class scores by
the quality focal loss (Li et al. 2020), which CrossKD takes too (Wang et al. 2023), the boxes by
smooth L1.

Shape letters: B images, G ground truths, C channels, P positive anchors, R anchors, K classes; a
level of the pyramid has h x w cells.
"""

from collections.abc import Mapping

import tensorflow as tf

from keras_retinanet.modeling.class_losses import quality_focal_loss
from keras_retinanet.modeling.losses import smooth_l1

# FGD's alpha, beta and gamma of RetinaNet, and T of all its detectors.
FOREGROUND, BACKGROUND, ATTENTION = 1e-3, 5e-4, 5e-4
TEMPERATURE = 0.5


def region_weights(
    boxes: tf.Tensor, is_object: tf.Tensor, cells: tuple[tf.Tensor, tf.Tensor], stride: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return FGD's masks times its scale of each cell: M S and (1 - M) S, both (B, h, w) float32.

    M is 1 in the cells that an object touches. There S is 1 over the number of cells of the object,
    of several the smallest one; elsewhere 1 over the number of cells without an object.

    Args:
        boxes: (B, G, 4) float32 xyxy in pixels of the network input.
        is_object: (B, G) bool, False for padding and ignored boxes.
        cells: (h, w) of the level.
        stride: of the level, in pixels.
    """
    y, x = (tf.cast(tf.range(size), tf.float32) for size in cells)

    def of_image(image: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        corners, is_object = image
        left, top, right, bottom = tf.unstack(corners[:, :, None] / stride, axis=1)  # (G, 1) each
        in_row = tf.cast((y + 1 > top) & (y < bottom), tf.float32)  # (G, h)
        in_column = tf.cast((x + 1 > left) & (x < right), tf.float32)  # (G, w)
        area = tf.reduce_sum(in_row, axis=1) * tf.reduce_sum(in_column, axis=1)
        scale = tf.math.divide_no_nan(tf.cast(is_object, tf.float32), area)  # (G,)
        scaled = in_row[:, :, None] * in_column[:, None, :] * scale[:, None, None]  # (G, h, w)
        foreground = tf.maximum(tf.reduce_max(scaled, axis=0), 0.0)  # 0 without objects
        empty = tf.cast(foreground == 0, tf.float32)
        return foreground, tf.math.divide_no_nan(empty, tf.reduce_sum(empty))

    # One image at a time bounds the memory to one (G, h, w) array.
    kinds = (tf.float32, tf.float32)
    pairs = tf.cast(boxes, tf.float32), is_object
    return tf.map_fn(of_image, pairs, fn_output_signature=kinds, parallel_iterations=1)


def attention(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return FGD's attention of a level (B, h, w, C): over its cells and over its channels.

    A_S = h w softmax(G_S / T) and A_C = C softmax(G_C / T), where G_S (h, w) is the mean of the
    absolute values over the channels and G_C (C,) their mean over the cells.

    Returns:
        A_S (B, h, w) and A_C (B, C), whose means are 1.
    """
    size = tf.abs(features)
    by_cell, by_channel = tf.reduce_mean(size, axis=3), tf.reduce_mean(size, axis=[1, 2])
    flat = tf.reshape(by_cell, [tf.shape(by_cell)[0], -1])  # (B, h * w)
    cells = tf.cast(tf.shape(flat)[1], tf.float32) * tf.nn.softmax(flat / TEMPERATURE)
    channels = tf.cast(tf.shape(by_channel)[1], tf.float32)
    return (
        tf.reshape(cells, tf.shape(by_cell)),
        channels * tf.nn.softmax(by_channel / TEMPERATURE),
    )


def feature_loss(
    student: tf.Tensor, teacher: tf.Tensor, foreground: tf.Tensor, background: tf.Tensor
) -> tf.Tensor:
    """Return FGD's focal distillation of one level, summed over the images, a scalar.

    With T and S for the features of teacher and student, sums over cells (i, j) and channels c:

        sum (alpha M_ij S_ij + beta (1 - M_ij) S_ij) A_S(T)_ij A_C(T)_c (T_ijc - S_ijc)^2
        + gamma (sum |A_S(T)_ij - A_S(S)_ij| + sum |A_C(T)_c - A_C(S)_c|)

    Args:
        student, teacher: (B, h, w, C).
        foreground, background: (B, h, w), as `region_weights` gives them.
    """
    student, teacher = tf.cast(student, tf.float32), tf.cast(teacher, tf.float32)
    cells, channels = attention(teacher)
    own_cells, own_channels = attention(student)
    weights = (FOREGROUND * foreground + BACKGROUND * background) * cells
    squares = tf.square(teacher - student) * channels[:, None, None, :]
    gap = tf.reduce_sum(tf.abs(cells - own_cells)) + tf.reduce_sum(tf.abs(channels - own_channels))
    return tf.reduce_sum(weights * tf.reduce_sum(squares, axis=3)) + ATTENTION * gap


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
