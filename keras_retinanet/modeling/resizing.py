"""Image resizing that agrees with other programs beyond "bilinear"."""

from collections.abc import Sequence

import tensorflow as tf

# Pillow's fixed point: weights are integer multiples of 2 ** -22.
PRECISION_BITS = 22


def pillow_resize(image: tf.Tensor, size: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Return Pillow's `Image.resize(size, BILINEAR)` of an image, except for ties in the last bit.

    A triangle filter whose width grows with the shrinking is applied along rows, then along
    columns, each time in integers and rounded to 0..255.

    Args:
        image: (H, W, 3) of integers 0..255, any dtype.
        size: height and width of the result.

    Returns:
        (h, w, 3) float32, integers 0..255.
    """
    image = tf.cast(image, tf.int32)
    height, width = tf.unstack(tf.convert_to_tensor(size))
    image = _resize_axis(image, width, axis=1)
    return tf.cast(_resize_axis(image, height, axis=0), tf.float32)


def scaled_resize(image: tf.Tensor, size: Sequence[int] | tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Return a bilinear resize (h, w, 3) float32 that samples at (i + .5) / scale - .5.

    OpenCV's resize with fx and fy: `scale` need not be the ratio of the sides.

    Args:
        image: (H, W, 3).
        size: height and width of the result.
        scale: (2,) float32 factors of height and width.
    """
    return tf.raw_ops.ScaleAndTranslate(
        images=tf.cast(image, tf.float32)[None],
        size=size,
        scale=scale,
        translation=tf.zeros(2),
        kernel_type="triangle",
        antialias=False,
    )[0]


def _resize_axis(image: tf.Tensor, length: tf.Tensor, *, axis: int) -> tf.Tensor:
    source = tf.shape(image)[axis]
    first, weights = _taps(source, length)  # (length,), (length, taps)
    shape = [1, -1, 1] if axis == 1 else [-1, 1, 1]

    def add_tap(tap: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # A tap beyond the border has weight 0; its index only has to be inside the image.
        pixels = tf.gather(image, tf.minimum(first + tap, source - 1), axis=axis)
        return tap + 1, total + pixels * tf.reshape(weights[:, tap], shape)

    start = tf.gather(tf.zeros_like(image), tf.zeros_like(first), axis=axis)
    taps = tf.shape(weights)[1]
    # Adding half makes the shift below round.
    _, total = tf.while_loop(
        lambda tap, _: tap < taps,
        add_tap,
        (0, start + (1 << (PRECISION_BITS - 1))),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None, 3])),
    )
    return tf.bitwise.right_shift(total, PRECISION_BITS)


def _taps(source: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first source pixel (length,) of each new one, and its weights (length, taps)."""
    scale = tf.cast(source, tf.float64) / tf.cast(length, tf.float64)
    support = tf.maximum(scale, 1.0)
    centres = (tf.range(tf.cast(length, tf.float64), dtype=tf.float64) + 0.5) * scale
    first = tf.maximum(tf.cast(centres - support + 0.5, tf.int32), 0)
    last = tf.minimum(tf.cast(centres + support + 0.5, tf.int32), source)
    taps = 2 * tf.cast(tf.math.ceil(support), tf.int32) + 1
    pixels = first[:, None] + tf.range(taps)
    distances = (tf.cast(pixels, tf.float64) - centres[:, None] + 0.5) * (1.0 / support)
    weights = tf.maximum(1.0 - tf.abs(distances), 0.0)
    weights = tf.where(pixels < last[:, None], weights, 0.0)
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    return first, tf.cast(weights * (1 << PRECISION_BITS) + 0.5, tf.int32)
