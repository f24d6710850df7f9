"""What cameras and files do to an image: blur, noise and JPEG artifacts, in this order."""

import math

import tensorflow as tf

from keras_retinanet.config import AugmentConfig

# A Gaussian kernel ends after this many standard deviations, which hold 99.7 % of it.
KERNEL_REACH = 3.0
LEAST_SIGMA = 1e-3


def degrade(image, config: AugmentConfig, *, seeds):
    """Make all changes of quality of `config` to `image` (h, w, 3) float32 0..255.

    The strength of each is drawn between nothing and its maximum.

    Args:
        seeds: {"blur", "noise", "jpeg": (2,) int32}.
    """
    if config.blur > 0:
        sigma = tf.random.stateless_uniform([], seeds["blur"], 0.0, config.blur)
        image = blur(image, sigma, radius=math.ceil(KERNEL_REACH * config.blur))
    if config.noise > 0:
        strength_seed, value_seed = tf.unstack(tf.random.split(seeds["noise"]))
        sigma = tf.random.stateless_uniform([], strength_seed, 0.0, 255.0 * config.noise)
        noise = tf.random.stateless_normal(tf.shape(image), value_seed, stddev=sigma)
        image = tf.clip_by_value(image + noise, 0.0, 255.0)
    if config.jpeg > 0:
        loss = tf.random.stateless_uniform([], seeds["jpeg"], 0.0, config.jpeg)
        image = compress(image, tf.cast(tf.round(100.0 * (1.0 - loss)), tf.int32))
    return image


def blur(image, sigma, *, radius: int):
    """Blur `image` (h, w, 3) by a Gaussian of standard deviation `sigma` () in pixels.

    The image ends at its border: a pixel there is the mean of those of the kernel that exist.

    Args:
        radius: of the kernel, in pixels.
    """
    places = tf.range(-float(radius), radius + 1.0)
    kernel = tf.exp(-0.5 * (places / tf.maximum(sigma, LEAST_SIGMA)) ** 2)
    for axis, shape in ((0, [-1, 1, 1, 1]), (1, [1, -1, 1, 1])):
        weights = tf.reshape(kernel, shape)
        along = tf.ones_like(image[:, :1, :1] if axis == 0 else image[:1, :, :1])
        total = _convolve(along, weights)
        image = _convolve(image, tf.tile(weights, [1, 1, 3, 1])) / total
    return image


def compress(image, quality):
    """Return `image` (h, w, 3) float32 0..255 after JPEG of `quality` () int32, 1..100."""
    pixels = tf.cast(tf.round(image), tf.uint8)
    quality = tf.clip_by_value(quality, 1, 100)
    encoded = tf.raw_ops.EncodeJpegVariableQuality(images=pixels, quality=quality)
    decoded = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.cast(decoded, tf.float32)


def _convolve(image, kernel):
    """Filter each channel of `image` (h, w, c) by `kernel` (kh, kw, c, 1), zeros around it."""
    return tf.nn.depthwise_conv2d(image[None], kernel, [1, 1, 1, 1], "SAME")[0]
