"""Random colors: every change is one affine map of RGB, so all that are drawn cost one pass.

A map is a (4, 3) float32 matrix: (r, g, b, 1) @ matrix is the new (r, g, b). Maps follow one
another as matrices multiply; values are clipped to 0..255 once, at the end.
"""

import math

import numpy as np
import tensorflow as tf

from keras_retinanet.config import AugmentConfig

# ITU-R BT.601: how much each of R, G, B adds to the gray that contrast and saturation blend with.
GREY_WEIGHTS = (0.299, 0.587, 0.114)
# (r, g, b) @ RGB_TO_YIQ: gray and two axes of color (FCC, 1953). Hue turns in their plane.
RGB_TO_YIQ = np.array(
    [[0.299, 0.5959, 0.2115], [0.587, -0.2746, -0.5227], [0.114, -0.3213, 0.3112]], np.float32
)
YIQ_TO_RGB = np.linalg.inv(RGB_TO_YIQ)
# SSD (Liu et al. 2016) in its released recipe: each change is made with this probability.
SSD_PROBABILITY = 0.5
SSD_BRIGHTNESS = 32.0
SSD_FACTORS = (0.5, 1.5)
SSD_HUE = 18.0 / 360.0


def jitter_color(image, fraction, seed):
    """Change brightness, contrast and saturation of `image` (h, w, 3) float32 0..255.

    Each by a factor drawn from 1 - fraction .. 1 + fraction; the result is clipped to 0..255.
    """
    return apply_map(image, _jitter(image, fraction, seed))


def turn_hue(image, fraction, seed):
    """Turn the hue of `image` (h, w, 3) float32 0..255 by up to `fraction` of the circle.

    Around the gray axis, in YIQ: grays stay as they are, and every pixel keeps its gray.
    """
    turn = tf.random.stateless_uniform([], seed, -fraction, fraction)
    return apply_map(image, _hue(turn))


def distort_photometric(image, seed):
    """Distort the colors of `image` (h, w, 3) float32 0..255 as SSD does.

    Brightness, contrast, saturation and hue are each changed half the time. Where SSD clips after
    each of them this clips once, so that its two orders (contrast early or late) are the same.
    """
    return apply_map(image, _ssd(seed))


def recolor(image, config: AugmentConfig, *, color_seed, hue_seed, photometric_seed):
    """Make all color changes of `config` to `image` (h, w, 3) float32 0..255, in one pass."""
    color = tf.eye(4, 3)
    if config.color > 0:
        color = _jitter(image, config.color, color_seed)
    if config.hue > 0:
        turn = tf.random.stateless_uniform([], hue_seed, -config.hue, config.hue)
        color = _then(color, _hue(turn))
    is_always = config.color > 0 or config.hue > 0
    if config.photometric == 0:
        return apply_map(image, color) if is_always else image
    draw_seed, ssd_seed = tf.unstack(tf.random.split(photometric_seed))
    is_drawn = tf.random.stateless_uniform([], draw_seed) < config.photometric
    color = tf.where(is_drawn, _then(color, _ssd(ssd_seed)), color)
    return tf.cond(is_drawn | is_always, lambda: apply_map(image, color), lambda: image)


def apply_map(image, color):
    """Return `image` (h, w, 3) float32 after the map `color` (4, 3), clipped to 0..255."""
    # A 1 x 1 convolution with a bias is the fastest of the forms measured.
    mapped = tf.nn.conv2d(image[None], color[None, None, :3], 1, "VALID")
    return tf.clip_by_value(tf.nn.bias_add(mapped, color[3])[0], 0.0, 255.0)


def _then(first, second):
    """Return the map that is `first`, then `second`."""
    return tf.concat([first[:3] @ second[:3], first[3:] @ second[:3] + second[3:]], axis=0)


def _linear(matrix):
    return tf.concat([matrix, tf.zeros([1, 3])], axis=0)


def _saturation(factor):
    to_grey = tf.tile(tf.constant(GREY_WEIGHTS)[:, None], [1, 3])
    return factor * tf.eye(3) + (1.0 - factor) * to_grey


def _hue(turn):
    cos, sin = tf.cos(2.0 * math.pi * turn), tf.sin(2.0 * math.pi * turn)
    rotation = tf.stack([[1.0, 0.0, 0.0], [0.0, cos, sin], [0.0, -sin, cos]])
    return _linear(tf.constant(RGB_TO_YIQ) @ rotation @ tf.constant(YIQ_TO_RGB))


def _jitter(image, fraction, seed):
    draws = tf.random.stateless_uniform([3], seed, 1.0 - fraction, 1.0 + fraction)
    brightness, contrast, saturation = tf.unstack(draws)
    # Rows first: three times as fast as both axes at once.
    mean = tf.reduce_mean(tf.reduce_mean(image, axis=0), axis=0)
    grey = brightness * tf.tensordot(mean, tf.constant(GREY_WEIGHTS), 1)
    # Both blend with a gray: saturation with that of the pixel, contrast with that of the image.
    shift = tf.fill([1, 3], (1.0 - contrast) * grey)
    return tf.concat([brightness * contrast * _saturation(saturation), shift], axis=0)


def _ssd(seed):
    choice_seed, value_seed = tf.unstack(tf.random.split(seed))
    chosen = tf.random.stateless_uniform([4], choice_seed) < SSD_PROBABILITY
    draws = tf.random.stateless_uniform([4], value_seed)
    factors = SSD_FACTORS[0] + draws[:2] * (SSD_FACTORS[1] - SSD_FACTORS[0])
    contrast, saturation = tf.unstack(tf.where(chosen[:2], factors, 1.0))
    hue = tf.where(chosen[2], (2.0 * draws[2] - 1.0) * SSD_HUE, 0.0)
    brightness = tf.where(chosen[3], (2.0 * draws[3] - 1.0) * SSD_BRIGHTNESS, 0.0)
    brightened = tf.concat([tf.eye(3), tf.fill([1, 3], brightness)], axis=0)
    return _then(_then(brightened, _linear(contrast * _saturation(saturation))), _hue(hue))
