"""Damaged states: the older whole one is used, and it is said."""

import errno
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet import files
from keras_retinanet.config import TrainConfig
from keras_retinanet.errors import UserError
from keras_retinanet.training import run_state as module
from keras_retinanet.training.run_state import Clock, RunState
from keras_retinanet.training.state_file import StateFile, write_state

TRAIN = TrainConfig(steps=100, batch_size=16)
STATE = "ckpt-28.npz"
# Of the 8,000 bits of a small state, a sample.
FLIPS = 400


class Model:
    """What a state stores of a model; every value is `value`."""

    def __init__(self, value: float):
        def variable():
            return keras.Variable(np.full((64, 64), value, np.float32))

        self.weights, self.loss_normalizer = [variable(), variable()], keras.Variable(value)
        self.optimizer = type("Optimizer", (), {"variables": [variable()]})()
        self.variables, self.distillation_variables = self.weights, []

    def values(self):
        variables = [*self.weights, *self.optimizer.variables, self.loss_normalizer]
        return {float(number) for v in variables for number in v.numpy().ravel()}


class ModelWithDropout(Model):
    """One of whose layers draws."""

    def __init__(self):
        super().__init__(0)
        self.drop = keras.layers.Dropout(0.5, seed=3)
        self.variables = [*self.weights, *self.drop.variables]


def run_state(model, folder, *, keep=2):
    return RunState(model, folder, keep=keep)


@pytest.fixture
def folder(tmp_path):
    for step in (14, 21, 28):
        clock = Clock(TRAIN, step=step, best=step / 100, evaluated=14, window={"loss": 0.5})
        run_state(Model(step), tmp_path).save(clock)
    return tmp_path


def flipped(content, bit):
    content = bytearray(content)
    content[bit // 8] ^= 1 << bit % 8
    return bytes(content)


DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "cut by a byte": lambda content: content[:-1],
    "one bit of a value": lambda content: flipped(content, 4 * len(content)),
    "zeroed": lambda content: bytes(len(content)),
    "end zeroed": lambda content: content[:-4096] + bytes(4096),
    "empty": lambda content: b"",
    "noise": lambda content: np.random.default_rng(0).bytes(len(content)),
    "no ZIP": lambda content: b"not a state",
}


def test_the_newest_two_are_kept_and_the_newest_is_read(folder):
    clock, model = Clock(TRAIN), Model(0)
    state = run_state(model, folder)
    assert state.steps() == [28, 21]
    state.restore(clock)
    assert (clock.step, clock.best, clock.evaluated, clock.window) == (28, 0.28, 14, {"loss": 0.5})
    assert model.values() == {28.0}


def test_layers_draw_on_where_they_were(tmp_path):
    """As stochastic depth does: a resumed run drops what the whole one would have."""
    whole, resumed = ModelWithDropout(), ModelWithDropout()
    images = tf.ones((4, 50))
    whole.drop(images, training=True)
    run_state(whole, tmp_path).save(Clock(TRAIN, step=1))
    expected = whole.drop(images, training=True)
    first = resumed.drop(images, training=True)
    run_state(resumed, tmp_path).restore(Clock(TRAIN))
    np.testing.assert_array_equal(resumed.drop(images, training=True), expected)
    assert np.any(first != expected)


@pytest.mark.parametrize("keep", [1, 3])
def test_as_many_states_are_kept_as_asked_for(tmp_path, keep):
    for step in (1, 2, 3, 10):
        run_state(Model(step), tmp_path, keep=keep).save(Clock(TRAIN, step=step))
    names = {path.name for path in (tmp_path / "state").iterdir()}
    assert names == {f"ckpt-{step}.npz" for step in (10, 3, 2)[:keep]}


@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_damaged_state_the_one_before_is_used(folder, damage, capsys):
    path = folder / "state" / STATE
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    clock, model = Clock(TRAIN), Model(0)
    state = run_state(model, folder)
    state.restore(clock)
    assert (clock.step, clock.best) == (21, 0.21)
    assert model.values() == {21.0}
    printed = capsys.readouterr().out
    assert "the state of step 28 is damaged" in printed and printed.count("\n") == 1
    assert state.steps() == [21]


def test_no_flipped_bit_changes_a_value(folder, rng):
    path = folder / "state" / STATE
    values = {"one": tf.Variable(0.0), "two": tf.Variable([0, 0])}
    write_state(path, {"one": tf.Variable(28.0), "two": tf.Variable([3, 4])}, clock="twelve")
    content = path.read_bytes()
    refused = 0
    for bit in rng.choice(8 * len(content), FLIPS, replace=False):
        path.write_bytes(flipped(content, bit))
        try:
            state = StateFile(path)
            if set(state.shapes) != {*values, "clock"}:
                refused += 1
                continue
            state.assign(values)
            found = state.text("clock"), values["one"].numpy(), *values["two"].numpy()
        except Exception:
            refused += 1
            continue
        assert found == ("twelve", 28.0, 3, 4), bit
    assert refused > FLIPS / 2


def test_a_damaged_state_leaves_the_model_alone(folder):
    """Its last value is the damaged one: it shows before the first is read."""
    for path in (folder / "state").iterdir():
        content = path.read_bytes()
        path.write_bytes(content.replace(b'"best"', b'"rest"', 1))
    model = Model(0)
    with pytest.raises(UserError, match="checksum"):
        run_state(model, folder).restore(Clock(TRAIN))
    assert model.values() == {0.0}


def test_a_save_that_fails_leaves_the_state_of_its_step(folder, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = {path.name: path.read_bytes() for path in (folder / "state").iterdir()}
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        run_state(Model(5), folder).save(Clock(TRAIN, step=28))
    assert caught.value.filename is not None
    assert {path.name: path.read_bytes() for path in (folder / "state").iterdir()} == before


def test_what_is_on_the_disk_before_the_next_step(folder, monkeypatch):
    """The log and the models before the state, the state before its name, its name at last."""
    order = []
    real_replace = os.replace
    for name in ("metrics.csv", "best.keras"):
        (folder / name).touch()
    monkeypatch.setattr(files, "sync", lambda path: order.append(Path(path).name))
    monkeypatch.setattr(module, "sync", files.sync)
    monkeypatch.setattr(
        os, "replace", lambda one, other: order.append("renamed") or real_replace(one, other)
    )
    run_state(Model(5), folder).save(Clock(TRAIN, step=30))
    assert order[:2] == ["metrics.csv", "best.keras"]
    assert order[2].startswith(".tmp-") and order[3:] == ["renamed", "state"]


def test_where_no_state_is_whole_it_is_one_line_and_nothing_is_removed(folder):
    for step in (21, 28):
        os.truncate(folder / f"state/ckpt-{step}.npz", 100)
    with pytest.raises(UserError, match=r"Expected a whole state.*ckpt-28: .*ckpt-21: ") as caught:
        run_state(Model(0), folder).restore(Clock(TRAIN))
    assert "\n" not in str(caught.value)
    assert run_state(Model(0), folder).steps() == [28, 21]


WRITES = {
    "full": (OSError(errno.ENOSPC, "No space left on device"), "Expected free space for"),
    "quota": (OSError(errno.EDQUOT, "Disk quota exceeded", "state/x"), "Expected free space for"),
    "TensorFlow": (
        tf.errors.ResourceExhaustedError(None, None, "No space left on device"),
        "Expected free space for",
    ),
    "read-only": (
        OSError(errno.EROFS, "Read-only file system"),
        r"Expected to write to .*metrics\.csv: Read-only file system\. Make it writable, then",
    ),
}


@pytest.mark.parametrize("case", WRITES)
def test_what_cannot_be_written_is_one_line_with_the_step(folder, case):
    error, expected = WRITES[case]
    if case == "read-only":  # of a file in the folder
        error = OSError(error.errno, error.strerror, str(folder / "metrics.csv"))
    with (
        pytest.raises(UserError, match=f"{expected}.*continues at step 28") as caught,
        run_state(Model(0), folder).writing(),
    ):
        raise error
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_gone_is_one_line_and_not_made_again(folder, tmp_path):
    state = run_state(Model(0), folder)
    folder.rename(tmp_path.with_name("moved"))
    with pytest.raises(UserError, match="Received: no such folder any more"), state.writing():
        state.save(Clock(TRAIN, step=30))
    assert not folder.exists()


@pytest.mark.parametrize(
    "error", [OSError(errno.EACCES, "Permission denied", "/data/a.jpg"), OSError("?")]
)
def test_errors_of_other_files_are_left_alone(folder, error):
    with pytest.raises(OSError, match=r"Permission|\?"), run_state(Model(0), folder).writing():
        raise error


def test_a_state_of_another_model_is_not_read(folder):
    model = Model(0)
    model.weights = model.weights[:1]
    with pytest.raises(UserError, match="Expected a state of this model"):
        run_state(model, folder).restore(Clock(TRAIN))
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
    run_state(ours, tmp_path).restore(restored)
    assert (restored.step, restored.best, restored.waited) == (5, 0.5, 2)
    assert 60 <= restored.seconds < 120
    assert ours.values() == {7.0}
    state = run_state(ours, tmp_path)
    state.save(restored)
    state.save(restored)
    assert state.steps() == [5] and StateFile(tmp_path / "state/ckpt-5.npz").shapes
