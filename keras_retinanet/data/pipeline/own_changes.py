"""What a user adds to a finished training example, after our changes: layers and a function.

An example is (image (h, w, 3) float32 0..255, labels {"boxes" (G, 4) float32 xyxy in its pixels,
"classes" (G,) int32, "ignore" (G,) bool}), not padded.
"""

import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data.augmentation.keras_layers import keras_layers
from keras_retinanet.data.pipeline.plan import MAX_SEED
from keras_retinanet.data.records import BORDER_TOLERANCE, Dataset
from keras_retinanet.errors import MAX_SHOWN, UserError, shown
from keras_retinanet.lazy import named_object

# Told apart from every other stream of an image's seed.
FUNCTION_STREAM = 1_000_099


class Example(NamedTuple):
    """What a function of the user takes and returns.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        boxes: (G, 4) float32 xyxy in its pixels.
        classes: (G,) int32.
        ignore: (G,) bool.
    """

    image: Any
    boxes: Any
    classes: Any
    ignore: Any


def own_changes(dataset: Dataset, config: AugmentConfig) -> Callable:
    """Return the graph function (row of the plan, example) -> example of the user's changes.

    Raises:
        UserError: `config` names what cannot be imported.
    """
    changes = [_layers(config.layers)] if config.layers else []
    changes += [_function(config.function, dataset)] if config.function else []

    def change(row, example):
        # Only a blank image, which teaches nothing, has boxes out of its borders.
        size = tf.cast(tf.gather(tf.shape(example[0]), [1, 0, 1, 0]), tf.float32)
        boxes = example[1]["boxes"]
        is_sound = tf.reduce_all((boxes >= 0.0) & (boxes <= size))
        for apply in changes:
            before = example
            example = tf.cond(is_sound, lambda a=apply, e=before: a(row, e), lambda e=before: e)
        return example

    return change


def _layers(entries: Sequence) -> Callable:
    layers = keras_layers(entries)

    def apply(row, example):
        image, labels = example
        return layers(image, row["seed"]), labels

    return apply


def _function(name: str, dataset: Dataset) -> Callable:
    """Return the graph function (row, example) -> example that calls the function `name`."""
    option = f"data.augment.function={name}"
    function = named_object(name, "data.augment.function as module:function")
    if not callable(function):
        raise UserError(
            "Expected data.augment.function as module:function. Received: "
            f"{name}, which is a {type(function).__name__}."
        )
    # Transforms of other packages keep what they are working on: one image at a time is safe.
    lock = threading.Lock()

    def call(index, seed, *values):
        given = Example(*(np.array(value) for value in values))  # its own, to write to
        kept = Example(*values)
        try:
            with lock:
                found = function(*given, seed=int(seed))
        except Exception as error:
            problem = f"to change an image. Received: {_raised(error)}"
        else:
            problem = mistake(found, kept, len(dataset.class_names))
        if problem:
            where = dataset.records[int(index)].file_name
            dataset.problems.stop(UserError(f"Expected {option} {problem}, for {where}."))
        return tidy(found, kept)

    def apply(row, example):
        image, labels = example
        seed = tf.random.fold_in(row["seed"], FUNCTION_STREAM)
        seed = tf.random.stateless_uniform([], seed, 0, MAX_SEED, tf.int32)
        values = (tf.cast(tf.round(image), tf.uint8), *(labels[k] for k in Example._fields[1:]))
        types = (tf.uint8, tf.float32, tf.int32, tf.bool)
        found = tf.numpy_function(call, [row["index"], seed, *values], types, stateful=False)
        shapes = ((None, None, 3), (None, 4), (None,), (None,))
        changed = Example(*map(tf.ensure_shape, found, shapes))
        labels = {name: getattr(changed, name) for name in labels}
        return tf.cast(changed.image, tf.float32), labels

    return apply


def mistake(found: Any, given: Example, class_count: int) -> str:
    """Return what is wrong with what a function made of `given`; "" if nothing is."""
    if not isinstance(found, tuple | list) or len(found) != 4:
        kind = type(found).__name__
        kind += f" of {len(found)} values" if isinstance(found, tuple | list) else ""
        return f"to return image, boxes, classes, ignore. Received: {kind}"
    image = np.asarray(found[0])
    if image.dtype != np.uint8 or image.shape != given.image.shape:
        return (
            f"to return an image of shape {given.image.shape} and type uint8. Received: shape "
            f"{image.shape}, type {image.dtype}"
        )
    try:
        boxes, classes, ignore = _as_rows(found)
    except (ValueError, TypeError, OverflowError):
        kinds = ", ".join(_kind(values) for values in found[1:])
        return f"to return boxes, classes and ignore as rows of numbers. Received: {kinds}"
    shapes = boxes.shape, classes.shape, ignore.shape
    count = len(boxes)
    if shapes != ((count, 4), (count,), (count,)):
        return (
            "to return boxes (G, 4), classes (G,) and ignore (G,) of one length. Received: shapes "
            f"{', '.join(map(str, shapes))}"
        )
    if count > len(given.boxes):
        return f"to return at most the {len(given.boxes)} boxes it got. Received: {count}"
    if not np.isin(classes, np.arange(class_count)).all():
        return f"to return classes 0..{class_count - 1}. Received: {shown(classes.tolist())}"
    if not np.isin(ignore, (0, 1)).all():
        return f"to return true or false as ignore. Received: {shown(ignore.tolist())}"
    return _bad_box(boxes, image.shape[:2])


def _bad_box(boxes: np.ndarray, size: tuple[int, ...]) -> str:
    """Return what is wrong with the first of `boxes` (G, 4) that does not lie in `size` (h, w)."""
    height, width = size
    limits, near = np.array([width, height]), BORDER_TOLERANCE
    is_inside = (boxes[:, :2] >= -near) & (boxes[:, 2:] <= limits + near)
    is_sound = (is_inside & (boxes[:, :2] < boxes[:, 2:])).all(1)  # False for what is not finite
    if is_sound.all():
        return ""
    numbers = ", ".join(f"{value:g}" for value in boxes[~is_sound][0])
    return (
        f"to return boxes x1, y1, x2, y2 with an area, within {width} x {height} pixels. "
        f"Received: {numbers}"
    )


def tidy(found: Any, given: Example) -> Example:
    """Return what `mistake` found nothing in, cut at the border, in the types of `given`."""
    boxes, classes, ignore = _as_rows(found)
    height, width = given.image.shape[:2]
    boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
    keep = (boxes[:, 2:] > boxes[:, :2]).all(1)
    rows = boxes[keep], classes[keep].astype(np.int32), ignore[keep].astype(bool)
    return Example(np.ascontiguousarray(found[0]), *rows)


def _as_rows(found: Any) -> tuple[np.ndarray, ...]:
    """Return boxes, classes and ignore as float64; no rows have the shape of rows."""
    boxes, classes, ignore = (np.asarray(values, np.float64) for values in found[1:])
    return boxes.reshape(-1, 4) if boxes.size == 0 else boxes, classes, ignore


def _kind(values: Any) -> str:
    return (
        f"{type(values).__name__} of {getattr(values, 'dtype', 'rows that differ or no numbers')}"
    )


def _raised(error: Exception) -> str:
    """Return an exception in one line, with the place that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())
    text = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
    return f"{type(error).__name__}: {text} ({Path(frame.filename).name}:{frame.lineno})"
