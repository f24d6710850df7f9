"""Examples made of several images: Mosaic, pasted boxes, CutMix and MixUp.

`draw_mix` says which images an example needs, the pipeline renders those, `mix` puts them together;
so boxes are as exact as without mixing. An
example is (image (h, w, 3) float32 0..255, labels {"boxes" (G, 4) float32 xyxy in its pixels,
"classes" (G,) int32, "ignore" (G,) bool}), not padded.
Shape letters: G ground truths, h w canvas.
"""

from functools import partial
from typing import Any, NamedTuple

import tensorflow as tf

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data.augmentation.erasing import coverage, seen_parts
from keras_retinanet.data.augmentation.geometry import box_areas

# Told apart from every seed that `render` draws from.
MIX_STREAM = 1_000_003
# MixUp's ratio is of Beta(8, 8): .2 to .8 in 99 of 100. Boxes of both count fully here, so each
# image must stay visible (Zhang et al. 2019 weigh them instead, and use 1.5).
MIXUP_BETA = 8.0
# Where the four images of a mosaic meet, as a fraction of each side.
MOSAIC_CENTER = (0.25, 0.75)
# Each box of the other image is pasted with this probability (Ghiasi et al. 2021: any subset).
PASTE_PROBABILITY = 0.5
# What draws, each at a fixed place: switching one on leaves the others' draws. New ones go last.
KINDS = ("mosaic", "copy_paste", "mixup", "cutmix")
DRAWS = (
    "which", "mosaic", "paste_source", "paste", "blend_source", "blend", "cut_source", "cut",
)  # fmt: skip
# Row and column of each tile of a mosaic.
_PLACES = tuple(divmod(number, 2) for number in range(4))


class Source(NamedTuple):
    """An image to render for an example.

    Attributes:
        index: () int32 of its record.
        canvas: (2,) int32 (height, width).
        seed: (2,) int32.
        is_wanted: () bool: False where nothing was drawn that needs it.
    """

    index: Any
    canvas: Any
    seed: Any
    is_wanted: Any = True


class Recipe(NamedTuple):
    """What was drawn for one example.

    Attributes:
        sources: The images to render: the row's own, then three tiles, one to paste from, one to
            cut from and one to blend with, of which only those that the configuration can ask for
            are listed.
        is_drawn: a kind of mixing -> () bool.
        center: (2,) int32, where the four tiles meet.
        seeds: a name of `DRAWS` -> (2,) int32.
    """

    sources: list[Source]
    is_drawn: dict[str, Any]
    center: Any
    seeds: dict[str, Any]


def mixup(first, second, seed):
    """Blend two examples of one size by a drawn ratio; the labels are those of both."""
    draws = tf.random.stateless_gamma([2], seed, alpha=MIXUP_BETA)
    ratio = draws[0] / tf.reduce_sum(draws)
    image = second[0] + ratio * (first[0] - second[0])
    return image, _join([first[1], second[1]])


def mosaic_sources(indices, canvas, seed):
    """Draw where four images meet, and with it the canvas of each.

    Args:
        indices: (4,) int32, row by row.
        canvas: (2,) int32 (height, width), at least 2 x 2.
        seed: (2,) int32.

    Returns:
        The point (2,) int32 where they meet, and four `Source`s.
    """
    center_seed, *seeds = tf.unstack(tf.random.split(seed, 5))
    places = tf.random.stateless_uniform([2], center_seed, *MOSAIC_CENTER)
    center = tf.cast(tf.round(places * tf.cast(canvas, tf.float32)), tf.int32)
    center = tf.clip_by_value(center, 1, canvas - 1)
    quarters = [tf.where(tf.constant(p) > 0, canvas - center, center) for p in _PLACES]
    sources = map(Source, tf.unstack(indices), quarters, seeds)
    return center, list(sources)


def mosaic(examples, center):
    """Join four examples, each of the size of its own quarter around `center` (2,) int32.

    Boxes are cut at the edge of their quarter.
    """
    images, labels = zip(*examples, strict=True)
    shifted = [
        _shift(found, tf.shape(image)[:2], tf.constant(place) * center)
        for image, found, place in zip(images, labels, _PLACES, strict=True)
    ]
    rows = [tf.concat(images[:2], axis=1), tf.concat(images[2:], axis=1)]
    return tf.concat(rows, axis=0), _join(shifted)


def copy_paste(base, other, seed, min_visible):
    """Paste boxes of `other`, each as a whole rectangle, at their places in `base`.

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


def cutmix(base, other, seed, min_visible):
    """Replace a drawn rectangle of `base` by that of `other` at the same place.

    Boxes of both are cut to the bounds of what is still seen of them, and dropped where that is
    less than `min_visible` of their area. The rectangle has the shape of the image and any share
    of its area, each as likely (Yun et al. 2019, alpha 1).

    Args:
        base, other: examples of one size.
        seed: (2,) int32.
    """
    size = tf.shape(base[0])[:2]
    is_other = _drawn_rectangle(size, seed)
    kept = []
    for labels, is_hidden in ((base[1], is_other), (other[1], ~is_other)):
        cut, area = seen_parts(labels["boxes"], is_hidden)
        is_kept = _is_seen(labels["boxes"], area, min_visible)
        kept.append(_mask(labels | {"boxes": cut}, is_kept))
    return tf.where(is_other[..., None], other[0], base[0]), _join(kept)


def draw_mix(row, config: AugmentConfig, *, may_mix: Any = True) -> Recipe:
    """Draw whether and how the example of one row of the plan is mixed with others.

    Args:
        row: {"index" () int32, "partners" (3,) int32, "seed" (2,) int32, "canvas" (2,) int32}.
        may_mix: () bool; False mixes nothing, whatever the probabilities.
    """
    index, canvas, partners = row["index"], row["canvas"], row["partners"]
    stream = tf.random.fold_in(row["seed"], MIX_STREAM)
    seeds = dict(zip(DRAWS, tf.unstack(tf.random.split(stream, len(DRAWS))), strict=True))
    draws = tf.unstack(tf.random.stateless_uniform([len(KINDS)], seeds["which"]))
    is_drawn = {
        kind: (draw < getattr(config, kind)) & may_mix
        for kind, draw in zip(KINDS, draws, strict=True)
    }
    own, others, center = Source(index, canvas, row["seed"]), [], canvas
    if config.mosaic > 0:
        indices = tf.concat([index[None], partners], axis=0)
        is_joined = is_drawn["mosaic"]
        center, (first, *tiles) = mosaic_sources(indices, canvas, seeds["mosaic"])
        tile_canvas = tf.where(is_joined, first.canvas, canvas)
        own = Source(index, tile_canvas, tf.where(is_joined, first.seed, row["seed"]))
        others += [tile._replace(is_wanted=is_joined) for tile in tiles]
    # The partner's place among those of the plan, and the name of its seed.
    for kind, partner, source in (
        ("copy_paste", 0, "paste_source"),
        ("cutmix", 2, "cut_source"),
        ("mixup", 1, "blend_source"),
    ):
        if getattr(config, kind) > 0:
            others.append(Source(partners[partner], canvas, seeds[source], is_drawn[kind]))
    return Recipe([own, *others], is_drawn, center=center, seeds=seeds)


def mix(recipe: Recipe, examples, config: AugmentConfig):
    """Make one example of those of `recipe.sources`, as was drawn.

    Without mixing it is the first one, whatever the probabilities.
    """
    example, *others = examples
    if config.mosaic > 0:
        tiles, others = [example, *others[:3]], others[3:]
        is_joined = recipe.is_drawn["mosaic"]
        example = tf.cond(is_joined, lambda: mosaic(tiles, recipe.center), lambda: tiles[0])
    share = config.min_visible
    for kind, join, seed in (
        ("copy_paste", partial(copy_paste, min_visible=share), "paste"),
        ("cutmix", partial(cutmix, min_visible=share), "cut"),
        ("mixup", mixup, "blend"),
    ):
        if getattr(config, kind) > 0:
            joined = partial(join, example, others.pop(0), recipe.seeds[seed])
            example = tf.cond(recipe.is_drawn[kind], joined, lambda first=example: first)
    return example


def _drawn_rectangle(size, seed):
    """Return (h, w) bool: a rectangle of the shape of `size` (2,), of any share of its area."""
    draws = tf.random.stateless_uniform([3], seed)
    sides = tf.cast(tf.round(tf.cast(size, tf.float32) * tf.sqrt(draws[0])), tf.int32)
    sides = tf.clip_by_value(sides, 1, size)
    start = tf.cast(draws[1:] * tf.cast(size - sides + 1, tf.float32), tf.int32)
    start = tf.minimum(start, size - sides)  # the product may round up to the bound itself
    return tf.pad(tf.ones(sides, tf.bool), tf.stack([start, size - sides - start], axis=1))


def _join(labels):
    return {name: tf.concat([part[name] for part in labels], axis=0) for name in labels[0]}


def _mask(labels, keep):
    return {name: tf.boolean_mask(values, keep) for name, values in labels.items()}


def _shift(labels, size, offset):
    """Return `labels` cut at a tile of `size` (h, w), moved to where the tile lies."""
    # A blank tile's ignored box is wider than the tile, and must not reach the others.
    limits = tf.cast(tf.gather(size, [1, 0, 1, 0]), tf.float32)
    boxes = tf.minimum(tf.maximum(labels["boxes"], 0.0), limits)
    return labels | {"boxes": boxes + tf.cast(tf.gather(offset, [1, 0, 1, 0]), tf.float32)}


def _is_seen(boxes, area, min_visible):
    return (area > 0.0) & (area >= min_visible * box_areas(boxes))


def _touched(boxes, size, channels=1):
    """Return (h, w * channels) float32: 1 for the pixels that `boxes` (P, 4) touch, else 0."""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    rows = tf.cast(coverage(y1, y2, size[0]) > 0.0, tf.float32)
    columns = tf.cast(coverage(x1, x2, size[1]) > 0.0, tf.float32)
    columns = tf.repeat(columns, channels, axis=1)
    return tf.minimum(tf.matmul(rows, columns, transpose_a=True), 1.0)  # (h, P) @ (P, w)
