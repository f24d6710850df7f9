"""The part of an encoded image that will be seen, and no more of it than must be decoded.

A JPEG is cropped before it is decoded, and scaled down by 2, 4 or 8 in its DCT where what is wanted
is that much smaller: fewer pixels are made, and none of them is seen twice.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_retinanet.files.images.decoding import JPEG_DCT, decode_image, may_be_cut_off
from keras_retinanet.files.images.headers import Header, require_few_scans

# By which a JPEG's 8 x 8 blocks can be scaled down while they are decoded; the largest first.
RATIOS = (8, 4, 2)


class Window(NamedTuple):
    """A decoded part of an image.

    Attributes:
        pixels: (h, w, 3) uint8 RGB; fewer than `length` where they were scaled down.
        start, length: (2,) int32 (height, width): the part of the stored image that they show.
            It may pass the image's end by a few pixels, up to a whole block of the scaling.
    """

    pixels: np.ndarray
    start: np.ndarray
    length: np.ndarray


def decode_window(
    encoded: bytes,
    header: Header,
    *,
    start: np.ndarray,
    length: np.ndarray,
    size: np.ndarray,
    on_cut: Callable[[], object] | None = None,
) -> Window:
    """Decode at least the window `start`, `length` of an image, at no less than `size` pixels.

    Args:
        header: of `encoded`.
        start, length: (2,) int32 (height, width) in pixels of the stored image.
        size: (2,) int32 (height, width), what the window will be resized to.
        on_cut: as of `decode_image`.

    Raises:
        PictureError: it cannot be decoded.
    """
    ratio = next((ratio for ratio in RATIOS if (length >= ratio * size).all()), 1)
    whole = np.array([header.height, header.width], np.int32)
    is_cropped = bool((length < whole).any())
    is_jpeg = header.kind == "JPEG" and not may_be_cut_off(encoded, header)
    if is_jpeg and (ratio > 1 or is_cropped):
        require_few_scans(encoded, header)
        window = _decode_jpeg(encoded, whole, start=start, length=length, ratio=ratio)
        if window is not None:
            return window
    pixels = decode_image(encoded, header, on_cut=on_cut)
    (top, left), (bottom, right) = start, start + length
    return Window(pixels[top:bottom, left:right], start, length)


def _decode_jpeg(
    encoded: bytes, whole: np.ndarray, *, start: np.ndarray, length: np.ndarray, ratio: int
) -> Window | None:
    """Return the window on the grid of `ratio`; None where TensorFlow refuses the image."""
    first = start // ratio
    count = -(-(start + length) // ratio) - first
    options = {"channels": 3, "ratio": ratio, "dct_method": JPEG_DCT}
    try:
        with tf.device("/CPU:0"):
            if (length < whole).any():
                crop = np.concatenate([first, count])
                pixels = tf.io.decode_and_crop_jpeg(encoded, crop, **options)
            else:
                pixels = tf.io.decode_jpeg(encoded, **options)
    except tf.errors.InvalidArgumentError:
        return None
    return Window(pixels.numpy(), first * ratio, count * ratio)
