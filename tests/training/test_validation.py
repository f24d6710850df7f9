"""The validation part: its figures, and the pictures that are drawn of it."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.config import ModelConfig, TilesConfig
from keras_retinanet.data.records import Dataset, ImageRef, Record
from keras_retinanet.drawing.marks import IGNORED_COLOR, class_color
from keras_retinanet.drawing.pictures import GRID_GAP
from keras_retinanet.training import validation
from keras_retinanet.training.validation import EXAMPLE_SIDE, EXAMPLES, Validation

MODEL = SimpleNamespace(config=ModelConfig())
SIZE = (60, 80)
COUNT = 9


def record(number, folder):
    """A grey picture with a box of each class, and one to ignore; none at all in the first."""
    boxes = np.array([[10, 10, 30, 30], [40, 20, 70, 50], [4, 40, 20, 56]], np.float32)
    classes, ignore = np.array([0, 1, 0], np.int32), np.array([False, False, True])
    if number == 0:
        boxes, classes, ignore = boxes[:0], classes[:0], ignore[:0]
    stream = io.BytesIO()
    Image.new("RGB", SIZE[::-1], (128, 128, 128)).save(stream, format="png")
    path = folder / f"{number}.png"
    path.write_bytes(stream.getvalue())
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return Record(number, ImageRef(str(path)), *SIZE, boxes, classes, ignore, areas, path.name)


@pytest.fixture
def dataset(tmp_path):
    records = [record(number, tmp_path) for number in range(COUNT)]
    return Dataset("set", "val", ["cat", "dog"], [3, 7], records)


@pytest.fixture
def score(dataset, monkeypatch):
    """Of a detector that finds every cat, and half a dog in each picture, and no other."""

    def run_detector(model, pictures, *, batch_size, progress):
        assert (model, pictures, batch_size, progress) == (MODEL, dataset, 2, False)
        cat, dog = [10, 10, 20, 20], [40, 20, 30, 15]
        rows = [(number, name, box, value) for number in range(1, COUNT)
                for name, box, value in ((3, cat, 0.9), (7, dog, 0.4))]  # fmt: skip
        names = ("image_id", "category_id", "bbox", "score")
        return SimpleNamespace(detections=[dict(zip(names, row, strict=True)) for row in rows])

    monkeypatch.setattr(validation, "run_detector", run_detector)
    return Validation(dataset, batch_size=2)(MODEL)


@pytest.mark.parametrize(("side", "ap50"), [(0, 67 / 101), (64, 1)])
def test_a_detector_in_tiles_is_scored_by_all_it_finds(side, ap50, tmp_path, monkeypatch):
    """Of 150 cats in an image COCO counts 100 detections."""
    x, y = np.meshgrid(np.arange(15) * 5.0, np.arange(10) * 6.0)
    boxes = np.stack([x.ravel(), y.ravel(), x.ravel() + 4, y.ravel() + 4], 1).astype(np.float32)
    zeros = np.zeros(150, np.int32)
    crowd = Record(
        0, ImageRef(""), *SIZE, boxes, zeros, zeros.astype(bool), boxes[:, 0] * 0 + 16, "a"
    )
    dataset = Dataset("set", "val", ["cat"], [3], [crowd])
    rows = [
        {"image_id": 0, "category_id": 3, "bbox": [*map(float, box[:2]), 4.0, 4.0], "score": 0.9}
        for box in boxes
    ]
    found = SimpleNamespace(detections=rows)
    monkeypatch.setattr(validation, "run_detector", lambda *_, **__: found)
    model = SimpleNamespace(config=ModelConfig(tiles=TilesConfig(side)))
    score = Validation(dataset, batch_size=2)(model)
    assert score.figures["AP50"] == pytest.approx(ap50)


def test_figures(score):
    # Half a box has IoU .5: right at the first of COCO's ten thresholds alone.
    assert score.class_ap == pytest.approx({"cat": 1.0, "dog": 0.1})
    assert score.figures["AP"] == pytest.approx(0.55)
    assert score.figures["AP50"] == pytest.approx(1.0)
    assert score.figures["AP_large"] == -1
    assert len(score.figures) == 12


def test_operating_points(score):
    assert score.points.boxes.tolist() == [8, 8]
    assert score.points.right[:, 0].tolist() == [8, 8]
    assert score.points.right[:, 50].tolist() == [8, 0]
    assert not score.points.wrong.any()
    assert score.points.best_threshold == 0.4
    assert score.points.best["F1"] == 1.0


def test_pictures_show_truth_and_detections(dataset, score):
    drawn = Validation(dataset, batch_size=2).draw(score.found, 0.5)
    # Spread over those with a box to find: 1 to 8.
    assert list(drawn) == ["1.png", "3.png", "6.png", "8.png"]
    assert len(drawn) == EXAMPLES
    height, width = EXAMPLE_SIDE * 3 // 4, EXAMPLE_SIDE
    for image in drawn.values():
        assert image.shape == (height, 2 * width + GRID_GAP, 3)
        truth, found = image[:, :width], image[:, width + GRID_GAP :]
        # Boxes are 8 times as large: their lower right corners, cat, dog, ignored.
        assert [tuple(truth[y, x]) for y, x in ((240, 240), (400, 560), (448, 160))] == [
            class_color(0), class_color(1), IGNORED_COLOR]  # fmt: skip
        assert tuple(found[240, 240]) == class_color(0)
        # The dog's score is below the threshold.
        assert not (found == class_color(1)).all(axis=-1).any()


def test_pictures_that_cannot_be_read_are_left_out(dataset, score, tmp_path):
    (tmp_path / "3.png").write_bytes(b"no picture")
    (tmp_path / "8.png").unlink()
    assert list(Validation(dataset, batch_size=2).draw(score.found, 0.5)) == ["1.png", "6.png"]


def test_the_same_few_pictures_of_a_small_set(dataset):
    dataset = Dataset("set", "val", dataset.class_names, dataset.class_ids, dataset.records[:3])
    assert Validation(dataset, batch_size=2).examples == [1, 2]
