"""Encoded pictures -> uint8 RGB arrays, and their sizes from the header alone.

EXIF rotation is not applied: boxes are annotated on the stored pixels, as COCO's are.
"""

import io
import os
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_retinanet.errors import UserError

# Pillow's own limit: a header that promises more is a decompression bomb.
MAX_PIXELS = 178_956_970
HEADER_THREADS = 8
_TF_FORMATS = {"JPEG": tf.io.decode_jpeg, "PNG": tf.io.decode_png, "BMP": tf.io.decode_bmp}


def image_size(source: str | os.PathLike[str] | bytes) -> tuple[int, int]:
    """Returns (height, width) in pixels, from the header of a picture file or of its bytes.

    Raises:
        UserError: it is no picture, is empty or has more than `MAX_PIXELS`; not readable.
    """
    return _header(source)[1]


def image_sizes(paths: Sequence[str]) -> list[tuple[int, int] | None]:
    """Returns the `image_size` of each file, read in threads; None where it has none."""

    def size_or_none(path: str) -> tuple[int, int] | None:
        try:
            return image_size(path)
        except UserError:
            return None

    with ThreadPool(HEADER_THREADS) as pool:
        return pool.map(size_or_none, paths, chunksize=64)


def decode_image(encoded: bytes) -> np.ndarray:
    """Returns the picture of an encoded file as uint8 RGB (H, W, 3); of a GIF the first frame.

    JPEG, PNG and BMP are decoded by TensorFlow, which leaves other threads running; what it
    refuses and all other formats by Pillow. Transparency is dropped, not blended.

    Raises:
        UserError: it cannot be decoded to the end, or has more than `MAX_PIXELS`.
    """
    kind, _ = _header(encoded)
    if kind in _TF_FORMATS:
        try:
            # Decoders run on the CPU; without this a GPU machine copies the result there and back.
            with tf.device("/CPU:0"):
                return _TF_FORMATS[kind](encoded, channels=3).numpy()
        except tf.errors.InvalidArgumentError:
            pass  # A variant TensorFlow does not know, or damaged: Pillow decides.
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's plugins raise whatever their format's parser raised.
        raise _not_a_picture(f"{len(encoded)} bytes", error) from error


def _header(source) -> tuple[str | None, tuple[int, int]]:
    """Returns (Pillow's name of the format, (height, width))."""
    shown = f"{len(source)} bytes" if isinstance(source, bytes) else f"file {source}"
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            width, height = image.size
            kind = image.format
    except Exception as error:
        raise _not_a_picture(shown, error) from error
    if width * height > MAX_PIXELS or width < 1 or height < 1:
        raise _not_a_picture(shown, f"{width} x {height} pixels")
    return kind, (height, width)


def _not_a_picture(shown: str, why: object) -> UserError:
    return UserError(
        f"Expected a whole picture (JPEG, PNG, BMP, GIF, WebP ...). Received: {shown} ({why}). "
        "Replace or remove the file."
    )
