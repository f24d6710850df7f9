"""What happens between the steps of `model.fit`: rate, bar, log, evaluation, checkpoints."""

import contextlib
import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import tensorflow as tf
from tqdm import tqdm

from keras_retinanet.config import TrainConfig
from keras_retinanet.errors import UserError
from keras_retinanet.saving import save_model
from keras_retinanet.schedules import rate_factor, scaled_learning_rate, total_steps

LOG_EVERY = 20
COLUMNS = ("step", "loss", "class_loss", "box_loss", "learning_rate", "AP", "AP50")


@dataclass
class Clock:
    """Where a run stands; shared by the callbacks and stored in its checkpoints."""

    train: TrainConfig
    step: int = 0
    earlier_seconds: float = 0.0  # spent before the last resume
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return self.earlier_seconds + time.monotonic() - self.started

    @property
    def progress(self) -> float:
        by_steps = self.step / total_steps(self.train)
        limit = self.train.minutes * 60
        return min(1.0, max(by_steps, self.seconds / limit if limit else 0.0))

    @property
    def done(self) -> bool:
        return self.progress >= 1.0


class Pace(keras.callbacks.Callback):
    """Sets the learning rate before each step, counts it after, ends the run in time."""

    def __init__(self, clock: Clock):
        super().__init__()
        self.clock = clock
        self.peak = scaled_learning_rate(clock.train)

    def on_train_batch_begin(self, batch, logs=None):
        factor = rate_factor(self.clock.train.schedule, self.clock.step, self.clock.progress)
        self.model.optimizer.learning_rate = self.peak * factor

    def on_train_batch_end(self, batch, logs=None):
        # Of batches, not of updates: mixed_float16 skips an update whose gradient overflows.
        self.clock.step += 1
        if self.clock.done:
            self.model.stop_training = True


class Log(keras.callbacks.Callback):
    """Means of the losses over the last steps: to the bar, to a CSV file and to TensorBoard."""

    def __init__(self, clock: Clock, folder: Path, *, progress_bar: bool = True):
        super().__init__()
        self.clock = clock
        self.path = folder / "metrics.csv"
        self.bar = tqdm(
            # Where minutes end the run, the number of steps shows with the first figures.
            total=None if clock.train.minutes else total_steps(clock.train),
            initial=clock.step,
            unit="step",
            desc="train",
            disable=not progress_bar,
        )
        self.summary = tf.summary.create_file_writer(str(folder / "tensorboard"))
        self.window_losses: list[float] = []  # since the last evaluation
        self._drop_rows_after(clock.step)

    def _drop_rows_after(self, step):
        """Forget what a killed run logged past the checkpoint that it resumes from."""
        rows = []
        if step and self.path.exists():
            with open(self.path, newline="") as stream:
                rows = [row for row in csv.DictReader(stream) if int(row["step"]) <= step]
        with open(self.path, "w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update(1)
        if self.clock.step % LOG_EVERY and not self.clock.done:
            return
        losses = {name: float(logs[name]) for name in ("loss", "class_loss", "box_loss")}
        require_finite(losses["loss"], self.clock.step)
        self.window_losses.append(losses["loss"])
        self.bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()})
        if self.clock.train.minutes:
            self.bar.total = max(self.clock.step, round(self.clock.step / self.clock.progress))
        self.write(losses | {"learning_rate": float(self.model.optimizer.learning_rate)})
        # Keras averages over the epoch; each row here is the mean of its own steps.
        self.model.reset_metrics()

    def write(self, values: dict[str, float]) -> None:
        """Add one row for the current step."""
        with open(self.path, "a", newline="") as stream:
            csv.DictWriter(stream, COLUMNS).writerow({"step": self.clock.step} | values)
        with self.summary.as_default(step=self.clock.step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self.summary.flush()

    def on_train_end(self, logs=None):
        self.bar.close()


def require_finite(loss: float, step: int) -> None:
    """Raise a UserError for a loss that is NaN or infinite, before it is scored or saved."""
    if not math.isfinite(loss):
        raise UserError(
            f"Expected a finite loss. Received: {loss} at step {step}. Start a new run with a "
            "lower train.optimizer.learning_rate, or with train.optimizer.clip_norm."
        )


class Evaluation(keras.callbacks.Callback):
    """Scores the model on the validation part and keeps the best one as `best.keras`.

    Args:
        every: steps between evaluations; the last step is always followed by one.
        score: model -> {"AP": ..., "AP50": ...}; None: the lowest training loss is best.
        log: where the figures go.
        best: the score that a resumed run has to beat.
    """

    def __init__(
        self,
        clock: Clock,
        folder: Path,
        *,
        every: int,
        score: Callable[[keras.Model], dict[str, float]] | None,
        log: Log,
        best: float,
    ):
        super().__init__()
        self.clock, self.every, self.score, self.log, self.best = clock, every, score, log, best
        self.path = folder / "best.keras"
        self.window_losses = [math.inf]

    def on_train_batch_end(self, batch, logs=None):
        if self.clock.step % self.every == 0 or self.clock.done:
            require_finite(float(logs["loss"]), self.clock.step)
            self.window_losses = self.log.window_losses or [float(logs["loss"])]
            self.run()
            self.log.window_losses = []

    def run(self) -> None:
        """Score the model as it is now, and keep it if it is the best so far."""
        with averaged_weights(self.model):
            value = self._value()
            if value > self.best or not self.path.exists():
                self.best = value
                self.model.metadata["step"] = str(self.clock.step)
                save_model(self.model, self.path)

    def _value(self) -> float:
        if self.score is None:
            return -sum(self.window_losses) / len(self.window_losses)
        figures = self.score(self.model)
        figures = {name: float(figures[name]) for name in ("AP", "AP50")}
        self.log.write(figures)
        self.log.bar.write(
            f"step {self.clock.step}: AP {figures['AP']:.3f}, AP50 {figures['AP50']:.3f}"
        )
        return figures["AP"]


class Checkpoint(keras.callbacks.Callback):
    """Writes the whole state every so many steps, so that a killed run goes on as if it never was.

    Weights, optimizer slots, moving averages, step, time and best score; the data's order and
    randomness are functions of the seed and the step.
    """

    def __init__(self, clock: Clock, state: "RunState", evaluation: Evaluation, *, every: int):
        super().__init__()
        self.clock, self.state, self.evaluation, self.every = clock, state, evaluation, every

    def on_train_batch_end(self, batch, logs=None):
        if self.clock.step % self.every == 0 or self.clock.done:
            require_finite(float(logs["loss"]), self.clock.step)
            self.save()

    def save(self) -> None:
        self.state.save(self.clock, self.evaluation.best)


class RunState:
    """The resumable state of a run, in `<folder>/state`."""

    def __init__(self, model, folder: Path):
        self.step = tf.Variable(0, dtype=tf.int64)
        self.seconds = tf.Variable(0.0, dtype=tf.float64)
        self.best = tf.Variable(float("-inf"), dtype=tf.float64)
        checkpoint = tf.train.Checkpoint(
            weights=[v.value for v in model.weights],
            optimizer=[v.value for v in model.optimizer.variables],
            normalizer=model.loss_normalizer.value,
            step=self.step,
            seconds=self.seconds,
            best=self.best,
        )
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder / "state"), max_to_keep=2)

    def save(self, clock: Clock, best: float) -> None:
        self.step.assign(clock.step)
        self.seconds.assign(clock.seconds)
        self.best.assign(best)
        self._manager.save(clock.step)

    def restore(self) -> bool:
        """Read the newest checkpoint; False where there is none."""
        path = self._manager.latest_checkpoint
        if path is None:
            return False
        self._manager.checkpoint.restore(path).assert_consumed()
        return True


@contextlib.contextmanager
def averaged_weights(model):
    """Put the moving average of the weights in the model while the block runs, if one is kept."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    # Keras offers the averages by overwriting alone; keep the raw weights to put back.
    variables = optimizer._trainable_variables
    raw = [variable.numpy() for variable in variables]
    try:
        optimizer.finalize_variable_values(variables)
        yield
    finally:
        for variable, value in zip(variables, raw, strict=True):
            variable.assign(value)
