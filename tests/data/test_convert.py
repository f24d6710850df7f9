"""`dataset convert` end to end: what it prints, writes and refuses."""

import json
from argparse import ArgumentParser

import pytest
from PIL import Image

from keras_retinanet.cli import run
from keras_retinanet.commands.dataset import convert as command
from keras_retinanet.data.writers import WRITERS


def convert(*words):
    parser = ArgumentParser()
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)
    return run(parser.parse_args(list(map(str, words))))


@pytest.fixture
def coco_folder(tmp_path):
    """Two splits of one picture; that of train has a good, a flat and a crowd box."""
    folder = tmp_path / "src"
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        Image.new("RGB", (100, 60)).save(folder / split / "a.png")
        boxes = [[10, 20, 30, 40], [5, 5, 0, 9], [1, 1, 50, 50]] if split == "train" else []
        content = {
            "images": [{"id": 1, "file_name": "a.png", "height": 60, "width": 100}],
            "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
            "annotations": [
                {"id": i, "image_id": 1, "category_id": 3, "bbox": box, "iscrowd": int(i == 2)}
                for i, box in enumerate(boxes)
            ],
        }
        path = folder / f"annotations/instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("form", WRITERS)
def test_says_what_it_reads_repairs_and_loses(coco_folder, tmp_path, capsys, form):
    assert convert(coco_folder, tmp_path / "out", "--to", form) == 0
    printed = capsys.readouterr().out
    assert "is recognized as coco" in printed
    assert "train: 1 image, 2 boxes (1 to ignore), 2 classes\n" in printed
    assert "val: 1 image, 0 boxes (0 to ignore), 2 classes\n" in printed
    assert "train: box without area, dropped: 1 (" in printed
    assert ("1 box to ignore" in printed) == (form not in ("coco", "tfrecord"))
    assert printed.endswith(f"Wrote {tmp_path / 'out'} as {form}.\n")
    if form in ("labelstudio", "cvat"):
        return  # forms that are written for these tools alone; they export COCO or VOC
    # And back, from what lies there.
    source = ("--from", form)
    assert convert(tmp_path / "out", tmp_path / "back", "--to", "coco", *source) == 0
    rows = json.loads((tmp_path / "back/annotations/instances_train.json").read_text())
    assert rows["annotations"][0]["bbox"] == [10, 20, 30, 40]
    assert {path.name for path in tmp_path.iterdir()} == {"src", "out", "back"}


def test_splits_classes_and_a_file(coco_folder, tmp_path, capsys):
    flags = ("--to", "tfrecord", "--split", "train", "--classes", "dog,cat", "--shards", "1")
    assert convert(coco_folder, tmp_path / "out", *flags) == 0
    assert "2 classes" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "out").glob("*.tfrecord*"))
    assert names == ["out-train.tfrecord-00000-of-00001"]
    file = coco_folder / "annotations/instances_train.json"
    images = ("--images", coco_folder / "train", "--from", "coco")
    assert convert(file, tmp_path / "csv", "--to", "csv", *images) == 0
    rows = (tmp_path / "csv/annotations.csv").read_text()
    assert rows == "images/a.png,10,20,40,60,cat\n"


@pytest.mark.long
def test_embedded_scenes(tmp_path, capsys, monkeypatch):
    from keras_retinanet.data.loading import SOURCES
    from keras_retinanet.data.sources import shapes

    monkeypatch.setattr(SOURCES["shapes"], "STREAMS", {"val": shapes.STREAMS["val"]})
    assert convert("shapes", tmp_path / "out", "--to", "yolo", "--classes", "star") == 0
    assert len(list((tmp_path / "out/images/val").iterdir())) == 60
    assert "val: 60 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["absent", "out", "--to", "voc"], "absent, which does not exist"),
        (["src", "out", "--to", "voc", "--from", "xml"], "--from xml"),
        (["src", "out", "--to", "voc", "--split", "night"], "split=night"),
        (["src", "out", "--to", "voc", "--classes", "cow"], "classes=cow"),
        (["src", "src", "--to", "voc"], "new or an empty folder"),
        (["src", "out", "--to", "voc", "--strict"], "box without area"),
        (["src", "out", "--to", "tfrecord", "--workers", "0"], "--workers"),
    ],
)
def test_what_the_user_got_wrong(coco_folder, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert convert(*words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


def test_forms_are_those_that_can_be_written():
    assert list(WRITERS) == list(command.FORMS)
