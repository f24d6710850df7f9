"""Check the labels of each training batch, in the graph.

XLA drops assertions: a model compiled with `jit_compile` trains on whatever it is given.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from keras_retinanet.errors import UserError

_FAILED = re.compile(r"assertion failed: \[(Expected labels .*?)\] \[(.*?)\]")
_ADVICE = (
    "Labels are boxes (B, G, 4), xyxy in pixels of the network input, and classes (B, G), ids from "
    "0 with -1 as padding."
)


def check_labels(
    labels: Mapping[str, tf.Tensor], image_shape: tuple[Any, Any], num_classes: int
) -> None:
    """Add assertions on a batch of labels to the graph; `plain_errors` makes them readable.

    Class ids must be below K. Boxes that are neither padding nor ignored must have x1 < x2,
    y1 < y2 and their centers in the image, and must not all lie within 0..1.

    Args:
        labels: as `AnchorLabeler` takes them.
        image_shape: (H, W) of the network input.
        num_classes: K.
    """
    boxes = tf.reshape(tf.cast(labels["boxes"], tf.float32), (-1, 4))  # (B * G, 4)
    classes = tf.reshape(tf.cast(labels["classes"], tf.int32), (-1,))
    ignore = labels.get("ignore")
    is_real = classes >= 0
    if ignore is not None:
        is_real &= ~tf.reshape(tf.cast(ignore, tf.bool), (-1,))

    _require(classes < num_classes, classes, f"with class ids 0 to {num_classes - 1}")
    is_xyxy = tf.reduce_all(boxes[:, :2] < boxes[:, 2:], axis=1)  # False for NaN too
    _require(is_xyxy | ~is_real, boxes, "with x1 < x2 and y1 < y2 in every box")
    height, width = (tf.cast(side, tf.float32) for side in image_shape)
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    is_inside = tf.reduce_all((center >= 0) & (center <= tf.stack([width, height])), axis=1)
    _require(is_inside | ~is_real, boxes, "whose boxes have their centers in the image")
    is_pixels = tf.reduce_any(boxes > 1, axis=1)
    some_pixels = tf.reduce_any(is_pixels & is_real) | ~is_real
    _require(some_pixels, boxes, "with boxes in pixels, not in fractions of the sides")


def _require(condition: tf.Tensor, values: tf.Tensor, expected: str) -> None:
    """Assert that `condition` (N,) holds in each row; a failure shows the first row without."""
    first = tf.reshape(tf.boolean_mask(values, ~condition)[:1], (-1,))
    tf.debugging.Assert(
        tf.reduce_all(condition), [f"Expected labels {expected}", first], summarize=4
    )


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Raise a failed assertion of `check_labels` as a `UserError` of one sentence."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        failed = _FAILED.search(str(error))
        if failed is None:
            raise
        expected, received = failed.groups()
        raise UserError(f"{expected}. Received: {received}. {_ADVICE}") from None
