"""The images of a dataset, prepared for a detector one at a time.

A Keras model is fed by `tf.data`, which reads, decodes and resizes in parallel; anything else by
its own `prepare`.
"""

import functools
from collections.abc import Container, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.data.images.exif import turn_image
from keras_retinanet.data.pipeline.batches import evaluation_dataset
from keras_retinanet.data.pipeline.fetching import strict_errors
from keras_retinanet.data.records import Dataset
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import PictureError
from keras_retinanet.modeling.detecting import Prepared, Steps
from keras_retinanet.modeling.preprocessing import Preprocessing


def prepared_canvases(model: Any, dataset: Dataset, *, batch_size: int) -> Iterator[Prepared]:
    """Yield each image of a dataset as a network input of `model`, a RetinaNet or the like.

    Those of one canvas come together, `batch_size` in a row.
    """
    if not len(dataset.records):
        return
    with strict_errors(dataset.problems):
        for batch in _canvases(dataset, model.preprocessing, batch_size):
            indices, images, sizes, sources = (np.asarray(part) for part in batch)
            for index, image, size, source in zip(indices, images, sizes, sources, strict=True):
                # An image that cannot be read has size 0.
                inputs = image if size.all() else None
                yield Prepared(int(index), inputs, tuple(size), tuple(source))


@functools.lru_cache(maxsize=1)
def _canvases(dataset: Dataset, preprocessing: Preprocessing, batch_size: int) -> tf.data.Dataset:
    """Keep the graph of the last data set: a training evaluates on one again and again.

    TensorFlow keeps the Python functions of a graph, and what they refer to, as long as the process
    lives.
    """
    return evaluation_dataset(dataset, preprocessing, batch_size=batch_size)


def prepared_images(
    detector: Steps, dataset: Dataset, *, without: Container[int] = ()
) -> Iterator[Prepared]:
    """Yield each image of a dataset, in the order of the records, as `detector` prepares it.

    Args:
        without: indices of the records to leave out.
    """
    for index in range(len(dataset.records)):
        if index in without:
            continue
        image = _read(dataset, index)
        if image is None:
            yield Prepared(index, None, (0, 0), (0, 0))
        else:
            yield Prepared(index, *detector.prepare(image), image.shape[:2])


def _read(dataset: Dataset, index: int) -> np.ndarray | None:
    """Return the image of a record, turned as it asks; None, noted, if it cannot be read."""
    record = dataset.records[index]
    try:
        image = decode_image(
            dataset.read_bytes(index),
            on_damage=lambda kind: dataset.problems.note(kind, record.file_name),
        )
        return turn_image(image, record.orientation)
    except (PictureError, OSError) as error:
        dataset.problems.note(getattr(error, "kind", "unreadable picture"), record.file_name)
        return None
