"""Sizes of preprocessing: image -> resized image -> canvas.

One arithmetic for Python integers and for scalar int32 tensors, so that training, prediction and
an exported graph compute the same sizes. A size is (height, width) in pixels.
"""

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeAlias

import tensorflow as tf

from keras_retinanet.config.model import PreprocessingConfig

# Landscape and portrait canvases grow in this many steps from square to `long_side`.
BUCKET_STEPS = 4
Length: TypeAlias = int | tf.Tensor
Size: TypeAlias = tuple[Any, Any]


# What Python and TensorFlow spell differently; floats have 64 bits in both.
_PYTHON = SimpleNamespace(
    real=float,
    integer=int,
    round_even=round,
    floor=math.floor,
    minimum=min,
    maximum=max,
    where=lambda condition, yes, no: yes if condition else no,
)
_GRAPH = SimpleNamespace(
    real=lambda value: tf.cast(value, tf.float64),
    integer=lambda value: tf.cast(value, tf.int32),
    round_even=tf.round,
    floor=tf.floor,
    minimum=tf.minimum,
    maximum=tf.maximum,
    where=tf.where,
)


def _arithmetic(length: Length) -> SimpleNamespace:
    return _GRAPH if isinstance(length, tf.Tensor) else _PYTHON


@dataclass(frozen=True)
class Sizes(PreprocessingConfig):
    """Compute sizes from the size of an image: Python integers, or scalar int32 tensors."""

    def resized_size(self, height: Length, width: Length, short_side: int | None = None) -> Size:
        """Return the size of a `height` x `width` image after the resize.

        Args:
            short_side: another target than the model's own (multi-scale training); the bound on
                the long side moves with it.
        """
        short, long = self._sides(short_side)
        if self.pad_first:
            return long, long
        return self._scaled_size(height, width, short, long)

    def canvas_size(self, height: Length, width: Length, short_side: int | None = None) -> Size:
        """Return the size that a resized image of `height` x `width` is padded to.

        "exact" pads each side up to `multiple`, "square" both to the same. "buckets" has one short
        side and at most 2 * BUCKET_STEPS + 1 shapes: however many sizes the images have, few
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
        return self._bucket(height, width, self.bucket_sides(short_side))

    def _bucket(self, height: Length, width: Length, sides: list[int]) -> Size:
        ops = _arithmetic(height)
        short, long = ops.minimum(height, width), ops.maximum(height, width)
        if ops is _PYTHON and (short > sides[0] or long > sides[-1]):
            raise ValueError(
                f"Expected a resized size of at most {sides[0]} x {sides[-1]} pixels. "
                f"Received: height={height}, width={width}. Use `resized_size` first."
            )
        bucket = sides[-1]
        for side in reversed(sides[:-1]):
            bucket = ops.where(long <= side, side, bucket)
        is_wide = height <= width
        return ops.where(is_wide, sides[0], bucket), ops.where(is_wide, bucket, sides[0])

    def bucket_sides(self, short_side: int | None = None) -> list[int]:
        """Return the sides that "buckets" are made of, ascending; the first is the short one."""
        short, long = self._sides(short_side)
        steps = [short + (long - short) * i / BUCKET_STEPS for i in range(BUCKET_STEPS + 1)]
        return [_round_up(round(side), self.multiple) for side in steps]

    def fit(self, height: int, width: int, canvas: tuple[int, int]) -> tuple[int, int]:
        """Return the size of a `height` x `width` image that fills a fixed `canvas`.

        The aspect is kept and sides are rounded as the model rounds them: for inputs of one shape
        (TFLite, ONNX). On the square canvas of a square model it is `resized_size`.
        """
        if self.pad_first:
            return (min(canvas),) * 2
        if canvas[0] == canvas[1]:
            return self._scaled_size(height, width, canvas[0], canvas[0])
        return self._rounded(height, width, min(canvas[0] / height, canvas[1] / width))

    def _scaled_size(self, height: Length, width: Length, short: int, long: int) -> Size:
        if self.rounding == "half_up":
            return _half_up_size(height, width, short, long)
        ops = _arithmetic(height)
        least, most = ops.real(ops.minimum(height, width)), ops.real(ops.maximum(height, width))
        return self._rounded(height, width, ops.minimum(short / least, long / most))

    def _rounded(self, height: Length, width: Length, scale: Any) -> Size:
        ops = _arithmetic(height)
        high, wide = ops.real(height) * scale, ops.real(width) * scale
        if self.rounding == "half_up":
            high, wide = high + 0.5, wide + 0.5
        whole = ops.round_even if self.rounding == "even" else ops.floor
        # An image a thousand times longer than high must keep one pixel.
        return ops.maximum(ops.integer(whole(high)), 1), ops.maximum(ops.integer(whole(wide)), 1)

    def _sides(self, short_side: int | None) -> tuple[int, int]:
        if short_side is None:
            return self.short_side, self.long_side
        return short_side, round(self.long_side * short_side / self.short_side)


def _half_up_size(height: Length, width: Length, short: int, long: int) -> Size:
    """Round in detectron2's order: the short side first, then the bound on the long side."""
    ops = _arithmetic(height)
    high, wide = ops.real(height), ops.real(width)
    scale, is_wide = short / ops.minimum(high, wide), high < wide
    high, wide = (
        ops.where(is_wide, ops.real(short), scale * high),
        ops.where(is_wide, scale * wide, ops.real(short)),
    )
    # A bound that is not exceeded changes nothing: the factor is exactly 1.
    factor = ops.minimum(long / ops.maximum(high, wide), ops.real(1))
    high, wide = ops.floor(high * factor + 0.5), ops.floor(wide * factor + 0.5)
    return ops.maximum(ops.integer(high), 1), ops.maximum(ops.integer(wide), 1)


def longest(height: Length, width: Length) -> Any:
    """Return the longer side."""
    return _arithmetic(height).maximum(height, width)


def _round_up(value: Any, multiple: int) -> Any:
    return -(-value // multiple) * multiple
