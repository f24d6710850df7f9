"""Data sets cut into tiles: pixels, boxes at borders, names, empty tiles, and the command."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.cli import run
from keras_retinanet.commands.dataset import tile as command
from keras_retinanet.commands.dataset.convert import write_splits
from keras_retinanet.config import DataConfig
from keras_retinanet.data.cutting import cut_dataset
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.errors import UserError
from keras_retinanet.files.images import headers

OPTIONS = {"side": 64, "overlap": 0.0, "min_visible": 0.1, "empty": 1.0}


def encoded(size, form="PNG", seed=0, **options):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return pixels, stream.getvalue()


def dataset(content, *boxes, size=(128, 192), name="a.png", ignore=()):
    objects = [(box, number % 2, number in ignore, None) for number, box in enumerate(boxes)]
    record = make_record(
        "a", ImageRef(name), size, file_name=name, objects=objects, problems=Problems()
    )
    return Dataset("set", "train", ["a", "b"], [1, 2], [record], reader=lambda image: content)


def decoded(data, index):
    return np.asarray(Image.open(io.BytesIO(data.read_bytes(index))))


def test_tiles_have_the_pixels_and_names_of_their_places():
    pixels, content = encoded((128, 192))
    tiles, counts = cut_dataset(dataset(content), **OPTIONS)
    names = [record.file_name for record in tiles.records]
    assert names == [f"a_r{row}_c{column}.png" for row in range(2) for column in range(3)]
    for index, (row, column) in enumerate(np.ndindex(2, 3)):
        part = pixels[64 * row : 64 * row + 64, 64 * column : 64 * column + 64]
        np.testing.assert_array_equal(decoded(tiles, index), part)
        assert tiles.read_bytes(index).startswith(b"\x89PNG")
    np.testing.assert_array_equal(decoded(tiles, 0), pixels[:64, :64])  # and back again
    assert (counts.tiles, counts.empty, counts.kept, counts.lost) == (6, 6, 6, 0)


def test_boxes_are_cut_by_hand():
    boxes = [
        (10, 20, 30, 40),  # within the first tile
        (54, 10, 74, 30),  # half in each of two
        (60, 60, 100, 100),  # 1/100, 9/100, 9/100 and 81/100 in four
        (-10, 100, 10, 120),  # half outside of the image, which takes nothing away
    ]
    tiles, counts = cut_dataset(dataset(encoded((128, 192))[1], *boxes), **OPTIONS)
    found = {record.file_name: record for record in tiles.records}
    np.testing.assert_array_equal(found["a_r0_c0.png"].boxes, [[10, 20, 30, 40], [54, 10, 64, 30]])
    np.testing.assert_array_equal(found["a_r0_c0.png"].areas, [400, 200])
    np.testing.assert_array_equal(found["a_r0_c1.png"].boxes, [[0, 10, 10, 30]])
    np.testing.assert_array_equal(found["a_r0_c1.png"].classes, [1])
    np.testing.assert_array_equal(found["a_r1_c0.png"].boxes, [[0, 36, 10, 56]])
    np.testing.assert_array_equal(found["a_r1_c1.png"].boxes, [[0, 0, 36, 36]])
    assert found["a_r1_c1.png"].areas == pytest.approx(36 * 36)
    assert (counts.boxes, counts.tile_boxes, counts.lost, counts.empty) == (4, 5, 0, 2)


def test_a_box_that_no_tile_shows_enough_of_is_counted_and_a_region_to_ignore_stays():
    region = (0, 0, 192, 128)
    data = dataset(encoded((128, 192))[1], (54, 10, 74, 30), region, ignore={1})
    tiles, counts = cut_dataset(data, **{**OPTIONS, "min_visible": 0.6})
    assert counts.lost == 1 and counts.empty == 0
    for record in tiles.records:
        np.testing.assert_array_equal(record.boxes, [[0, 0, 64, 64]])
        assert record.ignore.all()


@pytest.mark.parametrize(("share", "kept"), [(0, 0), (0.2, 1), (0.5, 2), (1, 5)])
def test_a_share_of_the_empty_tiles_is_kept(share, kept):
    data = dataset(encoded((128, 192))[1], (10, 20, 30, 40))
    tiles, counts = cut_dataset(data, **{**OPTIONS, "empty": share})
    assert len(tiles.records) == counts.tiles == 1 + kept == 1 + counts.kept
    assert counts.empty == 5


def test_a_lossy_source_gives_jpeg_near_its_pixels():
    _, content = encoded((128, 192), "JPEG", quality=90)
    tiles, _ = cut_dataset(dataset(content, name="a.jpg"), **OPTIONS)
    assert tiles.records[4].file_name == "a_r1_c1.jpg"
    assert tiles.read_bytes(4).startswith(b"\xff\xd8\xff")
    source = np.asarray(Image.open(io.BytesIO(content)))[64:, 64:128].astype(int)
    assert np.abs(decoded(tiles, 4) - source).mean() < 6


def test_an_image_of_another_size_than_annotated_is_no_tile():
    tiles, _ = cut_dataset(dataset(encoded((128, 128))[1]), **OPTIONS)
    with pytest.raises(UserError, match=r"as annotated\. Received: 128 x 128"):
        tiles.read_bytes(0)


# ----------------------------------------------------------------------------------- the command


@pytest.fixture
def aerial(tmp_path):
    folder = tmp_path / "src"
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        (folder / split / "a.png").write_bytes(encoded((128, 192))[1])
        content = {
            "images": [{"id": 1, "file_name": "a.png", "height": 128, "width": 192}],
            "categories": [{"id": 3, "name": "tree"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 3, "bbox": [54, 10, 20, 20], "area": 400}
            ],
        }
        path = folder / f"annotations/instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("form", ["coco", "voc", "csv", "yolo", "tfrecord"])
def test_the_command_writes_a_data_set_that_is_read_back(aerial, tmp_path, capsys, form):
    before = {path: path.read_bytes() for path in aerial.rglob("*") if path.is_file()}
    words = ["--data_dir", str(aerial), "--side", "64", "--overlap", "0", "--empty", ".5"]
    out = tmp_path / "tiles"
    assert run(parsed([*words, "--out", str(out), "--to", form])) == 0
    printed = capsys.readouterr().out
    assert (
        "train: 1 image, 1 box -> 4 tiles with 2 boxes; 2 of 4 tiles without boxes kept" in printed
    )
    assert "val: 1 image, 1 box -> 6 tiles with 2 boxes; 4 of 4 tiles without boxes kept" in printed
    assert {path: path.read_bytes() for path in before} == before
    for split, count in (("train", 4), ("val", 6)):
        found = load_dataset(DataConfig(source=form, data_dir=str(out)), split)
        boxes = np.concatenate([record.boxes for record in found.records])
        assert len(found.records) == count
        np.testing.assert_allclose(boxes, [[54, 10, 64, 30], [0, 10, 10, 30]], atol=1e-3)
        assert {(record.height, record.width) for record in found.records} == {(64, 64)}
    # A second call leaves what is there.
    assert run(parsed([*words, "--out", str(out), "--to", form])) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["src", "tiles"]


def parsed(words):
    from argparse import ArgumentParser

    parser = ArgumentParser()
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--side 8", "Received: tile=8"),
        ("--side 64 --overlap 1", "Received: overlap=1"),
        ("--side 64 --empty 2", "Expected --empty of 0 to 1. Received: 2.0"),
        ("--side 64 --split test", "Received: split=test"),
    ],
)
def test_what_cannot_be_is_one_line(aerial, tmp_path, capsys, words, message):
    out = str(tmp_path / "tiles")
    assert run(parsed(["--data_dir", str(aerial), "--out", out, *words.split()])) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "tiles").exists()


@pytest.mark.parametrize("form", ["coco", "voc"])
def test_a_tiff_too_large_to_decode_is_cut_in_parts(form, aerial, tmp_path, monkeypatch, capsys):
    """With sizes from the annotations, and from the headers of the files."""
    folder = as_tiffs(aerial, tmp_path / "tiffs", form)
    words = ["--data_dir", str(folder), "--side", "64", "--to", "coco"]
    found = []
    for number, limit in enumerate((headers.MAX_PIXELS, 20_000)):
        monkeypatch.setattr(headers, "MAX_PIXELS", limit)
        out = tmp_path / f"out{number}"
        assert run(parsed([*words, "--out", str(out)])) == 0
        found.append({p.name: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()})
    assert found[0] == found[1] and len(found[0]) > 8
    capsys.readouterr()
    # Training and evaluation decode whole images: they leave it out, and say so.
    with pytest.raises(UserError, match=r"huge picture, skipped \(dataset tile cuts"):
        load_dataset(DataConfig(source=form, data_dir=str(folder)), "train")


def as_tiffs(aerial, out, form):
    """Return the data set as one whose images are TIFFs of strips."""
    data = DataConfig(source="coco", data_dir=str(aerial))
    splits = {split: load_dataset(data, split) for split in ("train", "val")}
    write_splits(splits, str(out), form)
    for path in [*out.rglob("*.png")]:
        Image.open(path).save(path.with_suffix(".tif"), compression="tiff_lzw", tiffinfo={278: 16})
        path.unlink()
    for path in [*out.rglob("*.json"), *out.rglob("*.xml")]:
        path.write_text(path.read_text().replace(".png", ".tif"))
    return out
