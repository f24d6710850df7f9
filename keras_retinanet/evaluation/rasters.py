"""Images of a data set that are too large to decode, which a tiled detector reads in parts."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np

from keras_retinanet.data.images.exif import turn_image
from keras_retinanet.data.images.rasters import Raster, open_raster, raster_size
from keras_retinanet.data.records import Dataset, Record
from keras_retinanet.files.images import headers
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import PictureError
from keras_retinanet.modeling.detecting import DetectedBatch
from keras_retinanet.modeling.tiling import Tiled


@contextlib.contextmanager
def opened_image(dataset: Dataset, index: int) -> Iterator[np.ndarray | Raster]:
    """Give the image of a record as boxes see it: uint8 RGB (H, W, 3), or a raster.

    Raises:
        PictureError, OSError: it cannot be read.
    """
    record = dataset.records[index]
    if _is_raster(record):
        with contextlib.closing(cast(Raster, open_raster(record.image.path))) as raster:
            yield raster
    else:
        yield turn_image(decode_image(dataset.read_bytes(index)), record.orientation)


def raster_rows(dataset: Dataset) -> list[int]:
    """Return the indices of the records whose images are read in parts."""
    return [index for index, record in enumerate(dataset.records) if _is_raster(record)]


def detect_rasters(
    model: Tiled, dataset: Dataset, rows: Sequence[int], *, batch_size: int
) -> Iterator[DetectedBatch]:
    """Yield the detections in the images `rows` of a dataset, a batch each.

    Args:
        batch_size: tiles at once.
    """
    for index in rows:
        record = dataset.records[index]
        try:
            with opened_image(dataset, index) as raster:
                begin = time.perf_counter()
                found = model.detect_raster(cast(Raster, raster), batch_size=batch_size)
                milliseconds = 1000 * (time.perf_counter() - begin)
        except (PictureError, OSError) as error:
            dataset.problems.note(getattr(error, "kind", headers.UNREADABLE), record.file_name)
            yield DetectedBatch((), None, [(index, None)])
        else:
            yield DetectedBatch((record.height, record.width, 3), milliseconds, [(index, found)])


def _is_raster(record: Record) -> bool:
    is_large = record.height * record.width > headers.MAX_PIXELS
    return is_large and raster_size(record.image.path) is not None
