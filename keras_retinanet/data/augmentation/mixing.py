"""Examples made of several pictures: Mosaic, pasted boxes and MixUp.

Each picture is rendered by the pipeline's own code, so boxes are as exact as without mixing. An
example is (image (h, w, 3) float32 0..255, labels {"boxes" (G, 4) float32 xyxy in its pixels,
"classes" (G,) int32, "ignore" (G,) bool}), not padded.
Shape letters: G ground truths, h w canvas.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_retinanet.config.schema import AugmentConfig
from keras_retinanet.data.augmentation.erasing import coverage, seen_parts
from keras_retinanet.data.augmentation.geometry import box_areas

# Told apart from every seed that `render` draws from.
MIX_STREAM = 1_000_003
# MixUp's ratio is of Beta(8, 8): .2 to .8 in 99 of 100. Boxes of both count fully here, so each
# picture must stay visible (Zhang et al. 2019 weigh them instead, and use 1.5).
MIXUP_BETA = 8.0
# Where the four pictures of a mosaic meet, as a fraction of each side.
MOSAIC_CENTER = (0.25, 0.75)
# Each box of the other picture is pasted with this probability (Ghiasi et al. 2021: any subset).
PASTE_PROBABILITY = 0.5


def mixup(first, second, seed):
    """Blends two examples of one size by a drawn ratio; the labels are those of both."""
    draws = tf.random.stateless_gamma([2], seed, alpha=MIXUP_BETA)
    ratio = draws[0] / tf.reduce_sum(draws)
    image = second[0] + ratio * (first[0] - second[0])
    return image, _join([first[1], second[1]])


def mosaic(render_tile: Callable, indices, canvas, seed):
    """Joins four pictures, each in its own quarter around a drawn point.

    Args:
        render_tile: (index (), canvas (2,), seed (2,)) -> an example of that canvas.
        indices: (4,) int32, row by row.
        canvas: (2,) int32 (height, width), at least 2 x 2.
        seed: (2,) int32.

    Returns:
        An example of `canvas`. Boxes are cut at the edge of their quarter.
    """
    center_seed, *seeds = tf.unstack(tf.random.split(seed, 5))
    places = tf.random.stateless_uniform([2], center_seed, *MOSAIC_CENTER)
    center = tf.cast(tf.round(places * tf.cast(canvas, tf.float32)), tf.int32)
    center = tf.clip_by_value(center, 1, canvas - 1)
    images, labels = [], []
    for number, (index, tile_seed) in enumerate(zip(tf.unstack(indices), seeds, strict=True)):
        place = tf.constant(divmod(number, 2))
        image, found = render_tile(index, tf.where(place > 0, canvas - center, center), tile_seed)
        images.append(image)
        labels.append(_shift(found, tf.shape(image)[:2], place * center))
    rows = [tf.concat(images[:2], axis=1), tf.concat(images[2:], axis=1)]
    return tf.concat(rows, axis=0), _join(labels)


def copy_paste(base, other, seed, min_visible):
    """Pastes boxes of `other`, each as a whole rectangle, at their places in `base`.

    Boxes of `base` are cut to the bounds of what is still seen of them, and dropped where that is
    less than `min_visible` of their area. Boxes of `other` that were not drawn, but of which as
    much shows in those that were, come along as ignored. Ignored boxes are never pasted, and
    those of `base` stay whole.

    Args:
        base, other: examples of one size.
        seed: (2,) int32.
    """
    (image, labels), (other_image, other_labels) = base, other
    boxes, ignore = other_labels["boxes"], other_labels["ignore"]
    draws = tf.random.stateless_uniform(tf.shape(ignore), seed)
    drawn = (draws < PASTE_PROBABILITY) & ~ignore
    pasted, size = tf.boolean_mask(boxes, drawn), tf.shape(image)[:2]
    is_pasted = _touched(pasted, size) > 0.0
    cut, area = seen_parts(labels["boxes"], is_pasted)
    keep = labels["ignore"] | _is_seen(labels["boxes"], area, min_visible)
    kept = labels | {"boxes": tf.where(labels["ignore"][:, None], labels["boxes"], cut)}
    beside, area = seen_parts(boxes, ~is_pasted)
    comes = drawn | _is_seen(boxes, area, min_visible)
    come = other_labels | {"boxes": tf.where(drawn[:, None], boxes, beside), "ignore": ~drawn}
    # Arithmetic on whole rows takes a third of the time of `tf.where`, and 0 and 1 are exact.
    share = tf.reshape(_touched(pasted, size, channels=3), tf.shape(image))
    image = share * other_image + (1.0 - share) * image
    return image, _join([_mask(kept, keep), _mask(come, comes)])


def mix(row, render_example: Callable, config: AugmentConfig):
    """Makes the example of one row of the plan, with others mixed in as `config` says.

    Pictures are read only where they are drawn. What is not mixed is `render_example` of the row
    itself, whatever the probabilities.

    Args:
        row: {"index" () int32, "partners" (3,) int32, "seed" (2,) int32, "canvas" (2,) int32}.
        render_example: (index, canvas, seed) -> an example of that canvas.
    """
    canvas = row["canvas"]
    seeds = tf.unstack(tf.random.split(tf.random.fold_in(row["seed"], MIX_STREAM), 6))
    draws = tf.unstack(tf.random.stateless_uniform([3], seeds[0]))

    def single():
        return render_example(row["index"], canvas, row["seed"])

    def joined():
        indices = tf.concat([row["index"][None], row["partners"]], axis=0)
        return mosaic(render_example, indices, canvas, seeds[1])

    example = tf.cond(draws[0] < config.mosaic, joined, single) if config.mosaic > 0 else single()
    if config.copy_paste > 0:
        base = example

        def pasted():
            other = render_example(row["partners"][0], canvas, seeds[2])
            return copy_paste(base, other, seeds[3], config.min_visible)

        example = tf.cond(draws[1] < config.copy_paste, pasted, lambda: base)
    if config.mixup > 0:
        first = example

        def blended():
            return mixup(first, render_example(row["partners"][1], canvas, seeds[4]), seeds[5])

        example = tf.cond(draws[2] < config.mixup, blended, lambda: first)
    return example


def _join(labels):
    return {name: tf.concat([part[name] for part in labels], axis=0) for name in labels[0]}


def _mask(labels, keep):
    return {name: tf.boolean_mask(values, keep) for name, values in labels.items()}


def _shift(labels, size, offset):
    """Returns `labels` cut at a tile of `size` (h, w), moved to where the tile lies."""
    # A blank tile's ignored box is wider than the tile, and must not reach the others.
    limits = tf.cast(tf.gather(size, [1, 0, 1, 0]), tf.float32)
    boxes = tf.minimum(tf.maximum(labels["boxes"], 0.0), limits)
    return labels | {"boxes": boxes + tf.cast(tf.gather(offset, [1, 0, 1, 0]), tf.float32)}


def _is_seen(boxes, area, min_visible):
    return (area > 0.0) & (area >= min_visible * box_areas(boxes))


def _touched(boxes, size, channels=1):
    """Returns (h, w * channels) float32: 1 for the pixels that `boxes` (P, 4) touch, else 0."""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    rows = tf.cast(coverage(y1, y2, size[0]) > 0.0, tf.float32)
    columns = tf.cast(coverage(x1, x2, size[1]) > 0.0, tf.float32)
    columns = tf.repeat(columns, channels, axis=1)
    return tf.minimum(tf.matmul(rows, columns, transpose_a=True), 1.0)  # (h, P) @ (P, w)
