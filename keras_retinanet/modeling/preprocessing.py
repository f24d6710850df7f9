"""Image -> network input, for every command and export.

An image is resized with its aspect ratio kept, then padded at the bottom and right to a canvas.
Both depend only on the size of that image, so its result does not depend on the rest of the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_retinanet.errors import UserError
from keras_retinanet.modeling.resizing import pillow_resize, scaled_resize
from keras_retinanet.modeling.sizes import Length, Size, Sizes, longest


@dataclass(frozen=True)
class Preprocessing(Sizes):
    """Turn an image into the network's input.

    Raises:
        UserError: if `long_side` is shorter than `short_side`.
    """

    def __post_init__(self) -> None:
        if self.long_side < self.short_side:
            raise UserError(
                "Expected long_side >= short_side. "
                f"Received: short_side={self.short_side}, long_side={self.long_side}."
            )
        if self.pad_first and self.long_side != self.short_side:
            raise UserError(
                "Expected short_side = long_side for an image that is padded to a square first. "
                f"Received: short_side={self.short_side}, long_side={self.long_side}. "
                "Give one size: --image_size S,S."
            )

    def resize(self, image: tf.Tensor, size: Sequence[int] | tf.Tensor) -> tf.Tensor:
        """Return `image` (H, W, 3), any dtype, 0..255, as float32 (h, w, 3) for `size` (h, w)."""
        if self.pad_first:
            top, left = border(*tf.unstack(tf.shape(image)[:2], num=2))
            image = tf.pad(image, [[top, top], [left, left], [0, 0]])
        if self.resize_method == "pillow":
            image = pillow_resize(image, size)
        elif self.exact_scale == "both":
            image = scaled_resize(image, size, self.scale(tf.shape(image)[:2], size))
        else:
            image = tf.image.resize(image, size, method="bilinear", antialias=self.antialias)
        if self.resize_method == "rounded":
            image = tf.clip_by_value(tf.round(image), 0.0, 255.0)
        image.set_shape([None, None, 3])
        return image

    def boxes_to_picture(
        self, boxes: np.ndarray, size: Sequence[int], original_size: Sequence[int]
    ) -> np.ndarray:
        """Move `boxes` (..., 4) xyxy back from the network input: the inverse of the resize.

        Args:
            boxes: NumPy, in pixels of an image that was resized to `size` (h, w).
            original_size: (h, w) of that image.
        """
        (y, x), (top, left) = self.way_back(size, original_size)
        factors = np.array([x, y, x, y], np.float32)
        return boxes * factors - np.array([left, top, left, top], np.float32)

    def way_back(
        self, size: Sequence[Length], original_size: Sequence[Length]
    ) -> tuple[Size, Size]:
        """Return (y, x) factors and (top, left) offsets: box * factors - offsets is in the image.

        Args:
            size: of the resized image: Python integers, or scalar tensors in a graph.
            original_size: of the image.
        """
        (height, width), offsets = original_size, (0, 0)
        if self.pad_first:
            top, left = offsets = border(height, width)
            height, width = height + 2 * top, width + 2 * left
        elif self.exact_scale != "none":
            y, x = tf.unstack(1.0 / self.scale(original_size, size))
            return (y, x), offsets
        return (height / size[0], width / size[1]), offsets

    def scale(
        self, original_size: Sequence[int] | tf.Tensor, size: Sequence[int] | tf.Tensor
    ) -> tf.Tensor:
        """Return the factors (2,) float32 of height and width, before rounding if it is known.

        For a size drawn in training, return its ratio to the size of the image.
        """
        sides = tf.cast(original_size, tf.float64)
        size = tf.cast(size, tf.float64)
        scale = tf.minimum(
            self.short_side / tf.reduce_min(sides), self.long_side / tf.reduce_max(sides)
        )
        is_own = tf.reduce_all(tf.abs(sides * scale - size) <= 1.0)
        return tf.cast(tf.where(is_own, scale, size / sides), tf.float32)

    def pad(
        self,
        image: tf.Tensor,
        canvas: Sequence[int] | tf.Tensor,
        offset: Sequence[int] | tf.Tensor = (0, 0),
    ) -> tf.Tensor:
        """Return float32 `image` (h, w, 3) on a canvas (ch, cw) of the mean color.

        The mean color is zero after normalization, which every peer pads with.

        Args:
            offset: (top, left) of the image in the canvas; only training moves it.
        """
        height, width = tf.unstack(tf.shape(image)[:2])
        (ch, cw), (top, left) = (
            tf.unstack(tf.convert_to_tensor(size)) for size in (canvas, offset)
        )
        # Copies whole rows once; padding with a constant per channel takes four passes.
        row = tf.tile(tf.constant(self.mean_rgb), cw[None])

        def rows(count: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
            return tf.tile(row[None, : 3 * columns], [count, 1])

        middle = [
            rows(height, left),
            tf.reshape(image, [height, 3 * width]),
            rows(height, cw - left - width),
        ]
        padded = [rows(top, cw), tf.concat(middle, 1), rows(ch - top - height, cw)]
        return tf.reshape(tf.concat(padded, 0), [ch, cw, 3])

    def letterbox(self, image: np.ndarray | tf.Tensor) -> tuple[tf.Tensor, Size]:
        """Return (input (ch, cw, 3) float32, resized size (h, w)) of a uint8 `image` (H, W, 3).

        The size is of Python integers for a NumPy array, of scalar tensors for a tensor.
        """
        in_graph = tf.is_tensor(image)
        shape = tf.unstack(tf.shape(image)[:2], num=2) if in_graph else image.shape[:2]
        size = self.resized_size(*shape)
        return self.pad(self.resize(image, size), self.canvas_size(*size)), size

    def letterbox_into(
        self, image: np.ndarray, canvas: tuple[int, int]
    ) -> tuple[tf.Tensor, tuple[int, int]]:
        """Return (input (ch, cw, 3) float32, resized size (h, w)) of a uint8 `image` (H, W, 3).

        Like `letterbox` for an input of the fixed size `canvas` (ch, cw): the image is resized by
        `fit` and placed at the top left; the rest has the mean color.
        """
        size = self.fit(image.shape[0], image.shape[1], canvas)
        return self.pad(self.resize(image, size), canvas), size

    @property
    def mean_rgb(self) -> tuple[float, ...]:
        """The mean color in RGB order, 0..255, for any `color_order` of the network."""
        return self.mean if self.color_order == "rgb" else self.mean[::-1]


def border(height: Length, width: Length) -> Size:
    """Return the (top, left) rows and columns that make a `height` x `width` image square."""
    side = longest(height, width)
    return (side - height) // 2, (side - width) // 2


@keras.saving.register_keras_serializable(package="keras_retinanet")
class PixelNormalization(keras.layers.Layer):
    """Convert RGB 0..255 to the input of the backbone: its color order, minus `mean`, over `std`.

    Always float32: bfloat16 cannot hold 255 gray levels.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], color_order: str = "rgb", **kwargs: Any
    ):
        super().__init__(**{**kwargs, "trainable": False, "dtype": "float32"})
        self.mean, self.std, self.color_order = tuple(mean), tuple(std), color_order

    def call(self, images: tf.Tensor) -> tf.Tensor:
        if self.color_order == "bgr":
            images = images[..., ::-1]
        return (images - self.mean) / self.std

    def compute_output_spec(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """Return the spec of the result: dense, although Keras calls `inputs * 255.0` sparse."""
        return keras.KerasTensor(images.shape, "float32")

    def get_config(self) -> dict[str, Any]:
        own = {"mean": self.mean, "std": self.std, "color_order": self.color_order}
        return super().get_config() | own
