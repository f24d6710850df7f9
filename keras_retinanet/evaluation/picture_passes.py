"""An exported file over a data set: pictures go in as it takes them, and it is timed alone."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from keras_retinanet.data.images.decoding import decode_image
from keras_retinanet.data.images.exif import turn_image
from keras_retinanet.data.images.headers import PictureError
from keras_retinanet.data.records import Dataset
from keras_retinanet.modeling.detections import Detections


@runtime_checkable
class PictureDetector(Protocol):
    """What the evaluation asks of an exported file (`exporting.exported.ExportedDetector`)."""

    class_names: list[str]
    takes_batches: bool

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """Returns what the file takes for a uint8 RGB picture, and the picture's size in it."""

    def infer(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the file's outputs for a batch of what `prepare` gave."""

    def finish(
        self, outputs: dict[str, Any], row: int, size: Any, original_size: Any
    ) -> Detections:
        """Returns what was found in one picture of a batch, in that picture's pixels."""


class Pass(NamedTuple):
    """What one batch gave.

    Attributes:
        shape: of the input; the first batch of a shape may trace a graph.
        milliseconds: per picture; None: nothing was run.
        found: of each picture the index of its record and its detections; None: not readable.
    """

    shape: tuple[int, ...]
    milliseconds: float | None
    found: list[tuple[int, Detections | None]]


class Prepared(NamedTuple):
    """A picture that waits for its batch: its record, and its size after and before `prepare`."""

    record: int
    inputs: np.ndarray
    size: tuple[int, int]
    original_size: tuple[int, ...]


def picture_passes(model: PictureDetector, dataset: Dataset, batch_size: int) -> Iterator[Pass]:
    """Gives a pass for each run of pictures of one input shape, in the order of the records.

    Args:
        batch_size: the most pictures at a time, where the file takes more than one.
    """
    most = batch_size if model.takes_batches else 1
    waiting: list[Prepared] = []
    for index in range(len(dataset.records)):
        image = _read(dataset, index)
        if image is None:
            yield Pass((), None, [(index, None)])
            continue
        prepared = Prepared(index, *model.prepare(image), image.shape[:2])
        if waiting and (len(waiting) == most or waiting[0].inputs.shape != prepared.inputs.shape):
            yield _run(model, waiting)
            waiting = []
        waiting.append(prepared)
    if waiting:
        yield _run(model, waiting)


def _run(model: PictureDetector, waiting: list[Prepared]) -> Pass:
    inputs = np.stack([picture.inputs for picture in waiting])
    begin = time.perf_counter()
    outputs = model.infer(inputs)
    milliseconds = 1000 * (time.perf_counter() - begin) / len(waiting)
    found: list[tuple[int, Detections | None]] = [
        (picture.record, model.finish(outputs, row, picture.size, picture.original_size))
        for row, picture in enumerate(waiting)
    ]
    return Pass(inputs.shape, milliseconds, found)


def _read(dataset: Dataset, index: int) -> np.ndarray | None:
    """Returns the picture of a record, turned as it asks; None, noted, if it cannot be read."""
    record = dataset.records[index]
    try:
        return turn_image(decode_image(dataset.read_bytes(index)), record.orientation)
    except (PictureError, OSError) as error:
        dataset.problems.note(getattr(error, "kind", "unreadable picture"), record.file_name)
        return None
