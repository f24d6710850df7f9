"""Callbacks of `model.fit`: learning rate, progress bar, log, evaluation, checkpoints."""

import contextlib
import csv
import gc
import math
import time
from pathlib import Path

import keras

from keras_retinanet.config import TrainConfig
from keras_retinanet.evaluation.metrics.coco_figures import FIGURES
from keras_retinanet.files import atomic_write
from keras_retinanet.modeling.draw_threshold import (
    F1_THRESHOLD,
    USUAL_THRESHOLD,
    store_threshold,
)
from keras_retinanet.modeling.saving import save_model
from keras_retinanet.terminal import progress
from keras_retinanet.training.distillation import loss_names
from keras_retinanet.training.event_log import EventLog
from keras_retinanet.training.interruption import Interruption, Mode
from keras_retinanet.training.learning_curves import learning_curves
from keras_retinanet.training.run_folder import LOG_FILE
from keras_retinanet.training.run_state import Clock, RunState
from keras_retinanet.training.schedules import rate_factor, scaled_learning_rate, total_steps
from keras_retinanet.training.validation import Score, Validation

LOG_EVERY = 20
PICTURE_CAPTION = (
    "Left: ground truth. Right: detections with a score of at least predict.draw_threshold, by "
    "default validation/F1_threshold, where F1 at IoU 0.5 is highest."
)


def columns(train: TrainConfig) -> tuple[str, ...]:
    """Return the columns of the log of a run."""
    return ("step", *loss_names(train), "learning_rate", *FIGURES, "seconds")


class Pace(keras.callbacks.Callback):
    """Set the learning rate before each step, count the step after it, and end the run in time."""

    def __init__(self, clock: Clock):
        super().__init__()
        self.clock = clock
        self.peak = scaled_learning_rate(clock.train)

    def on_train_batch_begin(self, batch, logs=None):
        factor = rate_factor(self.clock.train.schedule, self.clock.step, self.clock.progress)
        self.model.optimizer.learning_rate = self.peak * factor

    def on_train_batch_end(self, batch, logs=None):
        # Count batches, not updates: mixed_float16 skips an update whose gradient overflows.
        self.clock.step += 1
        if self.clock.done:
            self.model.stop_training = True


class Log(keras.callbacks.Callback):
    """Write mean losses of the last steps to the progress bar, a CSV file and TensorBoard.

    Args:
        evaluate_every, save_every: steps between evaluations, and between checkpoints. Each gets
            its own row, so that a resumed run logs the same rows as an uninterrupted one.
        is_shown: whether there is a progress bar.

    Attributes:
        latest: the values of the last rows, metrics of the validation split as "val_AP" and so on.
    """

    def __init__(
        self,
        clock: Clock,
        folder: Path,
        *,
        evaluate_every: int,
        save_every: int,
        is_shown: bool = True,
    ):
        super().__init__()
        self.clock = clock
        self.every = (LOG_EVERY, evaluate_every, save_every)
        self.path, self.columns = folder / LOG_FILE, columns(clock.train)
        self.latest: dict[str, float] = {}
        self.bar = progress(
            # That of a run limited in minutes is estimated at each step.
            total=None if clock.train.minutes else total_steps(clock.train),
            initial=clock.step,
            unit="step",
            desc="train",
            disable=not is_shown,
        )
        self.events = EventLog(folder / "tensorboard", step=clock.step)
        rows = self._keep_rows_until(clock.step)
        # Since the last evaluation.
        self.window_losses = [
            float(row["loss"]) for row in rows if row["loss"] and int(row["step"]) > clock.evaluated
        ]
        # Sums of the interrupted window are added: Keras starts its means at zero.
        self._before, self._steps = dict(clock.window), 0

    def _keep_rows_until(self, step: int) -> list[dict[str, str]]:
        """Drop rows logged after the state that the run resumes from, and damaged rows."""
        rows = []
        if step and self.path.exists():
            with open(self.path, newline="", encoding="utf-8", errors="replace") as stream:
                rows = [row for row in csv.DictReader(stream) if self._is_whole(row, step)]
        with atomic_write(self.path) as stream:
            writer = csv.DictWriter(stream, self.columns)
            writer.writeheader()
            writer.writerows(rows)
        return rows

    def on_train_batch_end(self, batch, logs=None):
        if self.clock.train.minutes:
            self.bar.total = max(self.clock.step, round(self.clock.step / self.clock.progress))
        self.bar.update(1)
        losses = self._window(logs)
        if not self.clock.done and all(self.clock.step % every for every in self.every):
            return
        self.window_losses.append(losses["loss"])
        self.bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()})
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        values = losses | {"learning_rate": rate}
        self.add_row(values)
        self.events.scalars({f"training/{k}": v for k, v in values.items()}, self.clock.step)
        self.events.flush()
        # Keras averages over the epoch; each row here is the mean of its own steps.
        self.model.reset_metrics()
        self._before = self.clock.window = {}
        self._steps = 0

    def _window(self, logs: dict[str, float]) -> dict[str, float]:
        """Return the mean losses since the last row; store their sums in the clock."""
        self._steps += 1
        steps = self._steps + self._before.get("steps", 0)
        names = loss_names(self.clock.train)
        sums = {n: float(logs[n]) * self._steps + self._before.get(n, 0.0) for n in names}
        self.clock.window = sums | {"steps": steps}
        return {name: value / steps for name, value in sums.items()}

    def add_row(self, values: dict[str, float]) -> None:
        """Append a row for the current step to the CSV file."""
        self.latest |= {f"val_{k}" if k in FIGURES else k: v for k, v in values.items()}
        with open(self.path, "a", encoding="utf-8", newline="") as stream:
            csv.DictWriter(stream, self.columns).writerow({"step": self.clock.step} | values)

    def _is_whole(self, row: dict[str, str], step: int) -> bool:
        """Return whether `row` of the log is complete, numeric and not after `step`."""
        try:
            numbers = {key: float(value) for key, value in row.items() if value}
        except (TypeError, ValueError):  # an extra cell, or text
            return False
        is_complete = set(row) == set(self.columns) and None not in row.values()
        return is_complete and numbers["step"] <= step

    def on_train_end(self, logs=None):
        self.bar.close()


class Evaluation(keras.callbacks.Callback):
    """Evaluate on the validation split, keep the best model, and stop a run that stagnates.

    Args:
        folder: run folder, where `best.keras` and `curves.png` are written.
        every: steps between evaluations; the last step is always followed by one.
        validation: computes the metrics, of which AP selects the best model. With None, the
            lowest training loss does.
        draw_threshold: minimum score of drawn detections; None: where F1 is best.
        interruption: lets a signal stop the evaluation, but not what follows it. A resumed run
            makes that evaluation first.
    """

    def __init__(
        self,
        clock: Clock,
        folder: Path,
        *,
        every: int,
        validation: Validation | None,
        draw_threshold: float | None,
        log: Log,
        interruption: Interruption,
    ):
        super().__init__()
        self.clock, self.every, self.log = clock, every, log
        self.interruption = interruption
        self.validation, self.draw_threshold = validation, draw_threshold
        self.path, self.curves = folder / "best.keras", folder / "curves.png"

    def on_train_batch_end(self, batch, logs=None):
        if self.clock.owes_evaluation(self.every):
            self.run()
        if self.clock.out_of_patience:
            self.model.stop_training = True

    def run(self) -> None:
        """Evaluate the current model, and save it if it is the best so far."""
        with self.interruption.mode(Mode.HELD), averaged_weights(self.model):
            value = self._value()
            is_best = value > self.clock.best or not self.path.exists()
            if is_best:
                self.model.metadata["step"] = str(self.clock.step)
                store_threshold(self.model.metadata, self.clock.threshold)
                save_model(self.model, self.path)
                self.clock.best = value
            self.clock.waited = 0 if is_best else self.clock.waited + 1
            self.clock.evaluated = self.clock.step
            self.log.window_losses = []
            learning_curves(self.log.path, self.curves)
        # Graphs and figures refer to themselves: left to Python, they pile up for hours.
        gc.collect()

    def _value(self) -> float:
        if self.validation is None:
            losses = self.log.window_losses or [math.inf]  # no step was taken
            return -sum(losses) / len(losses)
        start = time.perf_counter()
        # Several processes stop together: their validation checks for signals itself.
        mode = Mode.RAISES if self.validation.is_alone else Mode.HELD
        with self.interruption.mode(mode):
            score = self.validation(self.model)
        seconds = time.perf_counter() - start
        known = {name: value for name, value in score.figures.items() if value >= 0}
        self.log.add_row(known | {"seconds": seconds})
        self._show(self.validation, score, known | {"seconds": seconds})
        threshold = self.clock.threshold = score.points.best_threshold
        ap, ap50 = (score.figures[name] for name in ("AP", "AP50"))
        line = f"step {self.clock.step}: AP {ap:.3f}, AP50 {ap50:.3f}"
        if threshold is not None:
            line += f", F1 {score.points.best['F1']:.3f} from score {threshold:.3f} on"
        self.log.bar.write(f"{line} ({seconds:.1f} s)")
        return ap

    def _show(self, validation: Validation, score: Score, scalars: dict[str, float]) -> None:
        """Write the results of an evaluation for TensorBoard."""
        events, step = self.log.events, self.clock.step
        threshold = score.points.best_threshold
        if threshold is not None:
            scalars = scalars | {"F1": score.points.best["F1"], F1_THRESHOLD: threshold}
        by_class = {f"AP by class/{k}": v for k, v in score.class_ap.items() if v >= 0}
        events.scalars({f"validation/{k}": v for k, v in scalars.items()} | by_class, step)
        events.precision_recall(score.points, validation.class_names, step)
        shown = self.draw_threshold
        if shown is None:
            shown = USUAL_THRESHOLD if threshold is None else threshold
        for name, image in validation.draw(score.found, shown).items():
            events.picture(f"pictures/{name}", image, step, description=PICTURE_CAPTION)
        events.flush()


class Checkpoint(keras.callbacks.Callback):
    """Save the whole state regularly, so that a killed run resumes exactly where it was.

    It is the last callback: the state then includes all that belongs to the step. A signal that
    arrived in the meantime is raised here.
    """

    def __init__(self, clock: Clock, state: RunState, *, every: int, interruption: Interruption):
        super().__init__()
        self.clock, self.state, self.every = clock, state, every
        self.interruption = interruption

    def on_train_batch_end(self, batch, logs=None):
        self.interruption.check()
        is_last = self.clock.done or self.model.stop_training
        if self.clock.step % self.every == 0 or is_last:
            self.save()

    def save(self) -> None:
        with self.interruption.mode(Mode.HELD):
            self.state.save(self.clock)


@contextlib.contextmanager
def averaged_weights(model):
    """Use the moving average of the weights, if there is one, while the block runs."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    # Keras can only overwrite the weights with their averages: keep the raw ones to restore.
    variables = optimizer._trainable_variables
    raw = [variable.numpy() for variable in variables]
    try:
        optimizer.finalize_variable_values(variables)
        yield
    finally:
        for variable, value in zip(variables, raw, strict=True):
            variable.assign(value)
