"""JPEG -> uint8 RGB arrays by libjpeg-turbo, which says what is wrong with a damaged file.

Its warnings come back here, to be counted under the name of a file. TensorFlow's decoder prints
them, without one; so it is given only what is known to be sound.
"""

import contextlib
import io
from collections.abc import Callable

import numpy as np
import simplejpeg
import tensorflow as tf

from keras_retinanet.files.images.headers import MAX_PIXELS, READERS

# TensorFlow's default is a faster transform, a gray level off what Pillow, OpenCV and browsers
# decode: enough to move a score by .06. This one is theirs, to the bit, and here no slower.
DCT = "INTEGER_ACCURATE"
CUT_OFF, DAMAGED = "picture cut off", "picture damaged"
# Gets the kind of damage (of `problems.KINDS`) of an image, before its pixels are returned.
OnDamage = Callable[[str], object]
FOUR_COLORS = ("CMYK", "YCCK")
# What libjpeg warns of although every pixel is there.
_HARMLESS = ("JFIF", "SOS", "Adobe")
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
# Side of the largest block that a JPEG is coded in.
_BLOCK = 16


def may_be_cut_off(encoded: bytes) -> bool:
    """Return whether a JPEG has no marker of its end after its last scan."""
    return not encoded.endswith(_END) and encoded.rfind(_END) < encoded.rfind(_SCAN)


def is_damaged(encoded: bytes) -> bool:
    """Return whether a JPEG's data are damaged, cut off or not decodable at all."""
    try:
        simplejpeg.decode_jpeg(encoded, "GRAY", min_height=1, min_width=1)
    except ValueError as warning:
        return not _is_harmless(warning)
    return False


def decode_sound(encoded: bytes, on_damage: OnDamage | None = None) -> np.ndarray | None:
    """Return the image of a JPEG that is not cut off; None where Pillow must decide.

    Args:
        on_damage: called for a JPEG that lost or changed bytes in its middle. Its pixels are used
            as they decode.
    """
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(encoded)
        if height * width > MAX_PIXELS:
            return None  # Pillow read another header, of fewer pixels
        if colors in FOUR_COLORS and not is_damaged(encoded):
            # As the graph of a SavedModel does it, a gray level off libjpeg-turbo's own.
            with tf.device("/CPU:0"):  # else a GPU machine copies the result there and back
                return tf.io.decode_jpeg(encoded, channels=3, dct_method=DCT).numpy()
        return simplejpeg.decode_jpeg(encoded, "RGB")
    except tf.errors.InvalidArgumentError:
        return None  # a variant that it does not know
    except ValueError as warning:
        with contextlib.suppress(ValueError):
            found = simplejpeg.decode_jpeg(encoded, "RGB", strict=False)
            if on_damage is not None and not _is_harmless(warning):
                on_damage(DAMAGED)
            return found
    return None


def decode_start(encoded: bytes) -> np.ndarray | None:
    """Return the image of a JPEG that is cut off; None if none of its pixels is there.

    Pillow's switch for this adds the marker of the end too, but is one of the whole process.
    """
    try:
        with READERS["JPEG"](io.BytesIO(encoded + _END)) as image:
            with contextlib.suppress(OSError):  # where there is still too little
                image.load()
            image.tile = []  # what is decoded is all
            found = np.asarray(image.convert("RGB"))
    except Exception:  # Pillow's plugins raise whatever their format's parser raised.
        return None
    # The first block shows the marker's bits; where nothing came after it, all else is one gray.
    rest = (found[_BLOCK:], found[:_BLOCK, _BLOCK:])
    return found if any(part.size and (part != part[0, 0]).any() for part in rest) else None


def decode_scaled(encoded: bytes, size: np.ndarray) -> np.ndarray | None:
    """Return a sound JPEG scaled down to `size` (height, width) in its DCT; None: not possible.

    Args:
        size: of 1/2, 1/4 or 1/8 of its sides, rounded up.
    """
    height, width = size.tolist()
    try:
        found = simplejpeg.decode_jpeg(encoded, "RGB", min_height=height, min_width=width)
    except ValueError:
        return None
    return found if found.shape[:2] == (height, width) else None


def decode_crop(
    encoded: bytes, *, start: np.ndarray, size: np.ndarray, ratio: int
) -> np.ndarray | None:
    """Return a part of a sound JPEG, scaled down by `ratio`; None where TensorFlow refuses it.

    Args:
        start, size: (2,) int32 (height, width) in pixels of the scaled image.
        ratio: 1, 2, 4 or 8.
    """
    crop = np.concatenate([start, size])
    options = {"channels": 3, "ratio": ratio, "dct_method": DCT}
    try:
        with tf.device("/CPU:0"):
            return tf.io.decode_and_crop_jpeg(encoded, crop, **options).numpy()
    except tf.errors.InvalidArgumentError:
        return None


def _is_harmless(warning: ValueError) -> bool:
    return any(word in str(warning) for word in _HARMLESS)
