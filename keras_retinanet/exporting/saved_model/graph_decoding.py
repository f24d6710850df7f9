"""Encoded images -> uint8 RGB inside a graph, as `files.images.decoding.decode_image` reads them.

Only operators that every TensorFlow from 2.3 on has; WebP is read where DecodeImage knows it.
"""

from functools import partial
from typing import Any

import tensorflow as tf

from keras_retinanet.files.images.headers import MAX_PIXELS
from keras_retinanet.files.images.image_formats import SIGNATURES
from keras_retinanet.files.images.jpegs import DCT

# What an image that cannot be read becomes.
NO_PICTURE = (1, 1, 3)
# As many first bytes as any format's size needs.
HEADER = 66
BMP_FILE_HEADER = 14
# Of a BMP: plain rows; rows with the places of the colors said, here only the usual ones.
BMP_PLAIN, BMP_MASKS = 0, 3
BMP_USUAL_MASKS = (0xFF0000, 0xFF00, 0xFF)


def read_picture(encoded):
    """Return (image (H, W, 3) uint8, whether it could be read) of a scalar string.

    Of several frames the first; transparency is dropped, not blended; of 16 bits the upper 8 are
    kept; EXIF rotation is not applied. A header that promises more than `MAX_PIXELS` is refused
    before anything is decoded; so are animated WebP, and BMP of less than 8 bits or compressed.
    """
    # Zeros behind a short file: its size is then 0, which is refused.
    header = tf.strings.join([tf.strings.substr(encoded, 0, HEADER), b"\0" * HEADER])
    decoders = {
        "JPEG": _read_jpeg,
        "PNG": _read_png,
        "BMP": _read_bmp,
        "GIF": _read_gif,
        "WEBP": _read_webp,
    }
    branches: list[Any] = [lambda: (tf.zeros(NO_PICTURE, tf.uint8), tf.constant(False))]
    kind = tf.constant(0)
    for start, name in SIGNATURES.items():
        if name not in decoders:
            continue
        has_start = tf.strings.substr(header, 0, len(start)) == start
        kind = tf.where(has_start, len(branches), kind)
        branches.append(partial(decoders[name], encoded, header))
    picture, is_read = tf.switch_case(kind, branches)
    return tf.ensure_shape(picture, [None, None, 3]), is_read


def _attempt(encoded, decode):
    """Return (image, True), or (a pixel, False) where `decode` raises.

    A graph cannot catch an operator's error, but a dataset of one image can drop it. TensorFlow
    optimizes `decode` at every call: the fewer operators it has, the faster.
    """
    dataset = tf.data.Dataset.from_tensors(encoded).map(decode).ignore_errors()
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options).reduce(
        (tf.zeros(NO_PICTURE, tf.uint8), tf.constant(False)),
        lambda _, picture: (picture, tf.constant(True)),
    )


def _bounded(encoded, size):
    """Return `encoded`, or "", which is no image, if its size (2,) is 0 or too large."""
    size = tf.cast(size, tf.int64)
    is_sane = tf.reduce_all(size > 0) & (size[0] * size[1] <= MAX_PIXELS)
    return tf.where(is_sane, encoded, b"")


def _numbers(header, place, count, dtype, *, big_endian=False):
    """Return `count` integers (count,) int64 from byte `place` of the header on."""
    part = tf.strings.substr(header, place, count * dtype.size)
    return tf.cast(tf.io.decode_raw(part, dtype, little_endian=not big_endian), tf.int64)


def _read_jpeg(encoded, _):
    def decode(encoded):
        size = tf.image.extract_jpeg_shape(encoded)[:2]
        return tf.io.decode_jpeg(_bounded(encoded, size), channels=3, dct_method=DCT)

    return _attempt(encoded, decode)


def _read_png(encoded, header):
    encoded = _bounded(encoded, _numbers(header, 16, 2, tf.int32, big_endian=True))
    return _attempt(encoded, lambda encoded: tf.io.decode_png(encoded, channels=3))


def _read_gif(encoded, header):
    def decode(encoded):
        return tf.io.decode_image(encoded, channels=3, expand_animations=False)

    return _attempt(_bounded(encoded, _numbers(header, 6, 2, tf.uint16)), decode)


def _read_webp(encoded, header):
    # Its first chunk says the size: with features (24 bits each), lossless (14 bits) or lossy.
    kind = tf.strings.substr(header, 12, 4)
    low, middle, high = (tf.unstack(_numbers(header, 24 + i, 2, tf.uint8), 2) for i in (0, 2, 4))
    featured = tf.stack([low[0] + 256 * low[1] + 65536 * middle[0],
                         middle[1] + 256 * high[0] + 65536 * high[1]]) + 1  # fmt: skip
    (bits,) = tf.unstack(_numbers(header, 21, 1, tf.int32), 1)
    lossless = tf.stack([bits, bits // 2**14]) % 2**14 + 1
    lossy = _numbers(header, 26, 2, tf.uint16) % 2**14
    size = tf.where(kind == b"VP8L", lossless, tf.where(kind == b"VP8X", featured, lossy))
    # This decoder refuses to drop the fourth channel itself.
    flags = _numbers(header, 20, 1, tf.uint8)[0]
    is_animated = (kind == b"VP8X") & (flags // 2 % 2 == 1)
    # TensorFlow 2.21 writes past its memory where it decodes the first frame of several.
    encoded = tf.where(is_animated, b"", _bounded(encoded, size))

    def decode(encoded):
        # This decoder refuses to drop the fourth channel itself.
        picture = tf.io.decode_image(encoded, expand_animations=False)
        return tf.ensure_shape(picture, [None, None, None])[..., :3]

    return _attempt(encoded, decode)


def _read_bmp(encoded, header):
    """Of 24, 32 or 8 bits a pixel, not compressed; TensorFlow's own takes palettes for gray."""
    start, more = tf.unstack(_numbers(header, 10, 2, tf.int32), 2)
    start = tf.maximum(start, BMP_FILE_HEADER)  # so that nothing can be read of ""
    width, height = tf.unstack(_numbers(header, 18, 2, tf.int32), 2)
    bits, form = _numbers(header, 28, 1, tf.uint16)[0], _numbers(header, 30, 1, tf.int32)[0]
    masks = _numbers(header, 54, 3, tf.int32)
    has_usual_masks = (form == BMP_MASKS) & (bits == 32) & tf.reduce_all(masks == BMP_USUAL_MASKS)
    is_known = ((bits == 24) | (bits == 32) | (bits == 8)) & ((form == BMP_PLAIN) | has_usual_masks)
    rows, channels = tf.abs(height), bits // 8
    row_bytes = width * channels
    encoded = tf.where(is_known, _bounded(encoded, tf.stack([rows, width])), b"")

    def decode(encoded):
        stride = -(-row_bytes // 4) * 4
        pixels = tf.io.decode_raw(tf.strings.substr(encoded, start, stride * rows), tf.uint8)
        pixels = tf.reshape(pixels, tf.stack([rows, stride]))[:, :row_bytes]
        pixels = tf.reshape(pixels, tf.stack([rows, width, channels]))
        pixels = tf.where(height > 0, pixels[::-1], pixels)  # from the bottom up, as a rule

        def colored():
            place = BMP_FILE_HEADER + more
            palette = tf.io.decode_raw(tf.strings.substr(encoded, place, start - place), tf.uint8)
            return tf.gather(tf.reshape(palette, [-1, 4]), tf.cast(pixels[..., 0], tf.int32))

        return tf.cond(bits == 8, colored, lambda: pixels)[..., 2::-1]  # blue comes first

    return _attempt(encoded, decode)
