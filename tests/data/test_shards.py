"""TFRecord framing: offsets, checksums against TensorFlow's, and every kind of damage."""

import struct

import pytest
import tensorflow as tf

from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import ImageRef, read_slice
from keras_retinanet.data.sources import shards
from keras_retinanet.errors import UserError

CONTENTS = [b"first", b"", b"third" * 1000, b"\x00\xff" * 7]
# Where each record's bytes begin: 12 bytes of header before, 4 of checksum after each.
OFFSETS = [12, 12 + 5 + 16, 12 + 5 + 16 + 16, 12 + 5 + 16 + 16 + 5000 + 16]


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "a.tfrecord"
    assert shards.write_shard(path, iter(CONTENTS)) == len(CONTENTS)
    return path


def read(path, *, strict=False):
    problems = Problems(strict=strict)
    return list(shards.read_records(str(path), problems)), problems


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_offsets_are_those_of_the_bytes(shard):
    found, problems = read(shard)
    assert found == list(zip(OFFSETS, CONTENTS, strict=True)) and not problems
    for offset, content in found:
        if content:
            assert read_slice(ImageRef(str(shard), offset, len(content))) == content


def test_checksums_are_tensorflows(shard):
    # CRC-32C's published check value, masked as TFRecord has it.
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert shards.masked_crc32c(b"123456789") == masked
    content = shard.read_bytes()
    for offset, record in zip(OFFSETS, CONTENTS, strict=True):
        length, checksum = struct.unpack("<QI", content[offset - 12 : offset])
        assert length == len(record)
        assert checksum == shards.masked_crc32c(content[offset - 12 : offset - 4])
        end = offset + length
        assert struct.unpack("<I", content[end : end + 4])[0] == shards.masked_crc32c(record)


@pytest.mark.parametrize("position", [OFFSETS[2], OFFSETS[2] + 4999, OFFSETS[2] + 5001])
def test_damaged_record_is_skipped_and_counted(shard, position):
    flip(shard, position)
    found, problems = read(shard)
    assert [content for _, content in found] == [CONTENTS[0], CONTENTS[1], CONTENTS[3]]
    assert problems == {"damaged record": [f"{shard}, byte {OFFSETS[2]}"]}
    with pytest.raises(UserError, match=rf"a\.tfrecord, byte {OFFSETS[2]}"):
        read(shard, strict=True)


@pytest.mark.parametrize("position", [OFFSETS[2] - 12, OFFSETS[2] - 4])
def test_damaged_length_is_an_error(shard, position):
    flip(shard, position)
    with pytest.raises(UserError, match=rf"a\.tfrecord, damaged at byte {OFFSETS[2] - 12}\."):
        read(shard)


@pytest.mark.parametrize("size", [3, OFFSETS[2] - 5, OFFSETS[2], OFFSETS[2] + 100, OFFSETS[3] + 15])
def test_every_cut_is_named(shard, size):
    shard.write_bytes(shard.read_bytes()[:size])
    with pytest.raises(UserError, match=rf"a\.tfrecord, cut off at byte {size}\."):
        read(shard)


def test_empty_and_absent_shards(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert read(tmp_path / "empty") == ([], {})
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent")


def test_index_keeps_the_order_of_shards_and_problems(tmp_path):
    paths = [str(tmp_path / f"{number}") for number in range(12)]
    for number, path in enumerate(paths):
        shards.write_shard(path, [b"%d-%d" % (number, i) for i in range(number + 1)])

    def note_and_keep(image, content, problems):
        if content.endswith(b"-0"):
            problems.note("unreadable picture", content.decode())
            return None
        return content

    problems = Problems()
    found = shards.index_shards(paths, note_and_keep, problems)
    assert found == [b"%d-%d" % (n, i) for n in range(12) for i in range(1, n + 1)]
    assert problems == {"unreadable picture": [f"{number}-0" for number in range(12)]}


def test_failed_shard_leaves_nothing(tmp_path):
    def examples():
        yield b"one"
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError):
        shards.write_shard(tmp_path / "a.tfrecord", examples())
    assert list(tmp_path.iterdir()) == []


def test_tensorflow_reads_what_is_written(shard):
    assert list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()) == CONTENTS
