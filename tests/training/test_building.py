"""A configuration that follows the data, and the threshold that travels with a model."""

import dataclasses

import numpy as np
import pytest

from keras_retinanet.config import Config
from keras_retinanet.config.model import DetectionConfig, ModelConfig
from keras_retinanet.data.records import Dataset, ImageRef, Record
from keras_retinanet.evaluation.crowds import crowd_warning, max_detections_for, most_objects
from keras_retinanet.modeling.draw_threshold import draw_threshold, store_threshold
from keras_retinanet.training.building import follow_data


def dataset(*counts, ignored=0):
    """Return a data set whose images have so many boxes, and `ignored` more that do not count."""
    records = []
    for number, count in enumerate(counts):
        boxes = np.tile(np.float32([0, 0, 9, 9]), (count + ignored, 1))
        ignore = np.arange(count + ignored) >= count
        columns = boxes, np.zeros(len(boxes), np.int32), ignore, np.full(len(boxes), 81.0)
        ref = ImageRef(f"{number}.jpg")
        records.append(Record(number, ref, 100, 100, *columns, f"{number}.jpg"))
    return Dataset("set", "train", ["cat"], [1], records)


def with_limit(limit):
    model = ModelConfig(detections=DetectionConfig(max_detections=limit))
    return dataclasses.replace(Config(), model=model)


@pytest.mark.parametrize(("most", "limit"), [(0, 100), (100, 100), (101, 200), (279, 500),
                                             (9000, 10_000)])  # fmt: skip
def test_auto_leaves_room_for_wrong_detections(most, limit):
    assert max_detections_for(most) == limit


def test_auto_follows_the_fullest_image_of_both_splits(capsys):
    config = follow_data(Config(), [dataset(3, 20), dataset(279, 5)])
    assert config.model.detections.max_detections == 500
    assert capsys.readouterr().out == (
        "model.detections.max_detections: 500, because an image has 279 objects\n"
    )
    config = follow_data(Config(), [dataset(3, 20, ignored=500), None])
    assert config.model.detections.max_detections == 100
    assert capsys.readouterr().out == ""


def test_a_number_of_the_users_stays_with_a_warning(capsys):
    config = with_limit(100)
    assert follow_data(config, [dataset(150)]) is config
    assert "an image has 150 objects, but this model gives at most 100" in capsys.readouterr().out
    assert follow_data(with_limit(150), [dataset(150)]) == with_limit(150)
    assert capsys.readouterr().out == ""


def test_the_warning_names_a_limit_that_holds_them():
    assert most_objects(dataset(7, 150, 2)) == 150
    (line,) = crowd_warning(150, 100)
    assert "--max_detections 300" in line


def test_the_threshold_of_a_drawn_box():
    metadata = {}
    assert draw_threshold(metadata) == 0.5
    store_threshold(metadata, 0.4327)
    assert metadata == {"F1_threshold": "0.4327"} and draw_threshold(metadata) == 0.4327
    assert draw_threshold(metadata, 0.2) == 0.2  # the user's wins
    for strange in ("nan", "-1", "much", "2"):
        assert draw_threshold({"F1_threshold": strange}) == 0.5
    store_threshold(metadata, None)
    assert metadata == {}
