"""Damaged states: the older whole one is used, and it is said."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config import TrainConfig
from keras_retinanet.errors import UserError
from keras_retinanet.training.run_state import Clock, RunState

TRAIN = TrainConfig(steps=100, batch_size=16)
DATA, INDEX = "ckpt-28.data-00000-of-00001", "ckpt-28.index"


class Model:
    """What a state stores of a model; every value is `value`."""

    def __init__(self, value: float):
        def variable():
            return keras.Variable(np.full((64, 64), value, np.float32))

        self.weights, self.loss_normalizer = [variable(), variable()], keras.Variable(value)
        self.optimizer = type("Optimizer", (), {"variables": [variable()]})()

    def values(self):
        variables = [*self.weights, *self.optimizer.variables, self.loss_normalizer]
        return {float(number) for v in variables for number in v.numpy().ravel()}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "state").mkdir()
    for step in (14, 21, 28):
        clock = Clock(TRAIN, step=step, best=step / 100, evaluated=14, window={"loss": 0.5})
        RunState(Model(step), tmp_path).save(clock)
    return tmp_path


def flipped(path, at):
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 0x10
    path.write_bytes(content)


DAMAGES = {
    "data cut": lambda state: os.truncate(state / DATA, (state / DATA).stat().st_size // 2),
    "data, one bit": lambda state: flipped(state / DATA, 0.6),
    "data zeroed": lambda state: (state / DATA).write_bytes(bytes((state / DATA).stat().st_size)),
    "data empty": lambda state: (state / DATA).write_bytes(b""),
    "data missing": lambda state: (state / DATA).unlink(),
    "index cut": lambda state: os.truncate(state / INDEX, (state / INDEX).stat().st_size // 2),
    "index, one bit": lambda state: flipped(state / INDEX, 0.3),
    "index, another bit": lambda state: flipped(state / INDEX, 0.9),
    "index empty": lambda state: (state / INDEX).write_bytes(b""),
    "index of noise": lambda state: (state / INDEX).write_bytes(
        np.random.default_rng(0).bytes(500)
    ),
}


def test_the_newest_two_are_kept_and_the_newest_is_read(folder):
    clock, model = Clock(TRAIN), Model(0)
    state = RunState(model, folder)
    assert state.steps() == [28, 21]
    state.restore(clock)
    assert (clock.step, clock.best, clock.evaluated, clock.window) == (28, 0.28, 14, {"loss": 0.5})
    assert model.values() == {28.0}


@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_damaged_state_the_one_before_is_used(folder, damage, capsys):
    DAMAGES[damage](folder / "state")
    clock, model = Clock(TRAIN), Model(0)
    state = RunState(model, folder)
    state.restore(clock)
    assert (clock.step, clock.best) == (21, 0.21)
    assert model.values() == {21.0}
    assert "the state of step 28 is damaged" in capsys.readouterr().out
    assert state.steps() == [21]


def test_a_missing_index_is_no_state(folder):
    (folder / "state" / INDEX).unlink()
    clock = Clock(TRAIN)
    RunState(Model(0), folder).restore(clock)
    assert clock.step == 21


def test_where_no_state_is_whole_it_is_one_line_and_nothing_is_removed(folder):
    for step in (21, 28):
        os.truncate(folder / f"state/ckpt-{step}.data-00000-of-00001", 100)
    with pytest.raises(UserError, match=r"Expected a whole state.*ckpt-28: .*ckpt-21: ") as caught:
        RunState(Model(0), folder).restore(Clock(TRAIN))
    assert "\n" not in str(caught.value)
    assert RunState(Model(0), folder).steps() == [28, 21]


def test_a_state_of_another_model_is_not_read(folder):
    model = Model(0)
    model.weights = model.weights[:1]
    with pytest.raises(UserError, match="Expected a state of this model"):
        RunState(model, folder).restore(Clock(TRAIN))
    assert model.values() == {0.0}


def test_a_state_of_the_version_before_is_read(tmp_path):
    model = Model(7)
    clock = {
        "step": tf.Variable(5, dtype=tf.int64),
        "seconds": tf.Variable(60.0, dtype=tf.float64),
        "best": tf.Variable(0.5, dtype=tf.float64),
        "waited": tf.Variable(2, dtype=tf.int64),
    }
    checkpoint = tf.train.Checkpoint(
        weights=[v.value for v in model.weights],
        optimizer=[v.value for v in model.optimizer.variables],
        normalizer=model.loss_normalizer.value,
        **clock,
    )
    tf.train.CheckpointManager(checkpoint, str(tmp_path / "state"), max_to_keep=2).save(5)
    restored, ours = Clock(TRAIN), Model(0)
    RunState(ours, tmp_path).restore(restored)
    assert (restored.step, restored.best, restored.waited) == (5, 0.5, 2)
    assert 60 <= restored.seconds < 120
    assert ours.values() == {7.0}
