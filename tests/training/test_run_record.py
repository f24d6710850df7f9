"""`run.json`: one entry for each start, and a line where the data was changed."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config.schema import TrainConfig
from keras_retinanet.data.records import Dataset, ImageRef, Record
from keras_retinanet.errors import UserError
from keras_retinanet.training.numbers import numbers
from keras_retinanet.training.run_record import record_start
from keras_retinanet.training.team import Team

ALONE = Team(tf.distribute.get_strategy())
BOXES = np.array([[1, 2, 11, 12]], np.float32)
ONE = Record(
    *("a", ImageRef("a.jpg"), 30, 40, BOXES),
    *(np.zeros(1, np.int32), np.zeros(1, bool), np.ones(1, np.float32), "a.jpg"),
)
DATA = Dataset("pets", "train", ["cat"], [1], [ONE])


def starts(folder):
    return json.loads((folder / "run.json").read_text())["starts"]


def test_each_start_is_recorded(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["keras_retinanet", "train", "--resume"])
    record_start(tmp_path, [DATA, None], step=0, team=ALONE)
    record_start(tmp_path, [DATA, None], step=7, team=ALONE)
    first, second = starts(tmp_path)
    assert (first["step"], second["step"]) == (0, 7)
    assert second["command"] == "keras_retinanet train --resume"
    assert second["keras"]
    assert second["processor"]
    assert (second["processes"], second["devices"]) == (1, 1)
    assert first["data"] == second["data"]
    assert first["data"]["validation"] is None
    assert capsys.readouterr().out == ""


def test_changed_boxes_are_told(tmp_path, capsys):
    record_start(tmp_path, [DATA, DATA], step=0, team=ALONE)
    moved = replace(DATA, records=[replace(ONE, boxes=BOXES + 1)])
    record_start(tmp_path, [DATA, moved], step=7, team=ALONE)
    assert "are not those of the start before" in capsys.readouterr().out
    first, second = (start["data"] for start in starts(tmp_path))
    assert first["train"] == second["train"]
    assert first["validation"] != second["validation"]


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"starts": 3}', '{"starts": [3]}'])
def test_a_damaged_record_begins_anew(damage, tmp_path):
    (tmp_path / "run.json").write_text(damage)
    record_start(tmp_path, [DATA, None], step=7, team=ALONE)
    assert [start["step"] for start in starts(tmp_path)] == [7]


def test_a_run_by_the_clock_cannot_be_repeated():
    train = TrainConfig(deterministic=True, minutes=3)
    with pytest.raises(UserError, match=r"Received: train.minutes 3. Give --steps"), numbers(train):
        pass
