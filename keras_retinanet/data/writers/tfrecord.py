"""TFRecord shards with the TF Object Detection API's keys, which TFDS reads too.

`<name>-<split>.tfrecord-00000-of-0000N` and `label_map.pbtxt`; `features.json` and
`dataset_info.json` make the folder one for `tfds.builder_from_directory`
(https://www.tensorflow.org/datasets/external_tfrecord).
"""

import contextlib
import hashlib
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, Record
from keras_retinanet.data.sources.label_map import label_map_text
from keras_retinanet.data.sources.shards import write_shard
from keras_retinanet.data.sources.tfrecord import SIDES
from keras_retinanet.data.writers.shared import WriteOptions, readable_picture, split_words
from keras_retinanet.data.writers.tfds_info import Written, write_tfds_info
from keras_retinanet.errors import UserError, counted
from keras_retinanet.files.images.image_formats import image_format
from keras_retinanet.processes.child_processes import hold, lifeline

LABEL_MAP = "label_map.pbtxt"
# Of the label map: int32.
MAX_CLASS_ID = 2**31 - 1
# Some 150 MB of usual photographs: what TFDS and the API's own scripts aim at.
PICTURES_PER_SHARD = 1000
# One process writes some 3,000 a second, and another one takes seconds to start TensorFlow.
PICTURES_PER_WORKER = 20_000


class Shard(NamedTuple):
    """All that a process needs to write one shard."""

    path: Path
    split: str
    records: Sequence[Record]
    reader: Callable[[ImageRef], bytes]
    class_names: Sequence[str]
    class_ids: Sequence[int]
    strict: bool


def write(splits: Mapping[str, Dataset], folder: Path, options: WriteOptions) -> list[str]:
    """Write shards in several processes; they hold the same bytes whatever their number.

    Boxes are fractions of the sides as float32, not clipped. Boxes to ignore are crowds.
    """
    first = next(iter(splits.values()))
    ids, lost = list(first.class_ids), []
    if min(ids, default=1) < 1 or max(ids, default=1) > MAX_CLASS_ID:  # 0 is the background's
        why = "0 is the background's" if min(ids) < 1 else "the label map holds 32 bits"
        ids = list(range(1, len(ids) + 1))
        lost = [f"The ids of {counted(len(ids), 'class')} become 1, 2, ...: {why}."]
    name = re.sub(r"\W", "_", options.name)
    name = name if name[:1].isalpha() else f"set_{name}"
    words = split_words(splits, r"A-Za-z0-9_", "_")
    shards: list[Shard] = []
    for split, dataset in splits.items():
        wanted = options.shards or -(-len(dataset.records) // PICTURES_PER_SHARD)
        stem = f"{name}-{words[split]}.tfrecord"
        shards += _shards(dataset, words[split], folder / stem, max(1, wanted), ids)
    sizes: dict[str, list[Written]] = {word: [] for word in words.values()}
    problems = {words[split]: dataset.problems for split, dataset in splits.items()}
    with _writing(shards, options) as all_written:
        for shard, written in zip(shards, all_written, strict=True):
            sizes[shard.split].append(written)
            options.tick(len(shard.records))
            for kind, what in written.problems:
                problems[shard.split].note(kind, what)
    (folder / LABEL_MAP).write_text(label_map_text(first.class_names, ids), encoding="utf-8")
    write_tfds_info(folder, name, sizes)
    return lost


def _shards(
    dataset: Dataset, split: str, stem: Path, wanted: int, ids: Sequence[int]
) -> Iterator[Shard]:
    total = len(dataset.records)
    count = min(wanted, max(1, total))
    for number in range(count):
        yield Shard(
            path=stem.with_name(f"{stem.name}-{number:05d}-of-{count:05d}"),
            split=split,
            records=dataset.records[number * total // count : (number + 1) * total // count],
            reader=dataset.reader,
            class_names=dataset.class_names,
            class_ids=ids,
            strict=dataset.problems.strict,
        )


@contextlib.contextmanager
def _writing(shards: Sequence[Shard], options: WriteOptions) -> Iterator[Iterable[Written]]:
    """Yield what became of each shard, in their order; after the block nobody writes any more."""
    pictures = sum(len(shard.records) for shard in shards)
    useful = min(os.cpu_count() or 1, 1 + pictures // PICTURES_PER_WORKER)
    workers = min(options.workers or useful, len(shards))
    if workers == 1:
        yield map(write_one, shards)
        return
    # Not forked: TensorFlow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with (
        lifeline(context) as line,
        ProcessPoolExecutor(workers, context, initializer=hold, initargs=(line.reader,)) as pool,
    ):
        try:
            with _ctrl_c_ignored():
                written = pool.map(write_one, shards)  # starts the processes
            yield written
        except BrokenProcessPool:
            raise UserError(
                "Expected every worker process to finish. Received: one that ended early, perhaps "
                "for lack of memory. Run it again with fewer --workers."
            ) from None
        except BaseException:
            line.cut()  # a shard may take minutes; nobody wants it any more
            raise


@contextlib.contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Ignore Ctrl-C, which processes started meanwhile inherit: their imports take seconds."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def write_one(shard: Shard) -> Written:
    """Write one shard. Raises UserError at the first problem, if it is to be strict."""
    problems = Problems(strict=shard.strict)
    sizes: list[int] = []
    formats: set[str | None] = set()

    def examples() -> Iterator[bytes]:
        for record in shard.records:
            read = readable_picture(record, lambda: shard.reader(record.image), problems)  # noqa: B023
            if read is not None:
                example = encode_example(
                    *read, class_names=shard.class_names, class_ids=shard.class_ids
                )
                sizes.append(len(example))
                formats.add(image_format(read[1]))
                yield example

    count = write_shard(shard.path, examples())
    noted = [(kind, shown) for kind, what in problems.items() for shown in what]
    return Written(count, sum(sizes), formats, noted)


def encode_example(
    record: Record, encoded: bytes, *, class_names: Sequence[str], class_ids: Sequence[int]
) -> bytes:
    """Return the serialized `tf.train.Example` of an image; the same bytes for the same input.

    Args:
        encoded: the image file of `record`.
        class_ids: what `image/object/class/label` has for each of `class_names`.
    """
    sides = np.array([record.width, record.height] * 2, np.float64)
    fractions = (record.boxes / sides).astype(np.float32)
    count = len(record.boxes)
    # Lists of no boxes are there too, each of its type: strict readers ask for every key.
    features = {
        "encoded": _bytes([encoded]),
        "format": _bytes([(image_format(encoded) or "").lower().encode()]),
        "filename": _bytes([record.file_name.encode("utf-8", "replace")]),
        "source_id": _bytes([str(record.image_id).encode("utf-8", "replace")]),
        "key/sha256": _bytes([hashlib.sha256(encoded).hexdigest().encode()]),
        "height": _ints([record.height]),
        "width": _ints([record.width]),
        "object/class/text": _bytes([class_names[index].encode() for index in record.classes]),
        "object/class/label": _ints([class_ids[index] for index in record.classes]),
        "object/is_crowd": _ints(record.ignore.astype(int)),
        "object/difficult": _ints([0] * count),
        "object/group_of": _ints([0] * count),
        "object/area": _floats(record.areas),
    }
    for column, side in enumerate(SIDES):
        features[f"object/bbox/{side}"] = _floats(fractions[:, column])
    keyed = {f"image/{key}": feature for key, feature in features.items()}
    example = tf.train.Example(features=tf.train.Features(feature=keyed))
    return example.SerializeToString(deterministic=True)


def _bytes(values: Iterable[bytes]) -> Any:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _ints(values: Iterable[int]) -> Any:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _floats(values: Iterable[float]) -> Any:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))
