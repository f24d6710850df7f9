"""The part of an encoded image that will be seen, and no more of it than must be decoded.

A JPEG is cropped before it is decoded, and scaled down by 2, 4 or 8 in its DCT where what is wanted
is that much smaller: fewer pixels are made, and none of them is seen twice.
"""

from typing import NamedTuple

import numpy as np

from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import Header, require_few_scans
from keras_retinanet.files.images.jpegs import (
    OnDamage,
    decode_crop,
    decode_scaled,
    is_damaged,
    may_be_cut_off,
)

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
    is_sound: bool = False,
    on_damage: OnDamage | None = None,
) -> Window:
    """Decode at least the window `start`, `length` of an image, at no less than `size` pixels.

    Args:
        header: of `encoded`.
        start, length: (2,) int32 (height, width) in pixels of the stored image.
        size: (2,) int32 (height, width), what the window will be resized to.
        is_sound: whether an earlier call did not find it damaged; it is not looked for again.
        on_damage: as of `decode_image`.

    Raises:
        PictureError: it cannot be decoded.
    """
    ratio = next((ratio for ratio in RATIOS if (length >= ratio * size).all()), 1)
    whole = np.array([header.height, header.width], np.int32)
    is_cropped = bool((length < whole).any())
    if header.kind == "JPEG" and (ratio > 1 or is_cropped) and not may_be_cut_off(encoded):
        require_few_scans(encoded, header)
        if is_sound or not is_damaged(encoded):
            window = _decode_part(encoded, whole, start=start, length=length, ratio=ratio)
            if window is not None:
                return window
    pixels = decode_image(encoded, header, on_damage=on_damage)
    (top, left), (bottom, right) = start, start + length
    return Window(pixels[top:bottom, left:right], start, length)


def _decode_part(
    encoded: bytes, whole: np.ndarray, *, start: np.ndarray, length: np.ndarray, ratio: int
) -> Window | None:
    """Return the window of a sound JPEG on the grid of `ratio`; None where that is not possible."""
    first = start // ratio
    size = -(-(start + length) // ratio) - first
    if (length < whole).any():
        pixels = decode_crop(encoded, start=first, size=size, ratio=ratio)
    else:
        pixels = decode_scaled(encoded, size)
    return None if pixels is None else Window(pixels, first * ratio, size * ratio)
