"""One class for engines that detect in millions of images: Ray Data, Beam, Spark.

Such an engine makes one object in each of its processes and calls it with batches; see
docs/batch.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.exported import load_detector
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.inference.batching import bounded_batches
from keras_retinanet.inference.rasters import pixels
from keras_retinanet.modeling.detecting import OneImage, image_arrays
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.tiling import with_own_tiles

# Columns that hold images, the first that a batch has is read.
IMAGE_COLUMNS = ("image", "bytes", "path")
# What is dropped from the result: it is large, and lies where it came from.
PIXEL_COLUMNS = ("image", "bytes")
# The columns of the result.
ROW_COLUMNS = ("height", "width", "boxes", "scores", "class_ids", "names", "error")


class Detector:
    """A model file that is called with batches of images and gives rows of plain values.

    Pickled, it is its arguments: the process that unpickles it reads the model file again. An
    image that cannot be read costs its row an error, never the batch.

    Args:
        model: a `.keras` file or an exported one (`load_exported`). One that is
            configured for tiles detects in tiles.
        batch_size: the most images that the model is given at a time.
        threshold: minimum score of a detection; 0: all that the model gives.
        trust: as `load_detector` takes it.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        batch_size: int = 8,
        threshold: float = 0.0,
        trust: bool = False,
    ):
        self._arguments: dict[str, Any] = {
            "batch_size": batch_size,
            "threshold": threshold,
            "trust": trust,
        }
        self._path, self._batch_size, self._threshold = str(model), batch_size, threshold
        self._model: Any = with_own_tiles(load_detector(model, trust=trust))

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Detector, self._path, **self._arguments), ()

    @property
    def class_names(self) -> list[str]:
        """The names of the model's classes."""
        return list(self._model.class_names)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Detect in a batch of columns.

        Args:
            batch: columns of one length, among them `image` (uint8 RGB arrays), `bytes` (encoded
                images) or `path` (files); of several the first of these is read.

        Returns:
            The columns of `batch` without pixels, then those of `rows`, each a list.

        Raises:
            ValueError: there is no such column.
        """
        source = next((name for name in IMAGE_COLUMNS if name in batch), None)
        if source is None:
            raise ValueError(
                f"Expected a batch with a column of {', '.join(IMAGE_COLUMNS)}. Received: "
                f"{', '.join(batch) or 'none'}. Rename the one that holds the images."
            )
        rows = self.rows(batch[source])
        kept = {name: column for name, column in batch.items() if name not in PIXEL_COLUMNS}
        return kept | {name: [row[name] for row in rows] for name in ROW_COLUMNS}

    def rows(self, images: Iterable[OneImage | bytes]) -> list[dict[str, Any]]:
        """Detect in images: paths, encoded bytes, uint8 RGB arrays (H, W, 3) or Pillow's images.

        Returns:
            A row for each image, in their order: `height`, `width`; `boxes` (N, 4) float32 xyxy
            pixels, `scores` (N,) float32, `class_ids` (N,) int64 of the data set, `names`, N
            strings; `error`, None or why the image could not be read, which then has no size.

        Raises:
            ValueError: an array is not an image.
        """
        rows: list[dict[str, Any]] = []
        readable = self._readable(images, rows)
        for batch in bounded_batches(readable, self._batch_size, lambda item: pixels(item[1])):
            found = self._model.detect([image for _, image in batch], batch_size=self._batch_size)
            for (row, image), detections in zip(batch, found, strict=True):
                row |= self._columns(detections.with_score(self._threshold))
                row["height"], row["width"] = image.shape[:2]
        return rows

    def _readable(
        self, images: Iterable[OneImage | bytes], rows: list[dict[str, Any]]
    ) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        """Add a row for each image; yield those that can be read, with their pixels."""
        nothing = Detections(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), []
        )
        for image in images:
            rows.append({"height": 0, "width": 0, **self._columns(nothing), "error": None})
            try:
                if isinstance(image, bytes):
                    decoded = decode_image(image)
                else:
                    decoded = next(image_arrays([image]))
            except (UserError, OSError) as error:
                rows[-1]["error"] = str(error)
                continue
            yield rows[-1], decoded

    def _columns(self, found: Detections) -> dict[str, Any]:
        ids = np.asarray(self._model.class_ids, np.int64)
        return {
            "boxes": np.asarray(found.boxes, np.float32).reshape(-1, 4),
            "scores": np.asarray(found.scores, np.float32),
            "class_ids": ids[found.classes],
            "names": found.names,
        }
