"""`predict --write`, `--crops`, `--classes` and thresholds of classes."""

import argparse
import csv
import json

import numpy as np
import pytest
from in_process import command
from PIL import Image
from writer_sets import load_all

from keras_retinanet.commands.choosing import thresholds
from keras_retinanet.config import ModelConfig
from keras_retinanet.data.writers import WRITERS
from keras_retinanet.exporting import exported
from keras_retinanet.inference.labels import folder_name, save_crops
from keras_retinanet.modeling.detections import Detections

NAMES = ["cat", "dog"]
# Corners, score and class of what is found in each image of 100 x 80 pixels.
FOUND = [((10, 20, 40, 60), 0.9, 1), ((5, 5, 25, 15), 0.6, 0), ((50, 30, 90, 70.5), 0.3, 1)]


class Finder:
    """Finds `FOUND` in every image that is not black."""

    config, class_names, class_ids = ModelConfig(), NAMES, [17, 18]

    def __init__(self):
        self.metadata = {}

    def detect(self, images, *, batch_size):
        return [self._find(image) for image in images]

    def _find(self, image):
        rows = FOUND if image.any() else []
        boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
        scores = np.array([score for _, score, _ in rows], np.float32)
        return Detections(boxes, scores, np.array([c for _, _, c in rows], np.int32), NAMES)


@pytest.fixture
def predict(tmp_path, monkeypatch):
    monkeypatch.setattr(exported, "load_detector", lambda path, **_: Finder())
    (tmp_path / "model.keras").touch()
    for name, value in (("a/x.png", 255), ("b/x.png", 200), ("b/black.png", 0)):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (100, 80), (value, value // 2, value // 3)).save(path)

    def run(*words):
        images, model = str(tmp_path / "in/**/*.png"), tmp_path / "model.keras"
        return command("predict", images, "--model", model, "--out", tmp_path / "out", *words)

    return run


def size_of(path):
    with Image.open(path) as image:
        return image.size


def rows(dataset):
    """Return file name -> (class, corners) of a data set's images."""
    return {
        record.file_name: [
            (dataset.class_names[index], *np.round(box, 3).tolist())
            for index, box in zip(record.classes, record.boxes, strict=True)
        ]
        for record in dataset.records
    }


@pytest.mark.parametrize("form", WRITERS)
def test_boxes_of_the_threshold_are_the_labels_of_all_forms(predict, tmp_path, form, capsys):
    assert predict("--write", form, "--threshold", ".5") == 0
    found = load_all(form, tmp_path / "out" / form)["train"]
    assert len(found.records) == 3
    by_name = rows(found)
    empty = [name for name in by_name if "black" in name]
    assert [by_name.pop(name) for name in empty] == [[]]
    for labels in by_name.values():
        assert labels == [("dog", 10, 20, 40, 60), ("cat", 5, 5, 25, 15)]
    originals = {path.read_bytes() for path in (tmp_path / "in").rglob("*.png")}
    assert {found.read_bytes(index) for index in range(3)} == originals
    assert f"Wrote {tmp_path / 'out' / form} as {form}." in capsys.readouterr().out


def test_classes_and_thresholds_of_classes_choose_all_that_is_written(predict, tmp_path, capsys):
    words = ["--classes", "dog", "--threshold", ".95,dog=.25", "--write", "coco", "--crops"]
    assert predict(*words) == 0
    printed = capsys.readouterr().out
    assert "4 boxes of the score of their class or more (dog 0.250) drawn" in printed
    labels = json.loads((tmp_path / "out/coco/annotations/instances_train.json").read_text())
    assert labels["categories"] == [{"id": 18, "name": "dog"}]
    assert [row["score"] for row in labels["annotations"]] == [0.9, 0.3, 0.9, 0.3]
    assert [row["file_name"] for row in labels["images"]] == ["a/x.png", "b/black.png", "b/x.png"]
    results = json.loads((tmp_path / "out/detections.json").read_text())
    assert {row["category_id"] for row in results} == {18}
    with open(tmp_path / "out/detections.csv", newline="", encoding="utf-8") as file:
        assert {row["class"] for row in csv.DictReader(file)} == {"dog"}
    crops = sorted((tmp_path / "out/crops").rglob("*.jpg"))
    assert [str(path.relative_to(tmp_path / "out/crops")) for path in crops] == [
        *("dog/x_1.jpg", "dog/x_2.jpg", "dog/x_2_1.jpg", "dog/x_2_2.jpg")
    ]
    sizes = [size_of(path) for path in crops]
    assert sizes == [(30, 40), (40, 41)] * 2  # the lower side lies inside of pixel 70


def test_without_detections_there_are_images_without_boxes_and_no_crops(predict, tmp_path):
    assert predict("--threshold", "1", "--write", "yolo", "--crops") == 0
    assert list((tmp_path / "out/crops").iterdir()) == []
    assert not any(rows(load_all("yolo", tmp_path / "out/yolo")["train"]).values())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--classes", "cat,cow"], "Expected different classes of the model (cat, dog)."),
        (["--classes", "cat,cat"], "Expected different classes of the model (cat, dog)."),
        (["--threshold", ".5,cow=.2"], "Received: cow."),
        (["--write", "coco", "--exif", "apply"], "Expected --write with --exif stored"),
    ],
)
def test_a_choice_that_cannot_be_is_one_line(predict, tmp_path, capsys, words, message):
    assert predict(*words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("flags", "name"), [(["--write", "voc"], "voc"), (["--crops"], "crops")])
def test_labels_of_an_earlier_call_are_not_replaced(predict, tmp_path, capsys, flags, name):
    assert predict(*flags) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert predict(*flags) == 2
    assert f"new or an empty folder to write to. Received: {tmp_path / 'out' / name}" in (
        capsys.readouterr().err
    )
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


def test_thresholds_are_parsed():
    assert thresholds(".5") == {"": 0.5}
    assert thresholds("RBC=.7, white cell=1") == {"RBC": 0.7, "white cell": 1.0}
    for text in ("", "2", "x", "=.5", ".5,.6", "a=.1,a=.2", "a=nan"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a score of 0 to 1"):
            thresholds(text)


def test_crops_stay_inside_the_image_and_have_safe_names(tmp_path):
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    boxes = np.float32([[-5, -5, 4.2, 6], [28, 10, 99, 99], [40, 40, 50, 50]])
    found = Detections(boxes, np.ones(3, np.float32), np.array([0, 1, 0]), ["../up", "a:b"])
    assert save_crops(image, found, tmp_path / "crops", stem="x") == 2
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.jpg"))
    assert [str(path) for path in files] == ["crops/_up/x_1.jpg", "crops/a_b/x_2.jpg"]
    assert [size_of(tmp_path / path) for path in files] == [(5, 6), (2, 10)]
    assert folder_name("..") == "_"
