"""Picture -> network input, and the shapes between them: one place for every command and export.

A picture is resized with its aspect kept, then padded at the bottom and right to a canvas. Both
depend on that picture's own size alone, so a batch cannot change what one picture gives.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_retinanet.errors import UserError
from keras_retinanet.modeling.resizing import pillow_resize, scaled_resize

# Landscape and portrait canvases grow in this many steps from square to `long_side`.
BUCKET_STEPS = 4
# Name of a rounding -> a side times the scale, made whole.
_WHOLE: dict[str, Callable[[float], int]] = {
    "even": round,
    "floor": math.floor,
    "half_up": lambda side: int(side + 0.5),
}


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input; the fields are `PreprocessingConfig`'s.

    Raises:
        ValueError: if `long_side` is shorter than `short_side`.
    """

    short_side: int = 800
    long_side: int = 1333
    canvas: str = "buckets"
    multiple: int = 32
    rounding: str = "even"
    resize_method: str = "float"
    antialias: bool = False
    exact_scale: str = "none"
    pad_first: bool = False
    color_order: str = "rgb"
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    std: tuple[float, ...] = (58.395, 57.12, 57.375)

    def __post_init__(self) -> None:
        if self.long_side < self.short_side:
            raise UserError(
                "Expected long_side >= short_side. "
                f"Received: short_side={self.short_side}, long_side={self.long_side}."
            )
        if self.pad_first and self.long_side != self.short_side:
            raise UserError(
                "Expected short_side = long_side where a picture is padded to a square first. "
                f"Received: short_side={self.short_side}, long_side={self.long_side}. "
                "Give one size: --image_size S,S."
            )

    def resized_size(
        self, height: int, width: int, short_side: int | None = None
    ) -> tuple[int, int]:
        """Return (height, width) in pixels after the resize of a `height` x `width` picture.

        Args:
            short_side: Another target than the model's own (multi-scale training); the bound on
                the long side moves with it.
        """
        short, long = self._sides(short_side)
        if self.pad_first:
            return long, long
        sides = self._whole_sides(height, width, short, long)
        # A picture a thousand times longer than high must keep one pixel.
        return max(1, sides[0]), max(1, sides[1])

    def canvas_size(
        self, height: int, width: int, short_side: int | None = None
    ) -> tuple[int, int]:
        """Return the (height, width) that a resized picture of `height` x `width` is padded to.

        "exact" pads each side up to `multiple`, "square" both to the same. "buckets" has one short
        side and at most 2 * BUCKET_STEPS + 1 shapes: however many sizes the pictures have, few
        graphs are traced.
        """
        if self.pad_first:
            return height, width
        if self.canvas == "exact":
            return _round_up(height, self.multiple), _round_up(width, self.multiple)
        if self.canvas == "exact_beyond":
            return _round_up(height + 1, self.multiple), _round_up(width + 1, self.multiple)
        if self.canvas == "square":
            return (_round_up(self._sides(short_side)[1], self.multiple),) * 2
        sides = self.bucket_sides(short_side)
        bucket = next((side for side in sides if side >= max(height, width)), None)
        if bucket is None or min(height, width) > sides[0]:
            raise ValueError(
                f"Expected a resized size of at most {sides[0]} x {sides[-1]} pixels. "
                f"Received: height={height}, width={width}. Use `resized_size` first."
            )
        return (sides[0], bucket) if height <= width else (bucket, sides[0])

    def bucket_sides(self, short_side: int | None = None) -> list[int]:
        """Return the sides that "buckets" are made of, ascending; the first is the short one."""
        short, long = self._sides(short_side)
        steps = [short + (long - short) * i / BUCKET_STEPS for i in range(BUCKET_STEPS + 1)]
        return [_round_up(round(side), self.multiple) for side in steps]

    def fit(self, height: int, width: int, canvas: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) of a `height` x `width` picture that fills a fixed `canvas`.

        The aspect is kept and sides become whole by this model's rounding: for inputs of one
        shape (TFLite, ONNX). On the square canvas of a square model it is `resized_size`.
        """
        if self.pad_first:
            return (min(canvas),) * 2
        if canvas[0] == canvas[1]:
            sides = self._whole_sides(height, width, canvas[0], canvas[0])
        else:
            whole, scale = _WHOLE[self.rounding], min(canvas[0] / height, canvas[1] / width)
            sides = whole(height * scale), whole(width * scale)
        return max(1, sides[0]), max(1, sides[1])

    def _whole_sides(self, height: int, width: int, short: int, long: int) -> tuple[int, int]:
        if self.rounding == "half_up":
            return _half_up_sides(height, width, short, long)
        scale = min(short / min(height, width), long / max(height, width))
        whole = _WHOLE[self.rounding]
        return whole(height * scale), whole(width * scale)

    def _sides(self, short_side: int | None) -> tuple[int, int]:
        if short_side is None:
            return self.short_side, self.long_side
        return short_side, round(self.long_side * short_side / self.short_side)

    def resize(self, image: tf.Tensor, size: Sequence[int] | tf.Tensor) -> tf.Tensor:
        """Return `image` (H, W, 3), any dtype, 0..255, as float32 (h, w, 3) for `size` (h, w)."""
        if self.pad_first:
            top, left = tf.unstack(self.border(tf.shape(image)[:2]))
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
            boxes: NumPy, in pixels of a picture that was resized to `size` (h, w).
            original_size: (h, w) of that picture.
        """
        if self.pad_first:
            top, left = (int(side) for side in self.border(np.array(original_size)))
            height, width = original_size[0] + 2 * top, original_size[1] + 2 * left
            y, x = height / size[0], width / size[1]
            return boxes * np.array([x, y, x, y], np.float32) - np.array(
                [left, top, left, top], np.float32
            )
        y, x = (original / resized for original, resized in zip(original_size, size, strict=True))
        if self.exact_scale != "none":
            y, x = 1.0 / self.scale(original_size, size).numpy()
        return boxes * np.array([x, y, x, y], np.float32)

    def scale(
        self, original_size: Sequence[int] | tf.Tensor, size: Sequence[int] | tf.Tensor
    ) -> tf.Tensor:
        """Return the factors (2,) float32 of height and width, before rounding where it is known.

        A size drawn in training has no other scale than its ratio to the picture's.
        """
        sides = tf.cast(original_size, tf.float64)
        size = tf.cast(size, tf.float64)
        scale = tf.minimum(
            self.short_side / tf.reduce_min(sides), self.long_side / tf.reduce_max(sides)
        )
        is_own = tf.reduce_all(tf.abs(sides * scale - size) <= 1.0)
        return tf.cast(tf.where(is_own, scale, size / sides), tf.float32)

    @staticmethod
    def border(size: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Return the (top, left) rows and columns that make a picture of `size` (h, w) square."""
        return (tf.reduce_max(size) - size) // 2

    def pad(
        self,
        image: tf.Tensor,
        canvas: Sequence[int] | tf.Tensor,
        offset: Sequence[int] | tf.Tensor = (0, 0),
    ) -> tf.Tensor:
        """Return float32 `image` (h, w, 3) on a canvas (ch, cw) of the mean colour.

        The mean colour is zero after normalisation, which is what every peer pads with.

        Args:
            offset: (top, left) of the image in the canvas; training alone moves it.
        """
        height, width = tf.unstack(tf.shape(image)[:2])
        (ch, cw), (top, left) = (
            tf.unstack(tf.convert_to_tensor(size)) for size in (canvas, offset)
        )
        # Rows are copied whole, once; padding with a constant per channel would take four passes.
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

    def letterbox(self, image: np.ndarray) -> tuple[tf.Tensor, tuple[int, int]]:
        """Return (input (ch, cw, 3) float32, resized size (h, w)) for a uint8 `image` (H, W, 3)."""
        size = self.resized_size(image.shape[0], image.shape[1])
        return self.pad(self.resize(image, size), self.canvas_size(*size)), size

    def letterbox_into(
        self, image: np.ndarray, canvas: tuple[int, int]
    ) -> tuple[tf.Tensor, tuple[int, int]]:
        """Return (input (ch, cw, 3) float32, resized size (h, w)) of a uint8 `image` (H, W, 3).

        As `letterbox`, for an input of the fixed size `canvas` (ch, cw): the picture at the top
        left, as large as `fit` lets it be, and the mean colour beside or below it.
        """
        size = self.fit(image.shape[0], image.shape[1], canvas)
        return self.pad(self.resize(image, size), canvas), size

    @property
    def mean_rgb(self) -> tuple[float, ...]:
        """The mean colour in RGB order, 0..255, whatever order the network takes."""
        return self.mean if self.color_order == "rgb" else self.mean[::-1]


@keras.saving.register_keras_serializable(package="keras_retinanet")
class PixelNormalization(keras.layers.Layer):
    """RGB 0..255 -> what the trunk was trained on: its colour order, minus `mean`, over `std`.

    Always float32: bfloat16 cannot hold 255 grey levels.
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

    def get_config(self) -> dict[str, Any]:
        own = {"mean": self.mean, "std": self.std, "color_order": self.color_order}
        return super().get_config() | own


def scale_boxes(boxes: tf.Tensor, from_size: tf.Tensor, to_size: tf.Tensor) -> tf.Tensor:
    """Move `boxes` (..., 4) xyxy from a picture of `from_size` (h, w) to one of `to_size`."""
    from_size, to_size = tf.cast(from_size, tf.float32), tf.cast(to_size, tf.float32)
    y, x = tf.unstack(to_size / from_size, axis=-1)
    return boxes * tf.stack([x, y, x, y], axis=-1)


def _half_up_sides(height: int, width: int, short: int, long: int) -> tuple[int, int]:
    """Detectron 2's order of rounding: the short side first, then the bound on the long one."""
    scale = short / min(height, width)
    high, wide = (short, scale * width) if height < width else (scale * height, short)
    excess = max(high, wide)
    if excess > long:
        high, wide = high * (long / excess), wide * (long / excess)
    return int(high + 0.5), int(wide + 0.5)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
