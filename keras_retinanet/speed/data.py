"""Images per second from files to training batches, beside what merely decodes them."""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.cache import cached
from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.preprocessing import Preprocessing
from keras_retinanet.speed.tables import Table
from keras_retinanet.speed.timing import Times, measure

CORES = os.cpu_count() or 1
# Batches that a pipeline may have made in advance.
AHEAD = 4
PILLOW = "Pillow, decode and resize"
BARE = "bare tf.io.decode_jpeg"


def data(
    dataset: Dataset,
    preprocessing: Preprocessing,
    config: DataConfig,
    *,
    batch_size: int,
    images: int,
    repeat: int,
) -> list[Table]:
    """Time the pipeline of `train` with and without a cache, decoding alone, and Pillow.

    Args:
        dataset: of JPEG files.
        images: how many a repeat reads, in turn and again from the first.
    """
    paths = _jpeg_paths(dataset)
    in_memory = cached(dataset, preprocessing, config.augment, "memory")

    def pipeline(source: Dataset) -> Iterator[Any]:
        return iter(
            training_batches(
                source, preprocessing, data_config=config, batch_size=batch_size, seed=0
            )
        )

    count = max(1, images // batch_size)  # batches
    iterators = {
        BARE: iter(_bare(paths)),
        PILLOW: _pillow(paths, preprocessing),
        "pipeline of train": pipeline(dataset),
        "the same, cached in memory": pipeline(in_memory),
    }
    one_by_one = (BARE, PILLOW)
    calls = {
        name: _taking(iterator, count, items=batch_size if name in one_by_one else 1)
        for name, iterator in iterators.items()
    }
    times = measure(calls, repeat=repeat, shortest=0.0)
    short, long = preprocessing.short_side, preprocessing.long_side
    title = (
        f"Data: {dataset.name}, {len(paths)} files of {_kilobytes(paths):,.0f} kB on average, "
        f"to {short},{long} px in batches of {batch_size}, {CORES} threads"
    )
    return [Table(title, _rows(times, count * batch_size))]


def _jpeg_paths(dataset: Dataset) -> list[str]:
    paths = [str(record.image.path) for record in dataset.records]
    if not all(path.lower().endswith((".jpg", ".jpeg")) for path in paths):
        raise UserError(
            "Expected a data set of JPEG files, which are decoded for comparison. "
            f"Received: {dataset.name} with others."
        )
    return paths


def _rows(times: dict[str, Times], images: int) -> list[dict[str, Any]]:
    """Return the rates of repeats of `images` images, and their share of a bare decode's."""
    rates = {name: images / found.median for name, found in times.items()}
    return [
        {
            "from files to": name,
            "images/s": rates[name],
            "ms per image": 1000 / rates[name],
            "of bare": rates[name] / rates[BARE],
            "disturbed": found.disturbed,
        }
        for name, found in times.items()
    ]


def _taking(iterator: Iterator[Any], count: int, *, items: int) -> Callable[[], float]:
    """Return a call that gives the seconds of `count` batches, each of `items` of an iterator.

    Some batches before them are not timed, because they were made while other calls were.
    """

    def take() -> float:
        for _ in itertools.islice(iterator, AHEAD * items):
            pass
        start = time.perf_counter()
        for _ in itertools.islice(iterator, count * items):
            pass
        return time.perf_counter() - start

    return take


def _bare(paths: list[str]) -> Iterable[Any]:
    """Decode whole files without end, in parallel and in order."""
    files = tf.data.Dataset.from_tensor_slices(paths).repeat()
    decoded = files.map(
        lambda path: tf.io.decode_jpeg(tf.io.read_file(path), channels=3),
        num_parallel_calls=CORES,
        deterministic=True,
    )
    return decoded.prefetch(2)


def _pillow(paths: list[str], preprocessing: Preprocessing) -> Iterator[np.ndarray]:
    """Decode and resize files without end, in as many threads."""

    def resized(path: str) -> np.ndarray:
        with Image.open(path) as image:
            height, width = preprocessing.resized_size(image.height, image.width)
            small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(small)

    files = itertools.cycle(paths)
    with ThreadPoolExecutor(CORES) as pool:
        while True:
            yield from pool.map(resized, itertools.islice(files, 2 * CORES))


def _kilobytes(paths: list[str]) -> float:
    return float(np.mean([os.path.getsize(path) for path in paths])) / 1000
