"""Encoded images -> uint8 RGB arrays, and their sizes from the header alone.

EXIF rotation is not applied: boxes are annotated on the stored pixels, as COCO's are (`exif`).
"""

import io
import os
from collections.abc import Sequence
from functools import partial
from multiprocessing.pool import ThreadPool

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_retinanet.data.images.headers import (
    READERS,
    Header,
    PictureError,
    read_header,
    require_few_scans,
    unreadable,
)

HEADER_THREADS = 8
# TensorFlow's default is a faster transform, a gray level off what Pillow, OpenCV and browsers
# decode: enough to move a score by .06. This one is theirs, to the bit, and here no slower.
JPEG_DCT = "INTEGER_ACCURATE"
# TensorFlow's decoders leave other threads running. Not its BMP: it reads palettes as gray values.
_TF_FORMATS = {
    "JPEG": partial(tf.io.decode_jpeg, dct_method=JPEG_DCT),
    "PNG": tf.io.decode_png,
}


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


def decode_image(encoded: bytes, header: Header | None = None) -> np.ndarray:
    """Return the image of an encoded file as uint8 RGB (H, W, 3); of several the first.

    JPEG and PNG are decoded by TensorFlow, what it refuses and all other formats by Pillow.
    Transparency is dropped, not blended; of 16 bits the upper 8 are kept.

    Args:
        header: of `encoded`, where it is read already.

    Raises:
        PictureError: it cannot be decoded to the end, or has more than `MAX_PIXELS`.
    """
    header = header or read_header(encoded)
    require_few_scans(encoded, header)
    kind = header.kind
    if kind in _TF_FORMATS:
        try:
            # Decoders run on the CPU; without this a GPU machine copies the result there and back.
            with tf.device("/CPU:0"):
                return _TF_FORMATS[kind](encoded, channels=3).numpy()
        except tf.errors.InvalidArgumentError:
            pass  # A variant TensorFlow does not know, or damaged: Pillow decides.
    try:
        with READERS[kind](io.BytesIO(encoded)) as image:
            return as_rgb(image)
    except Exception as error:  # Pillow's plugins raise whatever their format's parser raised.
        raise unreadable(f"{len(encoded)} bytes", error) from error


def as_rgb(image: Image.Image) -> np.ndarray:
    """Return Pillow's image as uint8 RGB (H, W, 3), as `decode_image` does."""
    # Pillow warns of a palette's transparency that it drops, which is what is wanted here.
    image.info.pop("transparency", None)
    if image.mode.startswith("I;16"):
        # convert("RGB") would cut at 255.
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of 32 bits, Pillow's mode {image.mode}, without a known range")
    return np.asarray(image.convert("RGB"))
