"""Random changes to one training picture and its boxes, in the graph, from stateless seeds.

Order: crop -> resize -> flip -> colour -> padding. The crop is taken from the stored picture in
whole pixels, so only what will be seen is resized, once, and boxes move by the exact same map.
Shape letters: G ground truths, h w picture after the resize, ch cw canvas.
"""

import tensorflow as tf

from keras_retinanet.config import AugmentConfig

# ITU-R BT.601: how much each of R, G, B adds to the grey that contrast and saturation blend with.
GREY_WEIGHTS = (0.299, 0.587, 0.114)
NO_CLASS = -1


def random_seeds(seed, count):
    """Returns `count` independent seeds, a list of (2,) int32, from `seed` (2,) int32."""
    return tf.unstack(tf.random.split(seed, count))


def crop_window(source_size, resized_size, canvas, scale, seed):
    """Chooses what part of a picture is seen when it is scaled by `scale` around its resized size.

    On an axis on which the scaled picture passes the canvas, a window that fills it is drawn;
    else all of the axis is seen, at a place drawn within the canvas.

    Args:
        source_size, resized_size, canvas: (2,) int32 (height, width) in pixels.
        scale: scalar float32.
        seed: (2,) int32.

    Returns:
        (start, length, size, offset), each (2,) int32: the window in the stored picture, what it
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
    """Moves `boxes` (G, 4) xyxy from the stored picture to its window's resized copy.

    Args:
        start, length, size: as `crop_window` returns them.
    """
    start, length, size = (tf.cast(value, tf.float32) for value in (start, length, size))
    scale = size / length
    return (boxes - tf.gather(start, [1, 0, 1, 0])) * tf.gather(scale, [1, 0, 1, 0])


def flip_horizontal(image, boxes):
    """Mirrors `image` (h, w, 3) and its `boxes` (G, 4) xyxy left to right."""
    width = tf.cast(tf.shape(image)[1], tf.float32)
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return image[:, ::-1], tf.stack([width - x2, y1, width - x1, y2], axis=-1)


def jitter_color(image, fraction, seed):
    """Changes brightness, contrast and saturation of `image` (h, w, 3) float32 0..255.

    Each by a factor drawn from 1 - fraction .. 1 + fraction; the result is clipped to 0..255.
    """
    draws = tf.random.stateless_uniform([3], seed, 1.0 - fraction, 1.0 + fraction)
    brightness, contrast, saturation = tf.unstack(draws)
    image = image * brightness
    grey = tf.tensordot(image, tf.constant(GREY_WEIGHTS), 1)[..., None]
    mean = tf.reduce_mean(grey)
    # Both blend with a grey: saturation with that of the pixel, contrast with that of the picture.
    image = contrast * (grey + saturation * (image - grey)) + (1.0 - contrast) * mean
    return tf.clip_by_value(image, 0.0, 255.0)


def visible_boxes(boxes, size, min_visible):
    """Cuts `boxes` (G, 4) xyxy at a picture of `size` (h, w).

    Returns:
        The cut boxes (G, 4), and (G,) bool: whether they keep an area, and at least the fraction
        `min_visible` of the one they had.
    """
    height, width = tf.unstack(tf.cast(size, tf.float32))
    cut = tf.clip_by_value(boxes, 0.0, tf.stack([width, height, width, height]))
    sides, cut_sides = boxes[:, 2:] - boxes[:, :2], cut[:, 2:] - cut[:, :2]
    area, cut_area = tf.reduce_prod(sides, axis=-1), tf.reduce_prod(cut_sides, axis=-1)
    return cut, tf.reduce_all(cut_sides > 0.0, axis=-1) & (cut_area >= min_visible * area)


def augment(image, labels, *, resized_size, canvas, seed, config: AugmentConfig, preprocessing):
    """Makes one training example of a decoded picture.

    Args:
        image: (H, W, 3) uint8, as stored.
        labels: {"boxes": (G, 4) float32 xyxy in its pixels, "classes": (G,), "ignore": (G,)}.
        resized_size: (2,) int32, the (height, width) that the scale jitter starts from.
        canvas: (2,) int32 (height, width).
        seed: (2,) int32: the same seed gives the same example.
        preprocessing: the model's `Preprocessing`.

    Returns:
        (ch, cw, 3) float32 0..255, and the labels of the boxes still seen, in its pixels.
    """
    scale_seed, crop_seed, flip_seed, color_seed = random_seeds(seed, 4)
    source_size = tf.shape(image)[:2]
    # What lies outside the picture was never seen, and is not what a crop takes away.
    boxes, valid = visible_boxes(labels["boxes"], source_size, 0.0)
    if config.scale == (1.0, 1.0):
        start, length = tf.zeros(2, tf.int32), source_size
        size, offset = resized_size, tf.zeros(2, tf.int32)
    else:
        scale = tf.random.stateless_uniform([], scale_seed, *config.scale)
        start, length, size, offset = crop_window(
            source_size, resized_size, canvas, scale, crop_seed
        )
    boxes = move_boxes(boxes, start, length, size)
    image = preprocessing.resize(
        tf.slice(image, [*tf.unstack(start), 0], [*tf.unstack(length), 3]), size
    )
    if config.flip > 0:
        is_flipped = tf.random.stateless_uniform([], flip_seed) < config.flip
        image, boxes = tf.cond(
            is_flipped, lambda: flip_horizontal(image, boxes), lambda: (image, boxes)
        )
    if config.color > 0:
        image = jitter_color(image, config.color, color_seed)
    boxes, visible = visible_boxes(boxes, size, config.min_visible)
    # Padding is at the bottom and right: rolled round, it surrounds the picture.
    image = tf.roll(preprocessing.pad(image, canvas), offset, axis=[0, 1])
    labels = labels | {"boxes": boxes + tf.cast(tf.gather(offset, [1, 0, 1, 0]), tf.float32)}
    keep = valid & visible
    return image, {name: tf.boolean_mask(values, keep) for name, values in labels.items()}


def pad_labels(labels, max_boxes):
    """Pads or cuts the labels of one picture to `max_boxes` boxes; padding has class -1."""
    padding = {"boxes": 0.0, "classes": NO_CLASS, "ignore": False}
    padded = {}
    for name, values in labels.items():
        values = values[:max_boxes]
        missing = max_boxes - tf.shape(values)[0]
        paddings = [[0, missing]] + [[0, 0]] * (len(values.shape) - 1)
        value = tf.constant(padding[name], values.dtype)
        padded[name] = tf.ensure_shape(
            tf.pad(values, paddings, constant_values=value), [max_boxes, *values.shape[1:]]
        )
    return padded
