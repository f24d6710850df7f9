"""Encoded images -> uint8 RGB arrays, and their sizes from the header alone.

EXIF rotation is not applied: boxes are annotated on the stored pixels, as COCO's are (`exif`).
"""

import io
import os
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_retinanet.files.images import jpegs
from keras_retinanet.files.images.headers import (
    READERS,
    Header,
    PictureError,
    read_header,
    require_few_scans,
    unreadable,
)
from keras_retinanet.files.images.jpegs import OnDamage

HEADER_THREADS = 8


def image_size(source: str | os.PathLike[str] | bytes) -> tuple[int, int]:
    """Return (height, width) in pixels, from the header of an image file or of its bytes.

    Raises:
        PictureError: it is no image, is empty or has more than `MAX_PIXELS`; not readable.
    """
    header = read_header(source)
    return header.height, header.width


def image_sizes(paths: Sequence[str]) -> list[tuple[int, int] | str]:
    """Return the `image_size` of each file, or the kind of its problem; reads in threads."""

    def size_or_fault(path: str) -> tuple[int, int] | str:
        try:
            return image_size(path)
        except PictureError as error:
            return error.kind

    with ThreadPool(HEADER_THREADS) as pool:
        return pool.map(size_or_fault, paths, chunksize=64)


def decode_image(
    encoded: bytes, header: Header | None = None, *, on_damage: OnDamage | None = None
) -> np.ndarray:
    """Return the image of an encoded file as uint8 RGB (H, W, 3); of several the first.

    JPEG is decoded by libjpeg-turbo and PNG by TensorFlow, what they refuse and all other formats
    by Pillow. Transparency is dropped, not blended; of 16 bits the upper 8 are kept. A JPEG that is
    cut off has the pixels that Pillow gives with LOAD_TRUNCATED_IMAGES: gray from there on.

    Args:
        header: of `encoded`, where it is read already.
        on_damage: called for a JPEG that is cut off or damaged, before its pixels are returned.

    Raises:
        PictureError: it cannot be decoded, or has more than `MAX_PIXELS`. Formats other than JPEG
            must be whole.
    """
    header = header or read_header(encoded)
    require_few_scans(encoded, header)
    is_cut = header.kind == "JPEG" and jpegs.may_be_cut_off(encoded)
    found = None
    if header.kind == "JPEG" and not is_cut:
        found = jpegs.decode_sound(encoded, on_damage)
    elif header.kind == "PNG":
        found = _decode_png(encoded)
    if found is not None:
        return found
    try:
        with READERS[header.kind](io.BytesIO(encoded)) as image:
            return as_rgb(image)
    except Exception as error:  # Pillow's plugins raise whatever their format's parser raised.
        found = jpegs.decode_start(encoded) if is_cut else None
        if found is None:
            raise unreadable(f"{len(encoded)} bytes", error) from error
    if on_damage is not None:
        on_damage(jpegs.CUT_OFF)
    return found


def _decode_png(encoded: bytes) -> np.ndarray | None:
    """Return the image of a PNG; None for a damaged one, and variants TensorFlow does not know."""
    try:
        with tf.device("/CPU:0"):  # else a GPU machine copies the result there and back
            return tf.io.decode_png(encoded, channels=3).numpy()
    except tf.errors.InvalidArgumentError:
        return None


def as_rgb(image: Image.Image) -> np.ndarray:
    """Return an image of Pillow as uint8 RGB (H, W, 3), as `decode_image` does."""
    # Pillow warns of a palette's transparency that it drops, which is what is wanted here.
    image.info.pop("transparency", None)
    if image.mode.startswith("I;16"):
        # convert("RGB") would cut at 255.
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of 32 bits, Pillow's mode {image.mode}, without a known range")
    return np.asarray(image.convert("RGB"))
