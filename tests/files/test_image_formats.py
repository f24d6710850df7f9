"""One list of image formats: every suffix in it is found, and every first byte in it is read."""

import ast
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.commands.predict_files import find_pictures
from keras_retinanet.config import DataConfig
from keras_retinanet.data.sources import yolo
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import READERS, PictureError, read_header
from keras_retinanet.files.images.image_formats import (
    IMAGE_SUFFIXES,
    SIGNATURES,
    SUFFIXES,
    image_format,
)

ROOT = Path(__file__).parents[2]


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", SUFFIXES)
def test_formats_are_told_by_their_first_bytes_and_decoded(kind):
    assert image_format(encoded(kind)) == kind
    assert decode_image(encoded(kind)).shape == (5, 7, 3)


def test_every_list_has_the_same_formats():
    assert set(SIGNATURES.values()) == set(SUFFIXES) == set(READERS)


@pytest.mark.parametrize("content", [b"", b"text", b"RIFF....WAVEfmt ", b"RIFF"])
def test_other_files_are_of_no_format(content):
    assert image_format(content) is None
    with pytest.raises(PictureError):
        read_header(content)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_a_folder_is_searched_for_every_suffix(suffix, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    kind = next(kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes)
    (folder / f"a{suffix.upper()}").write_bytes(encoded(kind))
    assert [path.name for path in find_pictures([str(folder)])] == [f"a{suffix.upper()}"]
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 .5 .5 .5 .5\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\n")
    (record,) = yolo.load(DataConfig(source="yolo", data_dir=str(tmp_path)), "train").records
    assert (record.height, record.width, len(record.boxes)) == (5, 7, 1)


def test_the_consumers_list_is_that_of_the_formats_that_savedmodels_decode():
    """export/ needs no part of the package, so that it has a list of its own."""
    tree = ast.parse((ROOT / "export/pictures.py").read_text(encoding="utf-8"))
    (value,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SUFFIXES"
    )
    assert value == IMAGE_SUFFIXES - set(SUFFIXES["TIFF"])


def test_no_other_file_lists_suffixes():
    """A set of several suffixes anywhere else is a second list."""
    common = {".jpg", ".png", ".bmp"}
    for path in sorted((ROOT / "keras_retinanet").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                texts = {item.value for item in node.elts if isinstance(item, ast.Constant)}
                assert len(common & texts) < 2, (path, ast.unparse(node))
