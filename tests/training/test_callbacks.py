"""Patience, rows of the log, and what of them a killed run still has."""

import csv
import dataclasses
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_retinanet.config import TrainConfig
from keras_retinanet.evaluation.metrics.curves import THRESHOLDS, OperatingPoints
from keras_retinanet.training import callbacks
from keras_retinanet.training.callbacks import Evaluation, Log, columns
from keras_retinanet.training.interruption import Interruption
from keras_retinanet.training.run_state import Clock, RunState
from keras_retinanet.training.validation import Score

TRAIN = TrainConfig(steps=100, batch_size=16, patience=2)


class FakeModel:
    """What the callbacks ask of a model; saving it writes its step."""

    def __init__(self):
        self.metadata, self.stop_training = {}, False
        self.optimizer = SimpleNamespace(
            use_ema=False, learning_rate=0.5, variables=[keras.Variable(1.0)]
        )
        self.weights, self.loss_normalizer = [keras.Variable(2.0)], keras.Variable(3.0)
        self.variables, self.distillation_variables = self.weights, []

    def reset_metrics(self):
        pass


class FakeValidation:
    """Gives one AP after the other; the second class has no box to find."""

    is_alone = True
    class_names = ("cat", "dog")

    def __init__(self, aps):
        self.aps = iter(aps)

    def __call__(self, model):
        ap = next(self.aps)
        nothing = np.zeros((2, len(THRESHOLDS)), int)
        points = OperatingPoints(np.array([1, 0]), nothing, nothing)
        figures = {"AP": ap, "AP50": 2 * ap, "AP_small": -1.0}
        return Score(figures, {"cat": ap, "dog": -1.0}, points, found=None)

    def draw(self, found, threshold):
        assert threshold == 0.3  # nothing is right
        return {"a.png": np.zeros((8, 8, 3), np.uint8)}


@pytest.fixture
def model(monkeypatch):
    def save_model(model, path):
        path.write_text(model.metadata["step"])

    monkeypatch.setattr(callbacks, "save_model", save_model)
    # Slow, and tested by itself.
    monkeypatch.setattr(callbacks, "learning_curves", lambda log, picture: picture.touch())
    return FakeModel()


def run(clock, model, folder, *, aps=None, losses=(), end=100):
    """Go on from `clock` with an evaluation every 2 steps and a checkpoint every 3."""
    log = Log(clock, folder, evaluate_every=2, save_every=3)
    evaluation = Evaluation(
        clock,
        folder,
        every=2,
        validation=None if aps is None else FakeValidation(aps),
        draw_threshold=0.3,
        log=log,
        interruption=Interruption(),
    )
    for callback in (log, evaluation):
        callback.set_model(model)
    losses = iter(losses or np.linspace(2, 1, 100))
    while not model.stop_training and clock.step < end:
        clock.step += 1
        model.stop_training = clock.done
        logs = {"loss": next(losses), "class_loss": 0.0, "box_loss": 0.0}
        for callback in (log, evaluation):
            callback.on_train_batch_end(0, logs)
    log.on_train_end()
    with open(folder / "metrics.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_stops_when_no_evaluation_is_better(model, tmp_path):
    clock = Clock(TRAIN)
    rows = run(clock, model, tmp_path, aps=[0.1, 0.3, 0.2, 0.3, 0.9])
    # The best at step 4 is not beaten at 6, nor at 8: equal is not better.
    assert (clock.step, clock.best, clock.waited) == (8, 0.3, 2)
    assert clock.done
    assert clock.progress == 0.08
    assert (tmp_path / "best.keras").read_text() == "4"
    assert (tmp_path / "curves.png").exists()
    assert [row["AP"] for row in rows if row["AP"]] == ["0.1", "0.3", "0.2", "0.3"]


def test_a_better_one_starts_the_count_anew(model, tmp_path):
    clock = Clock(TRAIN)
    run(clock, model, tmp_path, aps=[0.1, 0.05, 0.2, 0.1, 0.3, 0.2, 0.2])
    assert (clock.step, clock.best) == (14, 0.3)


def test_without_patience_it_goes_on(model, tmp_path):
    clock = Clock(dataclasses.replace(TRAIN, patience=0, steps=12))
    run(clock, model, tmp_path, aps=[0.3, *[0.1] * 5])
    assert (clock.step, clock.waited) == (12, 5)


def test_losses_decide_where_nothing_validates(model, tmp_path):
    clock = Clock(TRAIN)
    # Means of the rows since the last evaluation: 2, then 1 (of 3 and 4), then worse.
    run(clock, model, tmp_path, losses=[9, 2, 1.5, 0.5, 9, 2, 9, 2])
    assert (clock.step, clock.best) == (8, -1.0)
    assert (tmp_path / "best.keras").read_text() == "4"


def test_rows_where_there_is_an_evaluation_or_a_checkpoint(model, tmp_path):
    rows = run(Clock(TRAIN), model, tmp_path, aps=[0.1, 0.2, 0.3, 0.4], end=8)
    assert tuple(rows[0]) == columns(TRAIN)
    assert [int(row["step"]) for row in rows if row["loss"]] == [2, 3, 4, 6, 8]
    scored = next(row for row in rows if row["AP"])
    assert (scored["AP50"], scored["AP_small"]) == ("0.2", "")  # -1: nothing to find
    assert float(scored["seconds"]) >= 0


@pytest.mark.parametrize("aps", [[0.3, 0.2, 0.1, 0.9], None])
def test_killed_and_resumed_is_as_never_killed(aps, model, tmp_path):
    losses = [9, 2, 3, 5, 1, 7, 4, 8]
    whole = Clock(TRAIN)
    expected = run(whole, model, tmp_path / "whole", aps=aps, losses=losses)
    # Killed after step 5; the state is that of step 3, when the first evaluation has counted.
    killed = Clock(TRAIN)
    run(killed, FakeModel(), tmp_path / "run", aps=aps, losses=losses, end=3)
    RunState(model, tmp_path / "run", keep=2).save(killed)
    run(killed, FakeModel(), tmp_path / "run", aps=aps and aps[1:], losses=losses[3:], end=5)
    resumed, model = Clock(TRAIN), FakeModel()
    RunState(model, tmp_path / "run", keep=2).restore(resumed)
    assert (resumed.step, resumed.waited) == (3, 0)
    rows = run(resumed, model, tmp_path / "run", aps=aps and aps[1:], losses=losses[3:])
    assert (resumed.step, resumed.best, resumed.waited) == (whole.step, whole.best, 2)
    for row in (*rows, *expected):
        row.pop("seconds")
    assert rows == expected


@pytest.fixture(autouse=True)
def _folders(tmp_path):
    for name in ("whole", "run"):
        (tmp_path / name).mkdir()


def test_the_clock_is_stored(tmp_path):
    clock = Clock(TRAIN, step=7, best=0.25, waited=2, earlier_seconds=100.0)
    RunState(FakeModel(), tmp_path, keep=2).save(clock)
    restored = Clock(TRAIN)
    RunState(FakeModel(), tmp_path, keep=2).restore(restored)
    assert (restored.step, restored.best, restored.waited) == (7, 0.25, 2)
    assert 100 <= restored.seconds < 160
    assert restored.out_of_patience  # a run that stopped stays stopped


def test_the_best_threshold_is_stored_in_the_model_and_the_clock(model, tmp_path, monkeypatch):
    stored = []
    monkeypatch.setattr(
        callbacks, "save_model", lambda model, path: stored.append(dict(model.metadata))
    )

    def judged(self, model):
        nothing = np.zeros((2, len(THRESHOLDS)), int)
        best = {"threshold": 0.4327, "F1": 0.5}
        points = OperatingPoints(np.array([1, 0]), nothing, nothing, best=best)
        return Score({"AP": 0.1, "AP50": 0.2}, {"cat": 0.1}, points, found=None)

    monkeypatch.setattr(FakeValidation, "__call__", judged)
    clock = Clock(TRAIN)
    run(clock, model, tmp_path, aps=[], end=2)
    assert stored == [{"step": "2", "F1_threshold": "0.4327"}]
    assert clock.threshold == 0.4327
    resumed = Clock(TRAIN)
    resumed.read_json(clock.to_json())
    assert resumed.threshold == 0.4327
