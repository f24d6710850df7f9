"""EXIF orientation: a camera stores the pixels as its sensor had them, and how to turn them.

Training, prediction and exports use the stored pixels unless `data.exif` is "apply".
Orientations 1..8 are those of the tag 0x0112 (CIPA DC-008, 4.6.4): 1 means none.
"""

import os
import struct
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.pool import ThreadPool

import numpy as np

from keras_retinanet.data.images.decoding import HEADER_THREADS
from keras_retinanet.data.images.headers import PictureError, read_header
from keras_retinanet.data.records import Dataset, Record

_TAG = 0x0112
_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
# Types of a TIFF field: SHORT, as the standard has it, and those that some writers take.
_TYPES = {1: "B", 3: "H", 4: "I"}
# Orientation -> (swap height and width first, then flip upside down, then left to right).
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def orientation(source: str | os.PathLike[str] | bytes) -> int:
    """Return the EXIF orientation 1..8 of an image file or of its bytes; 1 if it states none.

    Malformed EXIF states none. Neither does a TIFF, which is always turned when it is decoded.

    Raises:
        PictureError: it is no image.
    """
    return _parse(read_header(source).exif)


def _parse(exif: bytes) -> int:
    try:
        order = _BYTE_ORDERS[exif[:2]]
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for field in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", exif, field)
            if tag == _TAG:
                (value,) = struct.unpack_from(order + _TYPES[kind], exif, field + 8)
                return value if value in _TURNS else 1
    except (KeyError, struct.error):
        pass
    return 1


def turn_image(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return an image (H, W, C) as it is meant to be seen; (W, H, C) for orientations 5 to 8."""
    swap, upside_down, mirrored = _TURNS[orientation]
    if swap:
        image = image.swapaxes(0, 1)
    if upside_down:
        image = image[::-1]
    if mirrored:
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def turn_boxes(boxes: np.ndarray, orientation: int, height: int, width: int) -> np.ndarray:
    """Return boxes (N, 4) xyxy of the stored image as boxes of the turned one.

    Args:
        height, width: of the stored image, in pixels.
    """
    swap, upside_down, mirrored = _TURNS[orientation]
    if swap:
        boxes, height, width = boxes[:, [1, 0, 3, 2]], width, height
    x1, y1, x2, y2 = boxes.T
    if upside_down:
        y1, y2 = height - y2, height - y1
    if mirrored:
        x1, x2 = width - x2, width - x1
    return np.stack([x1, y1, x2, y2], axis=1)


def apply_exif(dataset: Dataset) -> Dataset:
    """Return `dataset` with its records turned as their images' EXIF says.

    Boxes and sizes are turned here; whoever decodes turns the pixels by `Record.orientation`.
    Reads the header of every image, in threads. One that cannot be read stays as it is: the
    reading of its pixels counts it.
    """
    found = _orientations(dataset)
    pairs = zip(dataset.records, found, strict=True)
    records = [_turned(record, value) if value != 1 else record for record, value in pairs]
    return replace(dataset, records=records)


def _orientations(dataset: Dataset) -> Sequence[int]:
    def read(index: int) -> int:
        image = dataset.records[index].image
        whole_file = image.offset == 0 and image.length == -1
        try:
            return orientation(image.path if whole_file else dataset.read_bytes(index))
        except (PictureError, OSError):
            return 1

    with ThreadPool(HEADER_THREADS) as pool:
        return pool.map(read, range(len(dataset.records)), chunksize=64)


def _turned(record: Record, orientation: int) -> Record:
    swap = _TURNS[orientation][0]
    return replace(
        record,
        height=record.width if swap else record.height,
        width=record.height if swap else record.width,
        boxes=turn_boxes(record.boxes, orientation, record.height, record.width),
        orientation=orientation,
    )
