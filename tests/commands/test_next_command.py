"""`dataset next`: the budget is kept, boxes of the model are the labels to start from."""

import json

import numpy as np
import pytest
from in_process import command
from PIL import Image

from keras_retinanet.config import ModelConfig
from keras_retinanet.exporting import exported
from keras_retinanet.modeling.detections import Detections

NAMES = ["cat", "dog"]


class Finder:
    """Finds a box in every image: its score is the image's red, in percent."""

    config, class_names, class_ids = ModelConfig(), NAMES, [17, 18]

    def __init__(self):
        self.metadata = {}

    def detect(self, images, *, batch_size):
        for image in images:
            boxes = np.array([[2, 3, 12, 13]], np.float32)
            score = np.array([image[0, 0, 0] / 100], np.float32)
            yield Detections(boxes, score, np.array([1], np.int32), NAMES)


@pytest.fixture
def choose(tmp_path, monkeypatch):
    monkeypatch.setattr(exported, "load_detector", lambda path, **_: Finder())
    (tmp_path / "model.keras").touch()
    (tmp_path / "in").mkdir()
    # At a threshold of .5, "a" and its copy are most uncertain, then c, then b.
    for name, red, green in (("a", 50, 0), ("a2", 50, 0), ("b", 90, 250), ("c", 60, 200)):
        Image.new("RGB", (40, 30), (red, green, 0)).save(tmp_path / f"in/{name}.png")
    (tmp_path / "in/broken.png").write_bytes(b"no image")

    def run(*words):
        start = ("dataset", "next", tmp_path / "in", "--model", tmp_path / "model.keras")
        return command(*start, "--threshold", ".5", "--out", tmp_path / "out", *words)

    return run


def test_the_budget_goes_to_uncertain_images_that_differ(tmp_path, choose, capsys):
    assert choose("--count", "2") == 0
    printed = capsys.readouterr()
    assert "2 of 4 images chosen" in printed.out
    assert "skipped" in printed.err + printed.out
    content = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    assert [each["file_name"] for each in content["images"]] == ["a.png", "c.png"]
    assert [each["bbox"] for each in content["annotations"]] == [[2, 3, 10, 10]] * 2
    # Files are copied as they are, and those that were not chosen are not there.
    copies = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    assert copies == {name: (tmp_path / "in" / name).read_bytes() for name in ("a.png", "c.png")}


def test_a_larger_budget_takes_all(tmp_path, choose, capsys):
    assert choose("--count", "9", "--to", "labelstudio") == 0
    assert "4 of 4 images chosen" in capsys.readouterr().out
    assert len(list((tmp_path / "out").rglob("*.png"))) == 4


def test_boxes_below_the_threshold_are_not_written(tmp_path, choose):
    assert choose("--threshold", ".7", "--count", "9") == 0
    content = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    assert len(content["images"]) == 4 and len(content["annotations"]) == 1


@pytest.mark.parametrize(
    ("words", "message"), [(["--count", "0"], "--count of 1"), (["--classes", "cow"], "cow")]
)
def test_wrong_flags_are_one_line(choose, capsys, words, message):
    assert choose(*words) == 2
    assert message in capsys.readouterr().err
