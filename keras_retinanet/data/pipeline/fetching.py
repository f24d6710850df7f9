"""A record -> its pixels and labels, inside a tf.data graph: whatever a file holds, no run dies.

Shape letters: G ground truths, h w decoded pixels.
"""

import atexit
import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_retinanet.data.augmentation.transforms import View
from keras_retinanet.data.images.exif import turn_image
from keras_retinanet.data.images.windows import Window, decode_window
from keras_retinanet.data.pipeline.vanished import require_readable
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, Record
from keras_retinanet.errors import UserError
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import PictureError, read_header

# Pixels, boxes, classes, ignore, and the four rows of places.
_TYPES = (tf.uint8, tf.float32, tf.int32, tf.bool, tf.int32)
_SHAPES = ((None, None, 3), (None, 4), (None,), (None,), (4, 2))


class Fetched(NamedTuple):
    """What the file of a record gave.

    Attributes:
        pixels: (h, w, 3) uint8 RGB: the view's window, which may be scaled down already.
        labels: {"boxes" (G, 4) float32 xyxy in pixels of the stored image, "classes" (G,) int32,
            "ignore" (G,) bool}.
        view: as asked for, but for the exact window that `pixels` show.
        source_size: (2,) int32 (height, width) of the stored image; 0, 0: it cannot be read.
    """

    pixels: Any
    labels: dict[str, Any]
    view: View
    source_size: Any


@contextlib.contextmanager
def strict_errors(problems: Problems) -> Iterator[None]:
    """Raise the `UserError` that problems keep where it stopped the tf.data graph it came from."""
    try:
        yield
    except tf.errors.OpError:
        if problems.error is not None:
            raise problems.error from None
        raise


def fetcher(dataset: Dataset, *, reduced: bool) -> Callable[[Any, View, Any], Fetched]:
    """Return the graph function (index (), view, canvas (2,)) -> `Fetched`.

    An image that cannot be read is blank and has no boxes; one of another size than annotated is
    seen whole. Both are counted in `dataset.problems`, once an image.

    Args:
        reduced: decode no more than the view needs, and stop where no image can be read any
            more (training). Else the whole image is decoded, then cut, to the very pixels that
            `detect` sees, and whoever scores them looks whether any could be read.
    """
    read = _Reader(dataset, reduced)

    def fetch(index, view, canvas):
        window = tf.stack([view.start, view.length, view.size])
        values = tf.numpy_function(read, [index, window, canvas], _TYPES, stateful=False)
        values = [tf.ensure_shape(v, shape) for v, shape in zip(values, _SHAPES, strict=True)]
        pixels, boxes, classes, ignore, places = values
        start, length, size, source_size = tf.unstack(places)
        # Its size was not the one that the view was chosen for: it is seen whole, in the corner.
        is_kept = tf.reduce_all(size == view.size)
        view = View(
            start, length, size, tf.where(is_kept, view.offset, 0), tf.where(is_kept, view.turns, 0)
        )
        labels = {"boxes": boxes, "classes": classes, "ignore": ignore}
        return Fetched(pixels, labels, view, source_size)

    return fetch


class _Reader:
    """Reads images by the numbers of their records, and counts what is wrong, once an image."""

    def __init__(self, dataset: Dataset, reduced: bool):
        self._dataset, self._reduced = dataset, reduced
        self._noted: set[int] = set()
        self._sound: set[int] = set()

    def __call__(self, index: np.ndarray, window: np.ndarray, canvas: np.ndarray) -> tuple:
        number = int(index)
        record = self._dataset.records[number]
        damage: list[str] = []
        options = {"is_sound": number in self._sound, "on_damage": damage.append}
        try:
            encoded = self._dataset.read_bytes(number)
            found, place, source = _decode(
                record, encoded, (window, canvas), self._reduced, options
            )
        except (PictureError, OSError) as error:
            self._note(number, getattr(error, "kind", "unreadable picture"))
            if self._reduced:
                _require_readable(self._dataset, number)
            return _blank(record)
        if not damage:
            self._sound.add(number)
        if tuple(source) != (record.height, record.width):
            damage.append("picture of another size than annotated")
        for kind in damage:
            self._note(number, kind)
        places = np.stack([*place, source]).astype(np.int32)
        return found, record.boxes, record.classes, record.ignore, places

    def _note(self, number: int, kind: str) -> None:
        if number not in self._noted:
            self._noted.add(number)
            self._dataset.problems.note(kind, self._dataset.records[number].file_name)


@atexit.register
def _end_iterators() -> None:
    """Delete the iterators that an exception left behind, while Python can still end their reads.

    An iterator waits, when deleted, for the reads it has begun. The interpreter deletes it last of
    all, when no other thread may run Python any more: the process would never end.
    """
    for name in ("last_exc", "last_value", "last_traceback"):  # they hold the frames of `fit`
        if hasattr(sys, name):
            setattr(sys, name, None)
    gc.collect()


def _require_readable(dataset: Dataset, index: int) -> None:
    try:
        require_readable(dataset, index)
    except UserError as error:
        dataset.problems.stop(error)


def _decode(
    record: Record,
    encoded: bytes,
    place: tuple[np.ndarray, np.ndarray],
    reduced: bool,
    options: dict[str, Any],
):
    """Return pixels, the window (start, length, size) that they show, and the stored size.

    Args:
        place: the window to show, and the canvas.
        options: `is_sound` and `on_damage` of `decode_window`.
    """
    (start, length, size), canvas = place
    header = read_header(encoded)
    source = np.array([header.height, header.width], np.int32)
    image = None
    if record.orientation != 1 or not reduced:
        image = decode_image(encoded, header, on_damage=options["on_damage"])
        image = turn_image(image, record.orientation)
        source = np.array(image.shape[:2], np.int32)
    if tuple(source) != (record.height, record.width):
        start, length, size = np.zeros(2, np.int32), source, _fit(source, canvas)
    if image is None:
        found = decode_window(encoded, header, start=start, length=length, size=size, **options)
    else:
        (top, left), (bottom, right) = start, start + length
        found = Window(image[top:bottom, left:right], start, length)
    return found.pixels, (found.start, found.length, size), source


def _blank(record: Record):
    blank, no_boxes = np.zeros((1, 1, 3), np.uint8), np.zeros((0, 4), np.float32)
    return blank, no_boxes, record.classes[:0], record.ignore[:0], np.zeros((4, 2), np.int32)


def _fit(size: np.ndarray, canvas: np.ndarray) -> np.ndarray:
    """Return the largest (height, width) of the aspect of `size` within `canvas`."""
    scale = (canvas / size).min()
    return np.clip(np.round(size * scale), 1, canvas).astype(np.int32)
