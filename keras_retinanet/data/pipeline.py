"""Records -> batches of network inputs: the only file that batches.

plan (whole numbers) -> read and decode, in parallel -> augment or letterbox -> batch -> prefetch.
Shape letters: B images, G ground truths, h w picture after the resize, ch cw canvas.
"""

import os
import threading
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from keras_retinanet.config import DataConfig
from keras_retinanet.data import plan
from keras_retinanet.data.images import decode_image
from keras_retinanet.data.records import Dataset, note_problem
from keras_retinanet.data.transforms import augment, pad_labels
from keras_retinanet.errors import UserError
from keras_retinanet.preprocessing import Preprocessing

# Wider than the largest anchor (813 px): an ignored box with this margin holds at least half of
# every anchor, also of those that stand out of the canvas.
BLANK_MARGIN = 4096.0


def training_batches(
    dataset: Dataset,
    preprocessing: Preprocessing,
    *,
    data_config: DataConfig,
    batch_size: int,
    seed: int,
    start_step: int = 0,
) -> tf.data.Dataset:
    """Gives training batches without end; the same for the same arguments.

    A picture that cannot be read gives a blank one whose every anchor is ignored, and is noted in
    `dataset.problems`: it adds nothing, and the order of the others stays.

    Args:
        data_config: its `augment` and `max_boxes` are used.
        start_step: the number of batches to leave out, without reading them.

    Returns:
        Of (images (B, ch, cw, 3) float32 RGB 0..255, {"boxes": (B, G, 4) float32 xyxy pixels of
        the input, "classes": (B, G) int32 with -1 as padding, "ignore": (B, G) bool}).
    """
    config, max_boxes = data_config.augment, data_config.max_boxes
    for record in dataset.records if start_step == 0 else ():
        if len(record.boxes) > max_boxes:
            note_problem(dataset.problems, f"more than {max_boxes} boxes", record.file_name)
    planned = _examples(
        lambda: plan.batches(
            dataset,
            preprocessing,
            batch_size=batch_size,
            seed=seed,
            short_sides=config.short_sides,
            start_step=start_step,
        )
    )
    fetch = _fetcher(dataset)

    def example(row):
        image, boxes, classes, ignore, size = fetch(row)
        image, labels = augment(
            image,
            {"boxes": boxes, "classes": classes, "ignore": ignore},
            resized_size=tf.where(size > 0, size, row["canvas"]),
            canvas=row["canvas"],
            seed=row["seed"],
            config=config,
            preprocessing=preprocessing,
        )
        labels = tf.cond(size[0] > 0, lambda: labels, lambda: _ignore_all(row["canvas"]))
        return image, pad_labels(labels, max_boxes)

    loaded = planned.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    # A plan's batch is whole and of one canvas, so batches are formed by counting.
    return _tuned(loaded.batch(batch_size, drop_remainder=True))


def evaluation_dataset(
    dataset: Dataset, preprocessing: Preprocessing, *, batch_size: int
) -> tf.data.Dataset:
    """Gives each picture once, as prediction sees it; batches of one canvas, the last smaller.

    Returns:
        Of (indices (B,) int32 of the records, images (B, ch, cw, 3) float32 RGB 0..255, sizes
        (B, 2) int32 (height, width) of the resized pictures in them). A picture that cannot be
        read has the size 0, 0, is blank and is noted in `dataset.problems`.
    """
    batches = list(plan.evaluation_batches(dataset, preprocessing, batch_size=batch_size))
    counts = tf.constant([len(batch.indices) for batch in batches], tf.int64)
    fetch = _fetcher(dataset)

    def example(row):
        image, _, _, _, size = fetch(row)
        shown = tf.where(size > 0, size, row["canvas"])
        image = preprocessing.pad(preprocessing.resize(image, shown), row["canvas"])
        return row["batch"], (row["index"], image, size)

    loaded = _examples(lambda: iter(batches)).map(
        example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    grouped = loaded.group_by_window(
        key_func=lambda number, _: number,
        reduce_func=lambda _, group: group.map(lambda _, parts: parts).batch(batch_size),
        window_size_func=lambda number: tf.gather(counts, number),
    )
    return _tuned(grouped)


def _examples(make_batches: Callable[[], Iterator[plan.Batch]]) -> tf.data.Dataset:
    """Gives one row of the plan per picture, in order: batch, index, seed, canvas, size."""

    def rows():
        for number, batch in enumerate(make_batches()):
            count = len(batch.indices)
            yield {
                "batch": np.full(count, number, np.int64),
                "index": batch.indices,
                "seed": batch.seeds,
                "canvas": np.tile(np.array(batch.canvas, np.int32), (count, 1)),
                "size": batch.sizes,
            }

    signature = {
        "batch": tf.TensorSpec([None], tf.int64),
        "index": tf.TensorSpec([None], tf.int32),
        "seed": tf.TensorSpec([None, 2], tf.int32),
        "canvas": tf.TensorSpec([None, 2], tf.int32),
        "size": tf.TensorSpec([None, 2], tf.int32),
    }
    return tf.data.Dataset.from_generator(rows, output_signature=signature).unbatch()


def _fetcher(dataset: Dataset) -> Callable:
    """Returns the graph function from a plan's row to (image, boxes, classes, ignore, size).

    The image is (H, W, 3) uint8 as stored, the boxes are in its pixels, `size` (2,) int32 is what
    to resize it to: 0, 0 with a blank image and no boxes where it cannot be read.
    """
    types = (tf.uint8, tf.float32, tf.int32, tf.bool, tf.int32)
    shapes = ((None, None, 3), (None, 4), (None,), (None,), (2,))
    noted: set[int] = set()
    lock = threading.Lock()

    def note(index: int, kind: str) -> None:
        with lock:
            if index not in noted:
                noted.add(index)
                note_problem(dataset.problems, kind, dataset.records[index].file_name)

    def read(index, size, canvas):
        record = dataset.records[index]
        try:
            image = decode_image(dataset.read_bytes(index))
        except (UserError, OSError):
            note(int(index), "unreadable picture")
            blank = np.zeros((1, 1, 3), np.uint8)
            no_boxes = np.zeros((0, 4), np.float32)
            return blank, no_boxes, record.classes[:0], record.ignore[:0], np.zeros(2, np.int32)
        if image.shape[:2] != (record.height, record.width):
            note(int(index), "picture of another size than annotated")
            size = _fit(image.shape[:2], canvas)
        return image, record.boxes, record.classes, record.ignore, size

    def fetch(row):
        arguments = [row["index"], row["size"], row["canvas"]]
        values = tf.numpy_function(read, arguments, types, stateful=False)
        return [tf.ensure_shape(value, shape) for value, shape in zip(values, shapes, strict=True)]

    return fetch


def _fit(size: tuple[int, ...], canvas: np.ndarray) -> np.ndarray:
    """Returns the largest (height, width) of the aspect of `size` within `canvas`."""
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    return np.clip(np.round(np.multiply(size, scale)), 1, canvas).astype(np.int32)


def _ignore_all(canvas):
    """Returns the labels of a picture that teaches nothing: one ignored box, over every anchor."""
    height, width = tf.unstack(tf.cast(canvas, tf.float32))
    corner = tf.stack([-BLANK_MARGIN, -BLANK_MARGIN, width + BLANK_MARGIN, height + BLANK_MARGIN])
    return {
        "boxes": corner[None],
        "classes": tf.zeros([1], tf.int32),
        "ignore": tf.ones([1], tf.bool),
    }


def _tuned(batches: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # Each op on one thread, and no more threads than cores: pictures are what runs in parallel.
    options.threading.max_intra_op_parallelism = 1
    options.threading.private_threadpool_size = os.cpu_count() or 1
    # A strategy splits each global batch over its replicas; files are not what it may split.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.with_options(options).prefetch(2)
