"""Where pixels and boxes go: windows, flips and quarter turns, exact to the pixel.

Shape letters: G ground truths, h w image. Sizes are (2,) (height, width), boxes xyxy.
"""

import tensorflow as tf


def fit_within(size, canvas):
    """Return the largest (height, width) (2,) int32 of the aspect of `size` within `canvas`."""
    scale = tf.reduce_min(canvas / size)  # float64, as all quotients of integers
    fitted = tf.cast(tf.round(tf.cast(size, tf.float64) * scale), tf.int32)
    return tf.clip_by_value(fitted, 1, canvas)


def crop_window(source_size, resized_size, canvas, scale, seed):
    """Choose what part of an image is seen when it is scaled by `scale` around its resized size.

    On an axis on which the scaled image passes the canvas, a window that fills it is drawn;
    else all of the axis is seen, at a place drawn within the canvas.

    Args:
        source_size, resized_size, canvas: (2,) int32 (height, width) in pixels.
        scale: scalar float32.
        seed: (2,) int32.

    Returns:
        (start, length, size, offset), each (2,) int32: the window in the stored image, what it
        is resized to, and where that lies in the canvas.
    """
    scaled = tf.cast(tf.round(tf.cast(resized_size, tf.float32) * scale), tf.int32)
    scaled = tf.maximum(scaled, 1)
    size = tf.minimum(scaled, canvas)
    seen = tf.cast(size, tf.float64) / tf.cast(scaled, tf.float64)
    length = tf.cast(tf.round(tf.cast(source_size, tf.float64) * seen), tf.int32)
    length = tf.clip_by_value(length, 1, source_size)
    draws = tf.random.stateless_uniform([2, 2], seed)
    start = tf.cast(draws[0] * tf.cast(source_size - length + 1, tf.float32), tf.int32)
    offset = tf.cast(draws[1] * tf.cast(canvas - size + 1, tf.float32), tf.int32)
    # The product may round up to the bound itself.
    return tf.minimum(start, source_size - length), length, size, tf.minimum(offset, canvas - size)


def move_boxes(boxes, start, length, size):
    """Move `boxes` (G, 4) xyxy from the stored image to its window's resized copy.

    Args:
        start, length, size: as `crop_window` returns them.
    """
    start, length, size = (tf.cast(value, tf.float32) for value in (start, length, size))
    scale = size / length
    return (boxes - tf.gather(start, [1, 0, 1, 0])) * tf.gather(scale, [1, 0, 1, 0])


def flip_horizontal(image, boxes, size):
    """Mirror `image` (h, w, 3) left to right, and `boxes` (G, 4) xyxy within `size` (h, w)."""
    width = tf.cast(size[1], boxes.dtype)
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return tf.reverse(image, [1]), tf.stack([width - x2, y1, width - x1, y2], axis=-1)


def flip_vertical(image, boxes, size):
    """Mirror `image` (h, w, 3) upside down, and `boxes` (G, 4) xyxy within `size` (h, w)."""
    height = tf.cast(size[0], boxes.dtype)
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return tf.reverse(image, [0]), tf.stack([x1, height - y2, x2, height - y1], axis=-1)


def turn(image, boxes, size, turns):
    """Turn `image` (h, w, 3), and `boxes` (G, 4) xyxy within `size` (h, w), by quarters.

    Args:
        size: (2,) int32. It may differ from the image's own, which is resized later.
        turns: () int32, counter-clockwise, 0..3.

    Returns:
        The image, the boxes and the size, turned.
    """
    image, boxes, size = tf.cond(
        turns % 2 == 1,
        lambda: (
            tf.transpose(image, [1, 0, 2]),
            tf.gather(boxes, [1, 0, 3, 2], axis=1),
            size[::-1],
        ),
        lambda: (image, boxes, size),
    )
    is_reversed = (turns == 1) | (turns == 2)
    image, boxes = maybe(is_reversed, flip_vertical, image, boxes, size)
    image, boxes = maybe(turns >= 2, flip_horizontal, image, boxes, size)
    return image, boxes, size


def maybe(is_drawn, change, image, boxes, size):
    """Return what `change` (a flip) makes of the image and boxes if `is_drawn`, else these."""
    return tf.cond(is_drawn, lambda: change(image, boxes, size), lambda: (image, boxes))


def box_areas(boxes):
    """Return the areas (G,) in pixels of `boxes` (G, 4) xyxy."""
    return tf.reduce_prod(boxes[:, 2:] - boxes[:, :2], axis=-1)


def visible_boxes(boxes, size, min_visible):
    """Cut `boxes` (G, 4) xyxy at an image of `size` (h, w).

    Returns:
        The cut boxes (G, 4), and (G,) bool: whether they keep an area, and at least the fraction
        `min_visible` of the one they had.
    """
    height, width = tf.unstack(tf.cast(size, tf.float32))
    cut = tf.clip_by_value(boxes, 0.0, tf.stack([width, height, width, height]))
    has_area = tf.reduce_all(cut[:, 2:] > cut[:, :2], axis=-1)
    return cut, has_area & (box_areas(cut) >= min_visible * box_areas(boxes))
