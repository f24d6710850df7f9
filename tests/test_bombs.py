"""Files that would take all memory or time: each is one line, soon, before anything is reserved."""

import contextlib
import gzip
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from faults.alarm import alarm
from hostile_files import VALUES, tensor, write_torch_zip

from keras_retinanet.checkpoints.model_files import model_file
from keras_retinanet.config import DataConfig
from keras_retinanet.config.files import load_config
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.sources.label_map import read_label_map
from keras_retinanet.data.sources.openimages_classes import read_hierarchy
from keras_retinanet.data.sources.shards import masked_crc32c, read_records
from keras_retinanet.data.sources.source_files import csv_rows, label_lines
from keras_retinanet.data.sources.voc_xml import VocFileError, read_objects
from keras_retinanet.errors import MAX_MESSAGE, MAX_SHOWN, UserError, shown
from keras_retinanet.evaluation.metrics.coco_metric import score_files
from keras_retinanet.modeling.saving import read_config
from keras_retinanet.training.learning_curves import learning_curves
from keras_retinanet.weight_files.archives import unpacked
from keras_retinanet.weight_files.reading import read_checkpoint

SECONDS = 20
MEGABYTE = 1 << 20


@contextlib.contextmanager
def refused(words=None):
    """One short line within `SECONDS`."""
    with alarm(SECONDS), pytest.raises((UserError, VocFileError), match=words) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) <= MAX_MESSAGE


# ------------------------------------------------------------------------- what is no regular file


def of_source(source):
    return lambda path: load_dataset(DataConfig(source=source, annotations=str(path)))


READERS = {
    "model.pth": read_checkpoint,
    "model.safetensors": read_checkpoint,
    "model.h5": read_checkpoint,
    "own.keras": read_config,
    "named.keras": model_file,
    "archive.tar.gz": unpacked,
    "config.yaml": load_config,
    "data.yaml": of_source("yolo"),
    "coco.json": of_source("coco"),
    "detections.json": lambda path: score_files(path, path),
    "boxes.csv": of_source("csv"),
    "rows.csv": lambda path: list(csv_rows(path)),
    "metrics.csv": lambda path: learning_curves(path, path.with_suffix(".png")),
    "label_map.pbtxt": read_label_map,
    "hierarchy.json": read_hierarchy,
    "voc.xml": read_objects,
}


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, endless])
@pytest.mark.parametrize("name", READERS)
def test_pipes_and_devices_are_refused(tmp_path, name, make):
    make(tmp_path / name)
    with refused(name.partition(".")[0] if READERS[name] is not read_objects else None):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("make", [pipe, endless])
def test_an_annotation_or_a_shard_that_is_a_pipe_is_counted_or_named(tmp_path, make):
    make(tmp_path / "file")
    problems = Problems()
    with alarm(SECONDS):
        assert label_lines(str(tmp_path / "file"), problems) is None
        assert "not a regular file" in problems["unreadable annotation"][0]
        with pytest.raises(OSError, match="not a regular file"):
            list(read_records(str(tmp_path / "file"), problems))


@pytest.mark.parametrize(
    "name", [name for name in READERS if name not in ("rows.csv", "named.keras")]
)
def test_a_terabyte_of_nothing_is_not_read(tmp_path, name):
    """A sparse file takes no room on the disk. Of CSV a line is read; `load` tells of a .keras."""
    with open(tmp_path / name, "wb") as stream:
        stream.truncate(1 << 40)
    with refused():
        READERS[name](tmp_path / name)


# --------------------------------------------------------------------------------------- weights


@pytest.mark.long
def test_a_configuration_of_gigabytes_is_not_unpacked(tmp_path):
    """The real command, in a process that cannot have more than the bomb."""
    path = tmp_path / "bomb.keras"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("config.json", "w") as member,
    ):
        for _ in range(600):
            member.write(b" " * MEGABYTE)
    code = (
        "import sys, tensorflow; sys.argv[1:] = ['info', sys.argv[1]]\n"
        "import resource; from pathlib import Path\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20),) * 2)\n"
        "from keras_retinanet.cli import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=200
    )
    assert ended.returncode == 2, ended.stderr
    assert "a configuration larger than any model's" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_members_whose_sizes_lie_are_refused(tmp_path):
    path = tmp_path / "liar.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * (40 * MEGABYTE))
    content = path.read_bytes()
    for claim in (100, 0xFFFFFFFE):
        path.write_bytes(
            content.replace(struct.pack("<I", 40 * MEGABYTE), struct.pack("<I", claim))
        )
        with refused("liar"):
            read_config(path)
        with refused("liar"):
            read_checkpoint(path)


def test_a_zip_of_a_million_members_is_refused(tmp_path):
    path = tmp_path / "many.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(60_000):
            archive.writestr(f"{number:030}", b"")
    with refused("more members"):
        read_checkpoint(path)


def huge_shape():
    """A product of this takes minutes."""
    return (1 << 4000,) * 200_000


def test_a_huge_product_of_a_shape_is_not_computed(tmp_path):
    ones = (1,) * 200_000
    write_torch_zip(tmp_path / "a.pth", {"w": tensor("0", 6, ())}, {"0": VALUES})
    for name, shape in (("sides.pth", huge_shape()), ("rank.pth", ones)):
        wrong = tensor("0", 6, ())
        function, arguments = wrong.call
        wrong.call = (function, (*arguments[:2], shape, shape, *arguments[4:]))
        write_torch_zip(tmp_path / name, {"w": wrong}, {"0": VALUES})
        with refused("shape|size"):
            read_checkpoint(tmp_path / name)
    sides = b",".join([b"9" * 4000] * 2500)
    header = b'{"w":{"dtype":"F32","shape":[' + sides + b'],"data_offsets":[0,24]}}'
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + VALUES.tobytes())
    with refused("shape|size"):
        read_checkpoint(path)


@pytest.mark.long
def test_long_keys_and_names_of_a_pickle_are_not_read_a_million_times(tmp_path):
    """A key of a megabyte that the memo gives again and again, and such a name of a class."""
    key = b"x" * MEGABYTE
    stored = b"B" + struct.pack("<I", len(key)) + key + b"q\x00"
    path = tmp_path / "keys.pkl"
    path.write_bytes(b"\x80\x02}(" + stored + b"K\x01" + b"h\x00K\x01" * 400_000 + b"u.")
    with refused():
        read_checkpoint(path)
    name = b"__" + b"a" * MEGABYTE + b"ctor"
    words = b"\x8c\x14numpy.random._pickleq\x00X" + struct.pack("<I", len(name)) + name + b"q\x01"
    path.write_bytes(b"\x80\x04](" + words + b"\x93" + b"h\x00h\x01\x93" * 100_000 + b"e.")
    with refused("longer than any class"):
        read_checkpoint(path)


def test_one_place_of_hdf5_is_not_read_under_many_names(tmp_path):
    path = tmp_path / "links.h5"
    with h5py.File(path, "w") as file:
        file["w0"] = np.zeros(MEGABYTE, "f4")
        for number in range(1, 2000):
            file[f"w{number}"] = file["w0"]
    with refused("larger than the file holds"):
        read_checkpoint(path)


def test_a_record_that_claims_terabytes_does_not_end_the_process(tmp_path):
    def record(length, content):
        head = struct.pack("<Q", length)
        return b"".join(
            (head, struct.pack("<I", masked_crc32c(head)), content)
            + (struct.pack("<I", masked_crc32c(content)),)
        )

    path = tmp_path / "shard.tfrecord"
    path.write_bytes(record(3, b"abc") + record(1 << 42, b"abc"))
    found = read_records(str(path), Problems())
    assert next(found) == (12, b"abc")
    with refused("cut off"):
        next(found)


def tar_gz(path, *members):
    """Each a name, a claimed size and the bytes that are there."""
    with gzip.open(path, "wb") as stream:
        for name, size, kind, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.type = size, kind
            stream.write(info.tobuf(tarfile.GNU_FORMAT))
            for piece in content:
                stream.write(piece)


@pytest.mark.parametrize(
    "member",
    [
        ("w.index", 64 * MEGABYTE, tarfile.REGTYPE, [bytes(MEGABYTE)] * 64),
        ("folder", 64 * MEGABYTE, b"Z", [bytes(MEGABYTE)] * 64),
        ("./PaxHeaders/w", 1 << 33, tarfile.XHDTYPE, [bytes(MEGABYTE)] * 64),
    ],
    ids=["file", "skipped", "header"],
)
def test_archives_unpack_to_a_size_that_weights_can_have(tmp_path, member):
    path = tmp_path / "w.tar.gz"
    tar_gz(path, member)
    with refused(r"w\.tar\.gz"):
        unpacked(path)
    assert os.listdir(tmp_path) == ["w.tar.gz"]


def test_an_archive_of_too_many_files_is_refused(tmp_path):
    path = tmp_path / "w.tar.gz"
    tar_gz(path, *((f"{number}", 0, tarfile.REGTYPE, []) for number in range(200)))
    with refused("too many"):
        unpacked(path)


# -------------------------------------------------------------------------------------- messages


def test_a_message_shows_a_value_cut(tmp_path):
    loop: list = []
    loop += [loop] * 100
    nested: object = "x" * 100
    for _ in range(30):
        nested = [nested] * 10
    for value in (loop, nested, 1 << 100_000, "é" * 10**7, {"a" * 10**6: nested}, Path("a" * 300)):
        with alarm(SECONDS):
            assert len(shown(value)) <= MAX_SHOWN
    assert shown([1, "a", None]) == "[1, 'a', None]"
    assert len(str(UserError("x" * 10**6 + "end"))) <= MAX_MESSAGE
    assert str(UserError("x" * 10**6 + "end")).endswith("end")
