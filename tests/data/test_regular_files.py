"""Folders of strangers: a bad entry is one entry, and nothing is read that waits or never ends."""

import io
import os
import struct
import subprocess
import sys
import zlib

import pytest
from faults.alarm import alarm
from faults.small_sets import SETS, config_of
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.config.files import load_config
from keras_retinanet.data.loading import SOURCES
from keras_retinanet.data.records import ImageRef, read_slice
from keras_retinanet.data.regular_files import (
    find_folder,
    is_regular,
    matching,
    visible_files,
    walk,
)
from keras_retinanet.data.sources.coco_json import read_coco
from keras_retinanet.data.sources.label_map import read_label_map
from keras_retinanet.data.sources.recognition import recognise
from keras_retinanet.data.sources.source_files import csv_rows
from keras_retinanet.data.sources.voc_xml import VocFileError, read_objects
from keras_retinanet.errors import UserError
from keras_retinanet.files import open_regular
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import (
    MAX_PICTURE_BYTES,
    PictureError,
    read_header,
    read_picture,
)
from keras_retinanet.inference.batching import BATCH_PIXELS, bounded_batches
from keras_retinanet.inference.videos import Video
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import save_model

SECONDS = 60  # only an end


def add_loop(folder):
    for name in ("zz.png", "aa.xml", "aa.txt", "aa.record", "0.csv", "instances_a.json", "aa"):
        (folder / name).symlink_to(name)


def add_specials(folder):
    os.mkfifo(folder / "00.png")
    (folder / "01.png").symlink_to("/dev/zero")
    (folder / "02.png").symlink_to("00.png")


def add_names(folder):
    (folder / "a\nb\x1b[2J.png").write_bytes(b"")
    with open(os.fsencode(folder) + b"/\xff.png", "wb"):
        pass


def read(kind, folder):
    config = config_of(kind, folder)
    splits = SOURCES[kind].splits(config)
    dataset = SOURCES[kind].load(config, splits[0] if splits else None)
    return splits, [(record.file_name, len(record.boxes)) for record in dataset.records]


@pytest.mark.parametrize("add", [add_loop, add_specials, add_names])
@pytest.mark.parametrize("kind", SETS)
def test_bad_entries_hide_no_picture(kind, add, tmp_path):
    SETS[kind](tmp_path)
    found, told = read(kind, tmp_path), recognise(tmp_path)[0]
    folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
    for folder in folders:
        add(folder)
    with alarm(SECONDS):
        splits, rows = read(kind, tmp_path)
        assert recognise(tmp_path)[0] == told
    assert splits == found[0]
    assert rows == found[1]


def test_a_folder_that_cannot_be_listed_hides_no_other(tmp_path, monkeypatch):
    for name in ("a", "locked", "z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.xml").write_text("")
    scandir = os.scandir

    def guarded(path="."):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    expected = [tmp_path / "a/x.xml", tmp_path / "z/x.xml"]
    assert [path for path in matching(tmp_path, "*/*.xml") if "locked" not in str(path)] == expected
    assert list(walk(tmp_path)) == expected
    monkeypatch.setattr(type(tmp_path), "is_file", _refused)
    assert not is_regular(tmp_path / "a/x.xml")


def _refused(_path):
    raise PermissionError(13, "Permission denied")


READERS = {
    "coco": (read_coco, UserError),
    "csv": (lambda path: list(csv_rows(path)), UserError),
    "header": (read_header, PictureError),
    "label map": (read_label_map, UserError),
    "picture": (read_picture, OSError),
    "slice": (lambda path: read_slice(ImageRef(str(path), 1, 5)), OSError),
    "video": (Video, OSError),
    "voc": (read_objects, VocFileError),
    "yolo": (
        lambda path: SOURCES["yolo"].splits(DataConfig(source="yolo", annotations=str(path))),
        UserError,
    ),
}


@pytest.mark.parametrize("special", ["fifo", "zero", "folder"])
@pytest.mark.parametrize("reader", READERS)
def test_special_files_are_refused_at_once(reader, special, tmp_path):
    path = tmp_path / "x.txt"
    if special == "fifo":
        os.mkfifo(path)
    elif special == "zero":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    read, error = READERS[reader]
    with alarm(SECONDS), pytest.raises(error):
        read(path)


def test_files_beyond_the_limit_are_not_read(tmp_path):
    path = tmp_path / "a.png"
    with open(path, "wb") as stream:
        stream.truncate(MAX_PICTURE_BYTES + 1)  # takes no room
    with pytest.raises(OSError, match="more than"):
        read_slice(ImageRef(str(path)))
    with open_regular(path) as stream:
        assert stream.read(1) == b"\0"


# -------------------------------------------------------------------- pictures that promise much


def chunk(name, content):
    checked = name + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(side, *extra):
    """A black square, nearly as small as any."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    packer, row = zlib.compressobj(9), bytes(1 + 3 * side)
    pixels = b"".join([*(packer.compress(row) for _ in range(side)), packer.flush()])
    parts = [head, *extra, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_pictures_of_nothing_but_parts_are_refused():
    for content in (
        png(8, *[chunk(b"teSt", b"")] * 20_000),
        b"\xff\xd8" + b"\xff\xe0\0\x02" * 20_000,
        b"\xff\xd8" + b"\xff" * 10_000,
    ):
        with pytest.raises(PictureError):
            read_header(content)


def test_only_the_start_of_an_exif_block_is_read():
    header = read_header(png(8, chunk(b"eXIf", b"II" + bytes(1 << 20))))
    assert header.exif.startswith(b"II") and len(header.exif) == 1 << 16
    assert decode_image(png(8, chunk(b"eXIf", b"II"))).shape == (8, 8, 3)


def test_batches_end_at_their_pixels():
    made = []

    def items():
        for number in range(6):
            made.append(number)
            yield number

    pixels = [1, BATCH_PIXELS, 1, 1, 1, 1]
    batches = []
    for batch in bounded_batches(items(), 3, pixels.__getitem__):
        batches.append(list(batch))
        assert made[-1] == batch[-1]  # none is made before its turn
    assert batches == [[0, 1], [2, 3, 4], [5]]


PREDICT = """
import resource, sys
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.cli import main
try:
    main(sys.argv[1:])
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_predict_takes_huge_pictures_one_by_one(tmp_path, small_model):
    """Eight of 64 megapixels, 192 MB each decoded, in no more memory than two."""
    content = png(8000)
    peaks = []
    for count in (1, 8):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.png").write_bytes(content)
        words = ["predict", folder, "--model", small_model, "--out", tmp_path / f"out{count}"]
        done = subprocess.run(
            [sys.executable, "-c", PREDICT, *map(str, words)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / f"out{count}").glob("*.jpg"))) == count
        peaks.append(int(done.stdout.rsplit("peak ", 1)[1]))
    assert peaks[1] < peaks[0] + 400, peaks


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    sizes = {
        "model.backbone.name": "resnet18",
        "model.fpn.channels": 16,
        "model.head.channels": 16,
        "model.head.depth": 1,
        "model.preprocessing.short_side": 64,
        "model.preprocessing.long_side": 64,
    }
    path = tmp_path_factory.mktemp("model") / "a.keras"
    save_model(RetinaNet(load_config("shapes", sizes).model, ["dog", "cat"]), path)
    return path


@pytest.mark.long
def test_predict_goes_on_after_bad_entries(tmp_path, small_model):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (b"a\x1b[2J\nb.png", b"\xff.png"):
        with open(os.path.join(os.fsencode(folder), name), "wb") as stream:
            stream.write(png(8))
    (folder / "=b.png").write_bytes(png(8))
    add_loop(folder)
    os.mkfifo(folder / "00.png")
    (folder / "01.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "02.mp4")
    words = ["predict", ".", "--model", small_model, "--out", tmp_path / "out", "--threshold", 0]
    done = subprocess.run(
        [sys.executable, "-m", "keras_retinanet", *map(str, words)],
        capture_output=True, cwd=folder, timeout=600, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in (b"00.png", b"01.png", b"02.mp4", b"zz.png"):
        assert b"skipped " + name in done.stderr
    assert b"\x1b" not in done.stdout + done.stderr and b"\xff" not in done.stdout + done.stderr
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 3


def test_tiles_larger_than_any_image_are_refused():
    # Width, length, bits, compression, kind of pixels, samples, tiles: their sides, place and size.
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 30_000, 323: 30_000}
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    places = struct.pack("<HHIIHHII", 324, 4, 1, 8, 325, 4, 1, 100)
    content = b"II*\0" + struct.pack("<IH", 8, len(tags) + 2) + fields + places + bytes(100)
    with pytest.raises(PictureError, match="tiles of 30000 x 30000") as caught:
        read_header(content)
    assert caught.value.kind == "huge picture"


def test_a_jpeg_of_endless_scans_is_refused():
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    assert decode_image(content).shape == (64, 64, 3)
    last = content[content.rindex(b"\xff\xda") : -2]
    # Its header promises more pixels than it has: the count alone is looked at.
    frame = content.index(b"\xff\xc2") + 5
    content = content[:frame] + struct.pack(">HH", 10_000, 10_000) + content[frame + 4 :]
    with pytest.raises(PictureError, match=r"\d+ scans of 10000 x 10000") as caught:
        decode_image(content[:-2] + last * 40 + b"\xff\xd9")
    assert caught.value.kind == "huge picture"


def test_what_is_hidden_is_no_data(tmp_path):
    names = ["a/b.xml", "A/C.XML", ".git/b.xml", "a/.b.xml", "__MACOSX/b.xml", "a/Thumbs.db"]
    names += [".ipynb_checkpoints/b.xml", "a/.ipynb_checkpoints/c.xml", "a/._b.xml", "@eaDir/b.xml"]
    for name in names:
        (tmp_path / ".hidden" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / ".hidden" / name).touch()
    # Where the user points is never hidden.
    root = tmp_path / ".hidden"
    expected = [root / "A/C.XML", root / "a/b.xml"]
    assert list(walk(root)) == matching(root, "*/*.xml") == expected
    assert visible_files(root / "a") == ["b.xml"] and visible_files(root / "absent") == []
    assert find_folder(root, "absent", "A") in (root / "A", root / "a")
    assert find_folder(root, "macosx", "@eadir") is None
