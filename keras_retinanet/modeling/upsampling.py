"""Nearest-neighbor upsampling of feature maps, to the size of another one."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable(package="keras_retinanet")
class UpsampleToMatch(layers.Layer):
    """Nearest-neighbor resize of one feature map to the height and width of another.

    Output cell i takes input cell floor(i * in / out), PyTorch's and TF1's convention: an exact
    repetition for sides in the ratio 1:2, and correct for odd sides too.

    Attributes:
        for_xla: compute it by gathering, because XLA cannot differentiate the resize.
    """

    for_xla = False

    def call(self, inputs: list[Any]) -> tf.Tensor:
        """Args: inputs: [coarse (B,h,w,C), fine (B,H,W,D)]. Returns: (B,H,W,C)."""
        coarse, fine = inputs
        if self.for_xla:
            for axis in (1, 2):
                size_in, size_out = tf.shape(coarse)[axis], tf.shape(fine)[axis]
                coarse = tf.gather(coarse, tf.range(size_out) * size_in // size_out, axis=axis)
            return coarse
        return tf.raw_ops.ResizeNearestNeighbor(
            images=coarse,
            size=tf.shape(fine)[1:3],
            align_corners=False,
            half_pixel_centers=False,
        )

    def compute_output_shape(self, input_shape: list[Any]) -> tuple[int | None, ...]:
        """Return the shape of the result for the shapes of both maps; Keras calls this."""
        coarse, fine = input_shape
        return (*fine[:3], coarse[3])
