"""The run over a data set: class mapping, padding of batches, scaling back, unreadable pictures."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config import ModelConfig
from keras_retinanet.data.records import Dataset, ImageRef, Record
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation import feeding
from keras_retinanet.evaluation.runner import (
    detections_for,
    evaluate,
    finished_run,
    map_classes,
)
from keras_retinanet.evaluation.streaming import Columns
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.post_processing import DetectionBatch

# Network input is half of the original picture.
SCALE = 0.5


class FakeModel:
    """Finds in each picture what its first pixel names: the boxes of that record, halved."""

    preprocessing, config = None, ModelConfig()

    def __init__(self, records, class_names, order):
        self.records, self.class_names, self.order = records, class_names, order
        self.class_ids = list(range(1, len(class_names) + 1))
        self.shapes = []

    def detect_batch(self, images, sizes):
        self.shapes.append(images.shape)
        count = len(images)
        boxes, scores = np.zeros((count, 5, 4), np.float32), np.zeros((count, 5), np.float32)
        classes, num = np.zeros((count, 5), np.int32), np.zeros(count, np.int32)
        for row, image in enumerate(images):
            record = self.records[int(image[0, 0, 0])]
            num[row] = len(record.boxes)
            boxes[row, : num[row]] = record.boxes * SCALE
            scores[row, : num[row]] = 0.9
            classes[row, : num[row]] = [self.order[c] for c in record.classes]
        return DetectionBatch(*(tf.constant(part) for part in (boxes, scores, classes, num)))

    prepare = None

    def finish(self, batch, row, size, original_size):
        num = int(batch.num[row])
        y, x = np.divide(original_size, size)
        return Detections(
            batch.boxes[row, :num] * np.array([x, y, x, y], np.float32),
            batch.scores[row, :num],
            batch.classes[row, :num],
            self.class_names,
        )


def record(image_id, boxes, classes, *, size=(100, 80), ignore=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Record(
        image_id=image_id,
        image=ImageRef(f"{image_id}.jpg"),
        height=size[0],
        width=size[1],
        boxes=boxes,
        classes=np.array(classes, np.int32),
        ignore=np.zeros(len(boxes), bool) if ignore is None else np.array(ignore),
        areas=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1),
        file_name=f"{image_id}.jpg",
    )


@pytest.fixture
def records():
    portrait = [record(10 + i, [[4 * i, 8, 40 + 4 * i, 40]], [i % 2]) for i in range(5)]
    landscape = [record(3, [[0, 0, 20, 20], [50, 50, 70, 90]], [1, 0], size=(80, 100))]
    return portrait + landscape


@pytest.fixture
def stream(monkeypatch):
    """Replaces reading and decoding: batches by canvas, the last ones smaller."""
    unreadable = set()

    def evaluation_dataset(dataset, preprocessing, *, batch_size):
        shapes = [(r.height, r.width) for r in dataset.records]
        for shape in dict.fromkeys(shapes):
            members = [i for i, other in enumerate(shapes) if other == shape]
            for start in range(0, len(members), batch_size):
                indices = np.array(members[start : start + batch_size])
                images = np.zeros((len(indices), 64, 64 if shape[0] > 80 else 96, 3), np.float32)
                images[:, 0, 0, 0] = indices
                sizes = np.array([[r * SCALE for r in shape]] * len(indices), np.int32)
                sizes[[i in unreadable for i in indices]] = 0
                sources = np.tile(np.array(shape, np.int32), (len(indices), 1))
                yield tuple(tf.constant(part) for part in (indices, images, sizes, sources))

    monkeypatch.setattr(feeding, "evaluation_dataset", evaluation_dataset)
    return SimpleNamespace(unreadable=unreadable)


# What all the pictures' files hold, but for those that the stream says it could not read.
PNG = bytes(tf.io.encode_png(np.zeros((1, 1, 3), np.uint8)).numpy())


def dataset(records, names=("cat", "traffic light"), ids=(17, 10)):
    return Dataset("set", "val", list(names), list(ids), records, reader=lambda image: PNG)


# The model has the classes in another order and spelling, and one more.
NAMES, ORDER = ["Traffic_Light", "zebra", "CAT"], [2, 0]


def test_perfect_detections_score_one(records, stream):
    metrics = evaluate(
        FakeModel(records, NAMES, ORDER), dataset(records), batch_size=2, progress=False
    )
    assert metrics["AP"] == metrics["AP50"] == metrics["AR100"] == pytest.approx(1)
    assert metrics["per_class"] == {
        name: {"AP": pytest.approx(1), "AP50": pytest.approx(1)}
        for name in ("traffic light", "cat")
    }
    assert metrics["pictures"] == 6
    assert metrics["unreadable"] == []
    assert metrics["ms_per_picture"] > 0


def test_detections_have_original_ids_and_pixels(records, stream):
    found = detections_for(
        FakeModel(records, NAMES, ORDER), dataset(records), batch_size=4, progress=False
    )
    assert [row["image_id"] for row in found] == [10, 11, 12, 13, 14, 3, 3]
    assert found[1] == {"image_id": 11, "category_id": 10, "bbox": [4, 8, 40, 32]} | {
        "score": pytest.approx(0.9)
    }
    assert [row["category_id"] for row in found[-2:]] == [10, 17]
    assert found[-1]["bbox"] == [50, 50, 20, 40]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 50])
def test_batch_size_changes_no_detection_and_no_shape(records, stream, batch_size):
    model = FakeModel(records, NAMES, ORDER)
    found = detections_for(model, dataset(records), batch_size=batch_size, progress=False)
    assert found == detections_for(model, dataset(records), batch_size=3, progress=False)
    # Smaller last batches are filled up: one shape, so one graph, per canvas.
    shapes = set(model.shapes[: -3 if batch_size != 3 else None])
    assert {shape[0] for shape in shapes} == {min(batch_size, len(records))}
    assert len(shapes) == 2


def test_classes_the_set_lacks_are_dropped(records, stream):
    only_cats = [record(r.image_id, r.boxes, r.classes * 0) for r in records]
    model = FakeModel(records, NAMES, [1, 2])
    # What is a cat in `records` is called a zebra now, and zebras are not in the set.
    found = detections_for(model, dataset(only_cats, ["cat"], [17]), progress=False)
    assert [row["image_id"] for row in found] == [11, 13, 3]
    assert {row["category_id"] for row in found} == {17}


def test_unreadable_picture_is_reported_and_has_no_detection(records, stream):
    stream.unreadable.add(1)
    model = FakeModel(records, NAMES, ORDER)
    metrics = evaluate(model, dataset(records), batch_size=2, progress=False)
    assert metrics["unreadable"] == ["11.jpg"]
    assert metrics["pictures"] == 6
    # One of three traffic lights is missed: recall 2/3.
    assert metrics["AR100"] == pytest.approx((1 + 2 / 3) / 2)
    assert metrics["per_class"]["cat"]["AP"] == pytest.approx(1)


def test_progress_goes_to_standard_error(records, stream, capsys):
    evaluate(FakeModel(records, NAMES, ORDER), dataset(records), progress=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "detect: 6 of 6 images, " in printed.err


def test_no_picture(stream):
    metrics = evaluate(FakeModel([], NAMES, ORDER), dataset([]), progress=False)
    assert metrics["AP"] == -1
    assert metrics["pictures"] == 0


def test_map_classes_by_name():
    names = ["dog", "Hot Dog", "person"]
    assert map_classes(["person", "hot_dog", "zebra", "DOG"], names).tolist() == [2, 1, -1, 0]
    # An exact name wins over one that differs in case only.
    assert map_classes(["rbc", "RBC"], ["RBC", "rbc"]).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("model_names", "dataset_names", "words"),
    [
        (["cat"], ["dog"], "lacks dog"),
        (["cat", "dog"], ["dog", "cow", "owl"], "lacks cow, owl"),
        (["cat"], list("abcdefg"), "lacks a, b, c, d, e and 2 more"),
        (["cat"], [], "no class"),
    ],
)
def test_names_that_do_not_map(model_names, dataset_names, words):
    with pytest.raises(UserError, match="do not map") as error:
        map_classes(model_names, dataset_names)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_no_figures_from_fewer_pictures_than_were_asked_for():
    records = [record(number, [[0, 0, 9, 9]], [0]) for number in range(3)]
    data = Dataset("set", "val", ["cat"], [1], records)
    columns = Columns()
    columns.add(1, np.zeros((0, 4)), scores=np.zeros(0), classes=np.zeros(0))
    with pytest.raises(UserError, match=r"Expected detections of 3 images. Received: none of 2 of"):
        finished_run(data, columns, ([], []), asked=range(3))
    columns.add_unreadable(0)
    columns.add_unreadable(2)
    assert finished_run(data, columns, ([], []), asked=range(3)).unreadable == ["0.jpg", "2.jpg"]
    columns.add_unreadable(1)
    with pytest.raises(UserError, match=r"Received: none of 3, such as 0.jpg"):
        finished_run(data, columns, ([], []), asked=range(3))
