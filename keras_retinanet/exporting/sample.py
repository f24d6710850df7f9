"""Some images of a dataset, to calibrate and to check with."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from keras_retinanet.data.images.exif import turn_image
from keras_retinanet.data.records import Dataset
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import PictureError


@dataclass(frozen=True)
class Sample:
    """`count` images of `dataset`, evenly spread over it and decoded again in each pass.

    Iterating gives uint8 RGB (H, W, 3); images that cannot be read are skipped.
    """

    dataset: Dataset
    count: int

    def __iter__(self) -> Iterator[np.ndarray]:
        total = len(self.dataset.records)
        for index in np.linspace(0, total - 1, min(self.count, total)).astype(int).tolist():
            try:
                image = decode_image(self.dataset.read_bytes(index))
            except (PictureError, OSError):
                continue
            yield turn_image(image, self.dataset.records[index].orientation)
