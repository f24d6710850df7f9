"""Images of a batch, of which one may be a raster that is read in parts."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_retinanet.data.images.rasters import Raster
from keras_retinanet.files.images.headers import PictureError
from keras_retinanet.inference.batching import BATCH_PIXELS
from keras_retinanet.modeling.detections import Detections


def pixels(image: np.ndarray | Raster) -> int:
    """Return what an image counts in `bounded_batches`; a raster ends its batch."""
    return image.size // 3 if isinstance(image, np.ndarray) else BATCH_PIXELS


def detect_each(
    model: Any, images: Sequence[np.ndarray | Raster], *, batch_size: int
) -> Iterator[Detections | PictureError]:
    """Yield the detections in each image, or the error of a raster that is damaged.

    Args:
        model: a `Tiled` detector where there is a raster.
        images: uint8 RGB (H, W, 3); rasters come last.
    """
    decoded = [image for image in images if isinstance(image, np.ndarray)]
    if decoded:
        yield from model.detect(decoded, batch_size=batch_size)
    for image in images:
        if not isinstance(image, np.ndarray):
            try:
                yield model.detect_raster(image, batch_size=batch_size)
            except PictureError as error:
                yield error


def as_drawn(image: np.ndarray | Raster, found: Detections) -> tuple[np.ndarray, Detections]:
    """Return an image and its detections as they are drawn: a raster as its reduced copy."""
    if isinstance(image, np.ndarray):
        return image, found
    copy, factor = image.reduced()
    return copy, dataclasses.replace(found, boxes=found.boxes / np.float32(factor))
