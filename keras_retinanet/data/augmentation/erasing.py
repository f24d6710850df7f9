"""What is hidden of boxes; random erasing, a rectangle of noise; and GridMask, a grid of squares.

Shape letters: G ground truths, h w image.
"""

import math

import tensorflow as tf

# Zhong et al. 2017 (section 4.1): share of the image that is erased, and its narrowest ratio.
ERASED_AREA = (0.02, 0.4)
ERASED_RATIO = 0.3

# Chen et al. 2020, as on ImageNet: the side of a unit of the grid, as a fraction of the short side
# (96 to 224 of 224 pixels), and the hidden part of a unit's side.
GRID_UNIT = (96 / 224, 1.0)
GRID_HIDDEN = 0.4


def coverage(low, high, count):
    """Return (G, count): how much of each pixel of an axis lies in low..high, 0..1."""
    pixels = tf.range(tf.cast(count, tf.float32))
    ends = tf.minimum(high[:, None], pixels + 1.0) - tf.maximum(low[:, None], pixels)
    return tf.clip_by_value(ends, 0.0, 1.0)


def seen_parts(boxes, is_hidden):
    """Cut `boxes` (G, 4) xyxy to the bounds of what is seen of them.

    Args:
        is_hidden: (h, w) bool, the pixels that something else covers.

    Returns:
        The cut boxes (G, 4), and (G,) float32: the area of each that is seen, in pixels.
    """
    height, width = tf.unstack(tf.shape(is_hidden))
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    rows, columns = coverage(y1, y2, height), coverage(x1, x2, width)
    seen = 1.0 - tf.cast(is_hidden, tf.float32)
    seen_rows = rows * tf.matmul(columns, seen, transpose_b=True)  # (G, h)
    seen_columns = columns * (rows @ seen)  # (G, w)
    top, bottom = _bounds(seen_rows, height)
    left, right = _bounds(seen_columns, width)
    cut = [tf.maximum(x1, left), tf.maximum(y1, top), tf.minimum(x2, right), tf.minimum(y2, bottom)]
    return tf.stack(cut, axis=-1), tf.reduce_sum(seen_rows, axis=-1)


def erase(image, boxes, seed):
    """Fill a drawn rectangle of `image` (h, w, 3) float32 with noise 0..255.

    Returns:
        The image, and of `boxes` (G, 4) xyxy in its pixels what `seen_parts` gives.
    """
    shape_seed, place_seed, noise_seed = tf.unstack(tf.random.split(seed, 3))
    size = tf.shape(image)[:2]
    draws = tf.random.stateless_uniform([2], shape_seed)
    share = ERASED_AREA[0] + draws[0] * (ERASED_AREA[1] - ERASED_AREA[0])
    area = share * tf.cast(tf.reduce_prod(size), tf.float32)
    # As likely high as wide.
    ratio = tf.exp((2.0 * draws[1] - 1.0) * math.log(ERASED_RATIO))
    sides = tf.cast(tf.round(tf.sqrt(tf.stack([area * ratio, area / ratio]))), tf.int32)
    sides = tf.clip_by_value(sides, 1, size)
    places = tf.random.stateless_uniform([2], place_seed)
    start = tf.cast(places * tf.cast(size - sides + 1, tf.float32), tf.int32)
    # The product may round up to the bound itself.
    start = tf.minimum(start, size - sides)
    paddings = tf.stack([start, size - sides - start], axis=1)
    is_hidden = tf.pad(tf.ones(sides, tf.bool), paddings)
    (top, left), (bottom, right) = tf.unstack(start), tf.unstack(start + sides)
    noise = tf.random.stateless_uniform(tf.concat([sides, [3]], 0), noise_seed, 0.0, 255.0)
    band = image[top:bottom]
    band = tf.concat([band[:, :left], noise, band[:, right:]], axis=1)
    image = tf.concat([image[:top], band, image[bottom:]], axis=0)
    return image, *seen_parts(boxes, is_hidden)


def mask_grid(image, boxes, seed, color):
    """Fill a grid of squares of `image` (h, w, 3) float32 with `color` (3,).

    Returns:
        As `erase`.
    """
    size = tf.shape(image)[:2]
    draws = tf.random.stateless_uniform([3], seed)
    unit = GRID_UNIT[0] + draws[0] * (GRID_UNIT[1] - GRID_UNIT[0])
    unit *= tf.cast(tf.reduce_min(size), tf.float32)
    rows, columns = (
        tf.math.floormod(tf.range(tf.cast(count, tf.float32)) / unit + start, 1.0) < GRID_HIDDEN
        for count, start in zip(tf.unstack(size), tf.unstack(draws[1:]), strict=True)
    )
    is_hidden = rows[:, None] & columns[None]
    image = tf.where(is_hidden[..., None], tf.constant(color, tf.float32), image)
    return image, *seen_parts(boxes, is_hidden)


def _bounds(seen, count):
    """Return the first pixel of (G, count) that is above zero, and the end of the last one."""
    is_seen = tf.cast(seen > 0.0, tf.int32)
    first = tf.argmax(is_seen, axis=-1, output_type=tf.int32)
    last = count - tf.argmax(is_seen[:, ::-1], axis=-1, output_type=tf.int32)
    return tf.cast(first, tf.float32), tf.cast(last, tf.float32)
