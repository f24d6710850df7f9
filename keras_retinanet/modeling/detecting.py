"""One way to ask a detector: images are grouped by the shape of their input, batched and ordered.

Everything that detects objects has the same three steps: the Keras model, each exported file, and
detectors made of several passes. `detect_batches` is the only loop over them.

Shape letter: B images.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from keras_retinanet.config.model import ModelConfig
from keras_retinanet.files.images.decoding import as_rgb, decode_image
from keras_retinanet.files.images.headers import read_picture
from keras_retinanet.modeling.detections import Detections

# One image, or several.
OneImage = np.ndarray | str | os.PathLike[str] | Image.Image
Images = OneImage | Iterable[OneImage]

# Inputs that wait for others of their shape, those of the fullest batch not counted.
WAITING_BYTES = 1 << 29


@runtime_checkable
class Steps(Protocol):
    """The three steps of a detection."""

    takes_batches: bool  # whether `infer` takes more than one image at a time

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """Return the network's input for a uint8 RGB image (H, W, 3), and the (h, w) in it."""

    def infer(self, inputs: np.ndarray, sizes: np.ndarray) -> Any:
        """Return the raw detections of a batch, on the host: only this step is timed.

        Both are from `prepare`: inputs (B, ...) of one shape, sizes (B, 2) int32.
        """

    def finish(self, outputs: Any, row: int, size: Any, original_size: Any) -> Detections:
        """Return the detections of image `row` of what `infer` gave, in pixels of that image.

        Its `size` is that from `prepare`, its `original_size` the (h, w) of the image itself.
        """


@runtime_checkable
class ObjectDetector(Steps, Protocol):
    """A RetinaNet, an exported file, or a detector made of several passes of one."""

    config: ModelConfig  # resolved, with the thresholds in use
    class_names: list[str]  # of K classes
    class_ids: list[int]  # their original ids in the dataset

    def detect(self, images: Images, *, batch_size: int = 8) -> list[Detections]:
        """Detect objects in images of any sizes."""


class Prepared(NamedTuple):
    """An image that waits for its batch."""

    number: int  # identifies the image
    inputs: np.ndarray | None  # from `Steps.prepare`; None: the image cannot be read
    size: Sequence[int]  # from there too
    original_size: Sequence[int]  # height and width of the image itself


class DetectedBatch(NamedTuple):
    """The detections of one batch."""

    shape: tuple[int, ...]  # of the inputs; the first batch of a shape may trace a graph
    milliseconds: float | None  # of `infer`, per image; None: nothing was run
    found: list[tuple[int, Detections | None]]  # by number; None: it cannot be read


def detect_batches(
    detector: Steps, prepared: Iterable[Prepared], *, batch_size: int
) -> Iterator[DetectedBatch]:
    """Yield the detections of each batch as soon as it is full, the smaller ones at the end.

    Args:
        detector: is given batches of one input shape.
        prepared: read one at a time. How many wait is bounded by `WAITING_BYTES`.
        batch_size: the largest batch, where the detector takes more than one image.
    """
    most = batch_size if detector.takes_batches else 1
    waiting: dict[tuple[int, ...], list[Prepared]] = defaultdict(list)
    held: dict[tuple[int, ...], int] = defaultdict(int)
    for item in prepared:
        if item.inputs is None:
            yield DetectedBatch((), None, [(item.number, None)])
            continue
        shape = item.inputs.shape
        waiting[shape].append(item)
        held[shape] += item.inputs.nbytes
        fullest = max(held, key=held.__getitem__)
        if len(waiting[shape]) == most:
            fullest = shape
        elif sum(held.values()) - held[fullest] <= WAITING_BYTES:
            continue
        del item, held[fullest]
        yield _detect(detector, waiting.pop(fullest))
    while waiting:
        yield _detect(detector, waiting.pop(next(iter(waiting))))


def _detect(detector: Steps, batch: list[Prepared]) -> DetectedBatch:
    inputs = np.stack([item.inputs for item in batch])  # type: ignore[misc]
    sizes = np.array([item.size for item in batch], np.int32)
    begin = time.perf_counter()
    outputs = detector.infer(inputs, sizes)
    milliseconds = 1000 * (time.perf_counter() - begin) / len(batch)
    found: list[tuple[int, Detections | None]] = [
        (item.number, detector.finish(outputs, row, item.size, item.original_size))
        for row, item in enumerate(batch)
    ]
    return DetectedBatch(inputs.shape, milliseconds, found)


def detect_all(
    detector: Steps, images: Iterable[np.ndarray], *, batch_size: int
) -> Iterator[Detections]:
    """Yield the detections of each image, in the order of the images, which are read lazily."""
    prepared = (
        Prepared(number, *detector.prepare(image), image.shape[:2])
        for number, image in enumerate(images)
    )
    done: dict[int, Any] = {}
    following = 0
    for batch in detect_batches(detector, prepared, batch_size=batch_size):
        done.update(batch.found)
        while following in done:
            yield done.pop(following)
            following += 1


def detect_images(detector: Steps, images: Images, *, batch_size: int) -> list[Detections]:
    """Return the detections of one image or of several: the `detect` of each detector.

    Raises:
        ValueError: as `image_arrays`.
    """
    return list(detect_all(detector, image_arrays(images), batch_size=batch_size))


def image_arrays(images: Images) -> Iterator[np.ndarray]:
    """Yield one image or several as uint8 RGB arrays (H, W, 3); files are read one at a time.

    Args:
        images: an array, a path, an image of Pillow, or several of them. Files have the pixels that
            `keras_retinanet predict` sees: rotation by EXIF is not applied.

    Raises:
        ValueError: an array is not uint8 (H, W, 3), or is empty; a file is no image.
        OSError: a file cannot be read.
    """
    is_one = isinstance(images, str | os.PathLike | Image.Image)
    listed: Any = [images] if is_one or getattr(images, "ndim", 0) == 3 else images
    for index, image in enumerate(listed):
        if isinstance(image, str | os.PathLike):
            yield decode_image(read_picture(image))
        elif isinstance(image, Image.Image):
            yield as_rgb(image)
        else:
            yield _checked(image, index)


def _checked(image: Any, index: int) -> np.ndarray:
    shape: tuple[int, ...] = getattr(image, "shape", ())
    dtype = getattr(image, "dtype", None)
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ValueError(
            f"Expected images as uint8 RGB arrays (H, W, 3), paths, or Pillow's images. Received: "
            f"image {index} with shape={shape}, dtype={dtype}."
        )
    return image
