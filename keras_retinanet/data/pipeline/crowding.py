"""Images with more boxes than a batch has room for: what does not fit is ignored, not background.

Shape letters: G ground truths of an image, M the room for them, N the boxes beyond it.
"""

import tensorflow as tf

from keras_retinanet.config.data import DataConfig
from keras_retinanet.data.pipeline.random_windows import most_in_a_window
from keras_retinanet.data.records import Dataset

NO_CLASS = -1
# The boxes beyond the room are covered by one region per cell of a grid of GRID x GRID cells.
GRID = 4
REGIONS = GRID * GRID
CROWDED = "more boxes than max_boxes"
# The largest value of the option.
MOST_BOXES = 1 << 16


def room_for_boxes(dataset: Dataset, config: DataConfig, tile: int = 0) -> tuple[int, int]:
    """Return (maximum number of boxes of an image, maximum number of ignored regions beyond).

    Args:
        config: its `max_boxes` and `augment` are used; "auto" has room for the fullest image, as
            often as `augment` may join images.
        tile: side of the windows that are shown; 0: whole images.
    """
    fullest = max((most_in_a_window(record, tile) for record in dataset.records), default=1)
    joined = 4 if config.augment.mosaic > 0 else 1
    joined += sum(getattr(config.augment, kind) > 0 for kind in ("copy_paste", "cutmix", "mixup"))
    needed = min(max(fullest * joined, 1), MOST_BOXES)
    most = needed if config.max_boxes == "auto" else config.max_boxes
    return most, REGIONS if needed > most else 0


def note_crowded(dataset: Dataset, config: DataConfig, tile: int = 0) -> None:
    """Count, once, the images with more boxes, in a window, than `config.max_boxes`."""
    if config.max_boxes == "auto" or CROWDED in dataset.problems:
        return
    for record in dataset.records:
        most = most_in_a_window(record, tile)
        if most > config.max_boxes:
            where = f"up to {most} boxes in a window" if tile else f"{most} boxes"
            dataset.problems.note(CROWDED, f"{record.file_name} ({where})")


def pad_labels(labels, canvas, *, max_boxes: int, regions: int):
    """Give the labels of one image the same number of rows as all others; padding has class -1.

    Args:
        labels: {"boxes": (G, 4) xyxy in pixels of the canvas, "classes": (G,), "ignore": (G,)}.
        canvas: (2,) (height, width).
        regions: rows for the boxes beyond `max_boxes`; 0: there are none.
    """
    kept = {name: values[:max_boxes] for name, values in labels.items()}
    rows = max_boxes + regions
    if regions:
        beyond = _regions(labels["boxes"][max_boxes:], tf.cast(canvas, tf.float32))
        count = tf.shape(beyond)[0]
        ignored = {
            "boxes": beyond,
            "classes": tf.zeros([count], kept["classes"].dtype),
            "ignore": tf.ones([count], tf.bool),
        }
        kept = {name: tf.concat([values, ignored[name]], 0) for name, values in kept.items()}
    padding = {"boxes": 0.0, "classes": NO_CLASS, "ignore": False}
    padded = {}
    for name, values in kept.items():
        missing = rows - tf.shape(values)[0]
        paddings = [[0, missing]] + [[0, 0]] * (len(values.shape) - 1)
        value = tf.constant(padding[name], values.dtype)
        padded[name] = tf.ensure_shape(
            tf.pad(values, paddings, constant_values=value), [rows, *values.shape[1:]]
        )
    return padded


def _regions(boxes, canvas):
    """Return (up to REGIONS, 4) xyxy around the boxes (N, 4) whose centers share a cell."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    cells = tf.clip_by_value(tf.cast(centers * GRID / canvas[::-1], tf.int32), 0, GRID - 1)
    numbers = cells[:, 1] * GRID + cells[:, 0]
    low = tf.math.unsorted_segment_min(boxes[:, :2], numbers, REGIONS)
    high = tf.math.unsorted_segment_max(boxes[:, 2:], numbers, REGIONS)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(numbers), numbers, REGIONS)
    return tf.boolean_mask(tf.concat([low, high], axis=1), counts > 0)
