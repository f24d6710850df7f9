"""`tune`: trials, pruning, repeats and resuming with a stand-in for training; one real search."""

import json
import math
import types

import pytest

pytest.importorskip("optuna")  # the extra tune
import tiny_command as tiny

from keras_retinanet.commands.tune import table
from keras_retinanet.config.files import load_config
from keras_retinanet.errors import UserError
from keras_retinanet.training import tuning
from keras_retinanet.training.tuning import Reporter, Row, scaled, tune

LEARNING_RATE = "train.optimizer.learning_rate"
DATA = ("train", types.SimpleNamespace(records=["image"]))


class Training:
    """A training whose AP is best at twice the plan's learning rate; it takes its minutes."""

    def __init__(self, monkeypatch):
        self.time, self.runs, self.killed_at, self.broken = 0.0, [], None, ()
        monkeypatch.setattr(tuning.time, "monotonic", lambda: self.time)

    def __call__(self, config, out, *, callbacks, data):
        assert data is DATA
        out.mkdir(parents=True)
        self.runs.append(out.name)
        if out.name == self.killed_at:
            raise KeyboardInterrupt
        self.time += 60 * config.train.minutes
        if out.name in self.broken:
            raise UserError("the loss is NaN")
        factor = config.train.optimizer.learning_rate / plan().train.optimizer.learning_rate
        return {"best_score": 0.5 - 0.1 * math.log2(factor / 2) ** 2 + 0.001 * config.train.seed}


@pytest.fixture
def training(monkeypatch):
    return Training(monkeypatch)


def plan():
    return load_config("bccd", {"train.seed": 0})


def search(training, out, minutes=16):
    return tune(plan(), out, DATA, minutes=minutes, trial_minutes=1, train=training)


@pytest.mark.long
def test_the_best_is_repeated_and_becomes_the_recipe(training, tmp_path):
    rows = search(training, tmp_path)
    assert len(training.runs) == 16 and training.time == pytest.approx(16 * 60)
    assert [len(row.scores) for row in rows] == [3, 3, 3] + [1] * 7
    assert rows[0].mean == max(row.mean for row in rows)
    (first,) = (row for row in rows if row.number == 0)  # the plan itself
    assert first.values == scaled(plan(), dict.fromkeys(tuning.FACTORS, 1.0))
    assert first.scores[0] == pytest.approx(0.4) and rows[0].mean > 0.44
    best = load_config(tmp_path / "recipe.yaml")
    assert best.train.optimizer.learning_rate == rows[0].values[LEARNING_RATE]
    assert (best.train.minutes, best.train.seed) == (plan().train.minutes, 0)
    stored = json.loads((tmp_path / "trials.json").read_text(encoding="utf-8"))
    assert [row["number"] for row in stored] == [row.number for row in rows]


@pytest.mark.long
def test_a_search_is_resumed_and_made_longer(training, tmp_path):
    training.killed_at = "005"
    with pytest.raises(KeyboardInterrupt):
        search(training, tmp_path)
    training.killed_at = None
    rows = search(training, tmp_path)
    assert (
        training.runs.count("004") == 1
        and {5: "fail"}.items() <= {row.number: row.state for row in rows}.items()
    )
    assert training.time == pytest.approx(16 * 60)
    asked = len(training.runs)
    assert search(training, tmp_path) == rows and len(training.runs) == asked
    assert len(search(training, tmp_path, minutes=30)) > len(rows)
    other = load_config("bccd", {"train.seed": 1})
    with pytest.raises(UserError, match="Received: another one"):
        tune(other, tmp_path, DATA, minutes=16, trial_minutes=1, train=training)


@pytest.mark.long
def test_a_trial_that_fails_is_left_but_not_the_plan(training, tmp_path, capsys):
    training.broken = ("003",)
    rows = search(training, tmp_path / "a")
    assert [row.state for row in rows if row.number == 3] == ["fail"]
    assert "trial 3 failed: the loss is NaN" in capsys.readouterr().out
    training.broken = ("000",)
    with pytest.raises(UserError, match="the loss is NaN"):
        search(training, tmp_path / "b")
    with pytest.raises(UserError, match="Expected validation images"):
        tune(plan(), tmp_path, ("train", None), minutes=9, trial_minutes=1, train=training)


def test_a_hopeless_run_is_ended_at_an_evaluation():
    reports = []
    trial = types.SimpleNamespace(
        report=lambda score, step: reports.append((step, score)),
        should_prune=lambda: reports[-1][1] < 0.2,
    )
    reporter = Reporter(trial)
    reporter.set_model(types.SimpleNamespace(stop_training=False))
    reporter.on_epoch_end(0, {"val_AP": 0.3})
    reporter.on_epoch_end(1, {"loss": 1.0})
    assert not reporter.is_pruned and not reporter.model.stop_training
    reporter.on_epoch_end(2, {"val_AP": 0.1})
    assert reporter.is_pruned and reporter.model.stop_training
    assert reports == [(0, 0.3), (2, 0.1)]


def test_the_table_states_the_noise():
    rows = [Row(4, "complete", {LEARNING_RATE: 0.02}, [0.50, 0.52, 0.54]),
            Row(0, "complete", {LEARNING_RATE: 0.01}, [0.51, 0.51, 0.51]),
            Row(2, "pruned", {LEARNING_RATE: 0.1}, [])]  # fmt: skip
    lines = table(rows)
    assert "0.520  0.500 0.520 0.540" in lines[1] and "learning_rate 0.02" in lines[1]
    assert "pruned" in lines[3] and " - " in lines[3]
    assert lines[4].endswith(
        "deviation of 0.010. The first trial leads by 0.010, within the noise: take either."
    )


@pytest.mark.slow
def test_a_real_search(tmp_path):
    out = tmp_path / "tuned"
    words = ["tune", "shapes", "--config", "shapes", "--out", str(out)]
    for key, value in tiny.SETTINGS.items():
        words += ["--set", f"{key}={value}"]
    words += ["--minutes", "0.7", "--trial_minutes", "0.1"]
    code, printed = tiny.run(*words)
    assert code == 0, printed
    assert "trial 0 again, seed 1: AP" in printed and (out / "recipe.yaml").is_file()
    assert load_config(out / "recipe.yaml").data.shapes_train == 16


def test_the_table_says_whether_the_lead_is_more_than_the_noise():
    rows = [Row(0, "complete", {}, [0.5, 0.5, 0.5]), Row(1, "complete", {}, [0.4, 0.4, 0.4])]
    assert table(rows)[-1].endswith("leads by 0.100, more than the noise.")
    rows[1] = Row(1, "complete", {}, [0.5, 0.5, 0.5])
    assert table(rows)[-1].endswith("leads by 0.000, within the noise: take either.")
    rows = [Row(0, "complete", {}, [0.0, 0.0, 0.0])] * 2
    assert table(rows)[-1].startswith("No run has found anything")
