"""A loss that is not a finite number: the run stops, skips the step, or rolls back."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf
from killed_run import OVERRIDES, TRUNK, add_trunk

from keras_retinanet.config.files import load_config
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.modeling.trained_model import TrainedModel
from keras_retinanet.training.run import train

BAD_STEP = 4  # counted from 1; there are states of the steps 0 and 3


@pytest.fixture(autouse=True)
def _trunk():
    add_trunk()
    yield
    del BACKBONES[TRUNK]


@pytest.fixture
def bad_steps(monkeypatch):
    """Make the loss of the steps in this set NaN."""
    taken, bad = tf.Variable(0), {BAD_STEP}
    normalizer = TrainedModel._normalizer

    def broken(self, positives, training):
        found = normalizer(self, positives, training)
        step = taken.assign_add(1)
        return tf.where(tf.reduce_any(step == tf.constant(sorted(bad))), np.nan, found)

    monkeypatch.setattr(TrainedModel, "_normalizer", broken)
    return bad


class Weights(keras.callbacks.Callback):
    """Keep the weights and the loss after each step."""

    def __init__(self):
        super().__init__()
        self.after, self.losses = [], []

    def on_train_batch_end(self, batch, logs=None):
        kernels = [w.numpy().ravel() for w in self.model.trainable_weights]
        self.after.append(np.concatenate(kernels))
        self.losses.append(logs["loss"])


def run(out, on_nan):
    """Take 6 steps; return the weights after each, and the rows of the log."""
    settings = {
        "train.steps": 2,  # of 16 images: 8 of 4
        "train.eval_every": 8,
        "train.checkpoint_every": 3,
        "train.on_nan": on_nan,
        "train.optimizer.ema": 0,
    }
    kept = Weights()
    train(load_config("shapes", {**OVERRIDES, **settings}), out, callbacks=[kept])
    with open(out / "metrics.csv", newline="") as stream:
        rows = [float(row["loss"]) for row in csv.DictReader(stream) if row["loss"]]
    return kept, rows


@pytest.mark.long
def test_stop_says_where_keeps_the_state_and_draws_the_images(bad_steps, tmp_path):
    with pytest.raises(UserError, match=rf"Received: nan at step {BAD_STEP}, with learning rate 0"):
        run(tmp_path / "run", "stop")
    states = {path.name for path in (tmp_path / "run/state").glob("ckpt-*")}
    assert states == {"ckpt-0.npz", "ckpt-3.npz"}
    assert (tmp_path / "run/bad_batch.png").stat().st_size > 1000


@pytest.mark.long
def test_skip_leaves_the_weights_and_the_log_alone(bad_steps, tmp_path, capsys):
    kept, rows = run(tmp_path / "run", "skip")
    np.testing.assert_array_equal(kept.after[BAD_STEP - 1], kept.after[BAD_STEP - 2])
    assert np.abs(kept.after[BAD_STEP] - kept.after[BAD_STEP - 1]).max() > 0
    assert np.isfinite(kept.losses).all() and np.isfinite(rows).all() and len(kept.after) == 8
    assert f"step {BAD_STEP}: loss nan; the step is skipped" in capsys.readouterr().out


@pytest.mark.long
def test_rollback_continues_from_the_last_state_with_the_next_images(bad_steps, tmp_path, capsys):
    bad_steps |= {5}
    kept, rows = run(tmp_path / "run", "rollback")
    for step in (4, 5):
        np.testing.assert_array_equal(kept.after[step - 1], kept.after[2])
    assert np.isfinite(rows).all() and len(kept.after) == 8
    assert "step 5: loss nan; back to the weights of step 3" in capsys.readouterr().out


@pytest.mark.long
def test_a_run_without_a_good_step_stops(bad_steps, tmp_path):
    bad_steps |= set(range(4, 9))
    with pytest.raises(UserError, match="Received: nan at step 7"):
        run(tmp_path / "run", "rollback")
