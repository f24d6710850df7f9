"""TFRecord shards: where each record lies, what is damaged, and writing them.

Format: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details. A shard
is read once from end to end for the index, by TensorFlow, which checks every checksum; an image
is later read by its place alone (`records.read_slice`).
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_retinanet.data.autotuning import without_autotuning
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import ImageRef, read_slice
from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_path, open_regular
from keras_retinanet.files.images.headers import unreadable

# A record: length (uint64), checksum of it (uint32), the bytes, checksum of them (uint32).
_HEADER = struct.Struct("<QI")
_LENGTH_BYTES = 8
_FOOTER = struct.Struct("<I")
# Reading waits for the disk and for TensorFlow's checksums, both outside of Python's lock.
INDEX_THREADS = 8
_CASTAGNOLI = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
T = TypeVar("T")


def index_shards(
    paths: Iterable[str],
    read: Callable[[ImageRef, bytes, Problems], T | None],
    problems: Problems,
) -> list[T]:
    """Return what `read` makes of every record, in the order of the shards and of their records.

    The shards are read in parallel threads; neither the result nor the order of the problems
    depends on that.

    Args:
        read: from a record's place, its bytes and where to note problems; None leaves it out.

    Raises:
        UserError: a shard is cut off, or the place of its next record is damaged; with strict
            problems also a damaged record.
    """

    def index_one(path: str) -> tuple[list[T], Problems]:
        found: list[T] = []
        own = Problems(strict=problems.strict)
        for offset, content in read_records(path, own):
            item = read(ImageRef(path, offset, len(content)), content, own)
            if item is not None:
                found.append(item)
        return found, own

    items: list[T] = []
    with ThreadPoolExecutor(INDEX_THREADS) as pool:
        for found, own in pool.map(index_one, paths):
            items += found
            for kind, what in own.items():
                for shown in what:
                    problems.note(kind, shown)
    return items


def picture_of(image: ImageRef, key: str) -> bytes:
    """Return the encoded image of the example that `image` points at.

    Raises:
        PictureError: no example with an image lies there: the shard has changed since.
        OSError: the shard cannot be read.
    """
    try:
        features = tf.train.Example.FromString(read_slice(image)).features.feature
        return features[key].bytes_list.value[0]
    except (DecodeError, IndexError) as error:
        raise unreadable(f"{image.path}, byte {image.offset}", error) from error


def read_records(path: str, problems: Problems) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) of each record of a shard; a damaged record is skipped and counted.

    Raises:
        UserError: the shard is cut off, or damaged where it says how long the next record is.
        OSError: it cannot be opened.
    """
    count, size = _sound_records(path)
    start = 0
    try:
        contents = without_autotuning(tf.data.TFRecordDataset(path).take(count))
        for content in contents.as_numpy_iterator():
            yield start + _HEADER.size, content
            start += _HEADER.size + len(content) + _FOOTER.size
    except tf.errors.DataLossError:
        pass
    # TensorFlow stops at the first damage, and without a word at a file cut within 12 bytes of a
    # record's end; the rest is read more slowly, record by record.
    if start < size:
        yield from _after_damage(path, start, size, problems)


def _sound_records(path: str) -> tuple[int, int]:
    """Return how many records there are whose lengths the file can hold, and the file's size.

    TensorFlow reserves what a length says before it reads, and ends the process if it cannot.
    """
    with open_regular(path) as stream:
        size, start, count = os.fstat(stream.fileno()).st_size, 0, 0
        while len(header := stream.read(_HEADER.size)) == _HEADER.size:
            end = start + _HEADER.size + _HEADER.unpack(header)[0] + _FOOTER.size
            if end > size:
                break
            start = stream.seek(end)
            count += 1
    return count, size


def _after_damage(
    path: str, start: int, size: int, problems: Problems
) -> Iterator[tuple[int, bytes]]:
    with open_regular(path) as stream:
        stream.seek(start)
        while header := stream.read(_HEADER.size):
            if len(header) < _HEADER.size:
                raise _broken(path, f"cut off at byte {size}")
            length, checksum = _HEADER.unpack(header)
            offset = stream.tell()
            if masked_crc32c(header[:_LENGTH_BYTES]) != checksum:
                raise _broken(path, f"damaged at byte {offset - _HEADER.size}")
            # A cut file may promise any length: never ask for more than it has.
            if offset + length + _FOOTER.size > size:
                raise _broken(path, f"cut off at byte {size}")
            content = stream.read(length)
            if masked_crc32c(content) == _FOOTER.unpack(stream.read(_FOOTER.size))[0]:
                yield offset, content
            else:
                problems.note("damaged record", f"{path}, byte {offset}")


def _broken(path: str, what: str) -> UserError:
    return UserError(
        f"Expected a whole TFRecord file. Received: {path}, {what}. Copy or make it again."
    )


def masked_crc32c(content: bytes) -> int:
    """Return the checksum of TFRecord: CRC-32C, turned by 15 bits, plus a constant."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _crc_row(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_CASTAGNOLI if value & 1 else 0)
    return value


_CRC_TABLE = [_crc_row(value) for value in range(256)]


def write_shard(path: str | Path, examples: Iterable[bytes]) -> int:
    """Write the serialized `examples` as one shard, whole or not at all; returns how many."""
    count = 0
    with atomic_path(path) as temporary, tf.io.TFRecordWriter(os.fspath(temporary)) as writer:
        for example in examples:
            writer.write(example)
            count += 1
    return count
