"""The sizes of `preprocessing.py` as tensors: for graphs that meet images of any size.

Each function is the tensor form of the method of `Preprocessing` that it names, in the same
float64 arithmetic; the tests compare them size by size. Sizes are (height, width), int32.
"""

import tensorflow as tf

from keras_retinanet.modeling.preprocessing import Preprocessing


def resized_size(preprocessing: Preprocessing, size):
    """Return the size (2,) of an image of `size` (2,) after the resize: `resized_size`."""
    short, long = preprocessing.short_side, preprocessing.long_side
    if preprocessing.pad_first:
        return tf.constant([long, long])
    sides = tf.cast(size, tf.float64)
    least, most = tf.reduce_min(sides), tf.reduce_max(sides)
    if preprocessing.rounding == "half_up":
        scaled = short / least * sides
        # The short side is exact.
        scaled = tf.where(sides == least, tf.constant(short, tf.float64), scaled)
        excess = tf.reduce_max(scaled)
        scaled = tf.where(excess > long, scaled * (long / excess), scaled)
        whole = tf.floor(scaled + 0.5)
    else:
        scaled = sides * tf.minimum(short / least, long / most)
        whole = tf.floor(scaled) if preprocessing.rounding == "floor" else tf.round(scaled)
    return tf.maximum(tf.cast(whole, tf.int32), 1)


def canvas_size(preprocessing: Preprocessing, size):
    """Return the canvas (2,) of an image that was resized to `size` (2,): `canvas_size`."""
    multiple = preprocessing.multiple
    if preprocessing.pad_first:
        return size
    if preprocessing.canvas in ("exact", "exact_beyond"):
        beyond = int(preprocessing.canvas == "exact_beyond")
        return -(-(size + beyond) // multiple) * multiple
    if preprocessing.canvas == "square":
        return tf.constant(preprocessing.canvas_size(1, 1))
    sides = tf.constant(preprocessing.bucket_sides())
    bucket = sides[tf.reduce_sum(tf.cast(sides < tf.reduce_max(size), tf.int32))]
    return tf.where(size[0] <= size[1], tf.stack([sides[0], bucket]), tf.stack([bucket, sides[0]]))


def letterbox(preprocessing: Preprocessing, picture):
    """Return (input (ch, cw, 3) float32, resized size (2,)) of a uint8 image: `letterbox`."""
    size = resized_size(preprocessing, tf.shape(picture)[:2])
    resized = preprocessing.resize(picture, size)
    return preprocessing.pad(resized, canvas_size(preprocessing, size)), size


def way_back(preprocessing: Preprocessing, size, original):
    """Return what moves boxes back from a canvas: (4,) factors, and (4,) to subtract then.

    Together they are `boxes_to_picture`.

    Args:
        size: (2,) of the resized image.
        original: (2,) of the image itself.
    """
    offset = tf.zeros(2)
    if preprocessing.pad_first:
        border = preprocessing.border(original)
        y_x = tf.cast((original + 2 * border) / size, tf.float32)
        offset = tf.cast(border, tf.float32)
    elif preprocessing.exact_scale != "none":
        y_x = 1.0 / preprocessing.scale(original, size)
    else:
        y_x = tf.cast(original / size, tf.float32)
    return tf.tile(y_x[::-1], [2]), tf.tile(offset[::-1], [2])
