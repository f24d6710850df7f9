"""Random changes to one training image and its boxes, in the graph, from stateless seeds.

Order: choose a view (scale, crop, turn) -> turn and flip -> resize -> color -> blur, noise, JPEG ->
erase, grid mask -> padding, or rotate, shear and translate onto the canvas.
The view is chosen before a pixel is read, so that only what will be seen need be decoded. Turns
and flips go before the resize, with which they commute: there are fewer pixels, of one byte.
Shape letters: G ground truths, h w image after the resize, ch cw canvas.
"""

from functools import partial
from typing import Any, NamedTuple

import tensorflow as tf

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data.augmentation import affine
from keras_retinanet.data.augmentation.colors import recolor
from keras_retinanet.data.augmentation.erasing import erase, mask_grid
from keras_retinanet.data.augmentation.geometry import (
    box_areas,
    crop_window,
    fit_within,
    flip_horizontal,
    flip_vertical,
    maybe,
    move_boxes,
    turn,
    visible_boxes,
)
from keras_retinanet.data.augmentation.quality import degrade

# What draws, each at a fixed place: switching one on leaves the others' draws. New ones go last.
DRAWS = (
    "scale", "crop", "flip", "color", "flip_vertical", "rotate90", "hue", "photometric", "erase",
    "rotate", "shear", "translate", "blur", "noise", "jpeg", "grid_mask",
)  # fmt: skip

# Pixels from the border of an image within which a box ends with the image, not with its object.
BORDER = 1.0


class View(NamedTuple):
    """Which part of a stored image is seen, how large, and where in the canvas.

    Attributes:
        start, length: (2,) int32 (height, width), the window in the stored image.
        size: (2,) int32, what the window is resized to, before it is turned.
        offset: (2,) int32, where the turned result lies in the canvas.
        turns: () int32, quarter turns counter-clockwise, 0..3.
    """

    start: Any
    length: Any
    size: Any
    offset: Any
    turns: Any


def named_seeds(seed) -> dict:
    """Return an independent (2,) int32 seed for each of `DRAWS` from `seed` (2,) int32."""
    return dict(zip(DRAWS, tf.unstack(tf.random.split(seed, len(DRAWS))), strict=True))


def choose_view(source_size, resized_size, canvas, *, seed, config: AugmentConfig) -> View:
    """Draw what is seen of a stored image, before any of it is decoded.

    Args:
        source_size: (2,) int32 (height, width) of the stored image.
        resized_size: (2,) int32, what the scale jitter starts from; an image that is turned on
            its side is first made smaller, aspect kept, where it would not fit the canvas.
        canvas: (2,) int32 (height, width).
        seed: (2,) int32, the one that `render` is given.
    """
    seeds = named_seeds(seed)
    turns = tf.constant(0)
    if config.rotate90 > 0:
        draws = tf.random.stateless_uniform([2], seeds["rotate90"])
        drawn = tf.minimum(1 + tf.cast(draws[1] * 3.0, tf.int32), 3)
        turns = tf.where(draws[0] < config.rotate90, drawn, 0)
        # Sizes and canvas are as before the turn; the offset is turned back at the end.
        canvas = tf.where(turns % 2 == 1, canvas[::-1], canvas)
        is_too_large = (turns % 2 == 1) & tf.reduce_any(resized_size > canvas)
        resized_size = tf.where(is_too_large, fit_within(resized_size, canvas), resized_size)
    if config.scale == (1.0, 1.0):
        zeros = tf.zeros(2, tf.int32)
        return View(zeros, source_size, resized_size, zeros, turns)
    scale = tf.random.stateless_uniform([], seeds["scale"], *config.scale)
    start, length, size, offset = crop_window(
        source_size, resized_size, canvas, scale, seeds["crop"]
    )
    return View(start, length, size, tf.where(turns % 2 == 1, offset[::-1], offset), turns)


def render(
    pixels, labels, view: View, *, source_size, canvas, seed, config: AugmentConfig, preprocessing
):
    """Make one training example of the window of an image that `choose_view` chose.

    Args:
        pixels: (., ., 3) uint8, the window `view.start`, `view.length`; a decoder may have made
            it smaller already, since it is only resized.
        labels: {"boxes": (G, 4) float32 xyxy in pixels of the stored image, "classes": (G,),
            "ignore": (G,)}.
        source_size: (2,) int32 (height, width) of the stored image.
        canvas: (2,) int32 (height, width).
        seed: (2,) int32: the same seed gives the same example.
        preprocessing: the model's `Preprocessing`.

    Returns:
        (ch, cw, 3) float32 0..255, and the labels of the boxes still seen, in its pixels.
    """
    seeds = named_seeds(seed)
    # What lies outside the image was never seen, and is not what a crop takes away.
    boxes, valid = visible_boxes(labels["boxes"], source_size, 0.0)
    boxes, size = move_boxes(boxes, view.start, view.length, view.size), view.size
    if config.rotate90 > 0:
        pixels, boxes, size = turn(pixels, boxes, size, view.turns)
    pixels, boxes = _maybe_flip(pixels, boxes, size, seeds, config)
    image = preprocessing.resize(pixels, size)
    image = recolor(
        image,
        config,
        color_seed=seeds["color"],
        hue_seed=seeds["hue"],
        photometric_seed=seeds["photometric"],
    )
    image = degrade(image, config, seeds=seeds)
    whole = boxes
    boxes, visible = visible_boxes(boxes, size, config.min_visible)
    area = box_areas(boxes)
    if config.erase > 0 or config.grid_mask > 0:
        image, boxes, area = _hide(image, boxes, seeds, config, fill=preprocessing.mean_rgb)
        visible &= (area > 0.0) & (area >= config.min_visible * box_areas(whole))
    if affine.is_moving(config):
        drawn = affine.draw_affine(size, view.offset, config, seeds=seeds)
        image = affine.warp(image, drawn, canvas, preprocessing.mean_rgb)
        is_round = tf.logical_not(labels["ignore"]) & _is_whole(boxes, whole, size)
        is_round &= config.round_objects
        boxes, share = affine.move_boxes(boxes, drawn, canvas, is_round=is_round)
        visible &= (share > 0.0) & (area * share >= config.min_visible * box_areas(whole))
    else:
        image = preprocessing.pad(image, canvas, view.offset)
        boxes += tf.cast(tf.gather(view.offset, [1, 0, 1, 0]), tf.float32)
    keep = valid & visible
    labels = labels | {"boxes": boxes}
    return image, {name: tf.boolean_mask(values, keep) for name, values in labels.items()}


def _maybe_flip(pixels, boxes, size, seeds, config):
    for name, flip in (("flip", flip_horizontal), ("flip_vertical", flip_vertical)):
        if getattr(config, name) > 0:
            is_flipped = tf.random.stateless_uniform([], seeds[name]) < getattr(config, name)
            pixels, boxes = maybe(is_flipped, flip, pixels, boxes, size)
    return pixels, boxes


def _is_whole(boxes, whole, size):
    """Return (G,) bool: nothing was cut off the boxes `whole`, nor do they end with the image.

    An object of which a part is missing fills its box otherwise than a whole one.
    """
    limits = tf.cast(size[::-1], tf.float32)
    is_inside = (whole[:, :2] > BORDER) & (whole[:, 2:] < limits - BORDER)
    return tf.reduce_all(boxes == whole, axis=1) & tf.reduce_all(is_inside, axis=1)


def _hide(image, boxes, seeds, config, *, fill):
    """Return the image, what is seen of the boxes, and the areas (G,) that are."""
    area = box_areas(boxes)
    for name, hide in (("erase", erase), ("grid_mask", partial(mask_grid, color=fill))):
        if getattr(config, name) > 0:
            image, boxes, left = _maybe_hide(
                hide, image, boxes, probability=getattr(config, name), seed=seeds[name]
            )
            area = tf.minimum(area, left)
    return image, boxes, area


def _maybe_hide(hide, image, boxes, *, probability, seed):
    draw_seed, hide_seed = tf.unstack(tf.random.split(seed))
    return tf.cond(
        tf.random.stateless_uniform([], draw_seed) < probability,
        lambda: hide(image, boxes, hide_seed),
        lambda: (image, boxes, box_areas(boxes)),
    )
