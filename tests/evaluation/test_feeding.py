"""Exported files over a data set: how they are given pictures, and how they are timed."""

import gc
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.config import ModelConfig
from keras_retinanet.data.pipeline.fetching import _Reader
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.evaluation.feeding import prepared_canvases
from keras_retinanet.evaluation.runner import run_detector
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.preprocessing import Preprocessing
from keras_retinanet.processes.read_ahead import read_ahead


class FileOfOnes:
    """Stands in for an exported file: finds one box, its score the picture's first pixel."""

    class_names = ("dog", "cat")
    config = ModelConfig()
    takes_batches = True

    def __init__(self):
        self.shapes = []

    def prepare(self, image):
        return image[:8, :8], image.shape[:2]

    def infer(self, inputs, sizes=None):
        self.shapes.append(inputs.shape)
        return {"first": inputs[:, 0, 0, 0]}

    def finish(self, outputs, row, size, original_size):
        box = np.array([[0, 0, original_size[1], original_size[0]]], np.float32)
        score = np.array([outputs["first"][row] / 255], np.float32)
        return Detections(box, score, np.array([1]), list(self.class_names))


@pytest.fixture
def dataset(tmp_path):
    records, source = [], Dataset("set", "val", ["cat"], [17], [])
    for index, (height, width) in enumerate([(9, 12), (9, 12), (10, 10), (5, 7), (9, 12)]):
        file = tmp_path / f"{index}.png"
        Image.fromarray(np.full((height, width, 3), 10 * index + 1, np.uint8)).save(file)
        if index == 2:
            file.write_bytes(b"not a picture")
        objects = [((0, 0, width, height), 0, False, None)]
        records.append(
            make_record(
                index,
                ImageRef(str(file)),
                (height, width),
                file_name=file.name,
                objects=objects,
                problems=source.problems,
            )
        )
    return Dataset("set", "val", ["cat"], [17], records)


TOGETHER = [(3, 8, 8, 3), (1, 5, 7, 3)]
ALONE = [(1, 8, 8, 3), (1, 8, 8, 3), (1, 5, 7, 3), (1, 8, 8, 3)]


@pytest.mark.parametrize(("takes", "shapes"), [(True, TOGETHER), (False, ALONE)])
def test_a_file_is_given_pictures_as_it_takes_them(dataset, takes, shapes):
    file = FileOfOnes()
    file.takes_batches = takes
    run = run_detector(file, dataset, batch_size=4, progress=False)
    assert file.shapes == shapes
    assert run.unreadable == ["2.png"]
    assert list(dataset.problems) == ["unreadable picture"]
    assert [row["image_id"] for row in run.detections] == [0, 1, 3, 4]
    assert {row["category_id"] for row in run.detections} == {17}
    assert [row["bbox"] for row in run.detections[1:3]] == [[0, 0, 12, 9], [0, 0, 7, 5]]
    scores = [round(255 * row["score"]) for row in run.detections]
    assert scores == [1, 11, 31, 41]
    # The first run of a shape may trace a graph and is left out of the median.
    assert len(run.first_ms) == 2
    assert len(run.first_ms) + len(run.warm_ms) == len(shapes)
    assert 0 < run.ms_per_picture < 1000


class FileThatWaits(FileOfOnes):
    """Runs once the picture after its own is prepared; the last has none after it."""

    takes_batches = False

    def __init__(self):
        super().__init__()
        self.prepared = [threading.Event() for _ in range(4)]
        self.in_time = []

    def prepare(self, image):
        next(event for event in self.prepared if not event.is_set()).set()
        return super().prepare(image)

    def infer(self, inputs, sizes=None):
        following = self.prepared[min(len(self.shapes) + 1, 3)]
        self.in_time.append(following.wait(timeout=20))
        return super().infer(inputs, sizes)


def test_the_next_picture_is_read_while_the_file_runs(dataset):
    file = FileThatWaits()
    run_detector(file, dataset, progress=False, indices=[0, 1, 3, 4])  # 2 cannot be read
    assert file.in_time == [True] * 4


def test_an_error_comes_in_its_turn():
    def items():
        yield 1
        yield 2
        raise ValueError("third")

    found = read_ahead(items())
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(ValueError, match="third"):
        next(found)


def test_what_is_seen_again_leaves_nothing_more_behind(dataset):
    """TensorFlow never forgets the Python functions of a graph."""

    def seen():
        model = SimpleNamespace(preprocessing=Preprocessing(short_side=16, long_side=16))
        items = [*prepared_canvases(model, dataset, batch_size=2)]
        gc.collect()
        readers = [each for each in gc.get_objects() if isinstance(each, _Reader)]
        inputs = {item.number: item.inputs for item in items}
        return [inputs[index] for index in range(5)], len(readers)

    (first, count), *others = (seen() for _ in range(3))
    assert first[2] is None and count >= 1
    for images, readers in others:
        assert readers == count
        for one, other in zip(images, first, strict=True):
            np.testing.assert_array_equal(one, other)
