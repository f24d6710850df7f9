"""Keep the progress of a run, and save and restore its states so that a killed run resumes."""

import contextlib
import errno
import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_retinanet.config import TrainConfig
from keras_retinanet.errors import UserError
from keras_retinanet.files import is_disk_full
from keras_retinanet.training.run_folder import STATE_FOLDER
from keras_retinanet.training.schedules import total_steps

# Number of states that are kept; the older one is used if the newest is damaged.
KEPT_STATES = 2
PREFIX = "ckpt-"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# Entries that TensorFlow adds to the values.
BOOKKEEPING = {"_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter" + VALUE}
# The clock in states of versions before 0.2, one variable each.
EARLIER_CLOCK = ("step", "seconds", "best", "waited")
# `Clock.evaluated` for such a state.
NOT_STORED = -1


@dataclass
class Clock:
    """Progress of a run, shared by the callbacks and stored in its states.

    Attributes:
        train: how long the run may be.
        step: steps taken.
        best: the best score so far.
        waited: evaluations since the one that gave it.
        threshold: where F1 was best in the last evaluation; None: unknown.
        evaluated: step of the last evaluation that was completed.
        window: sums of the losses since the last row of the log, and "steps", their number.
        earlier_seconds: spent before the last resume.
        started: when this process began, in `time.monotonic` seconds.
        told_seconds: the chief's `seconds`, where several processes train together.
    """

    train: TrainConfig
    step: int = 0
    best: float = float("-inf")
    waited: int = 0
    threshold: float | None = None
    evaluated: int = 0
    window: dict[str, float] = field(default_factory=dict)
    earlier_seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)
    told_seconds: float | None = None

    @property
    def own_seconds(self) -> float:
        """Return the duration of the run by the clock of this process."""
        return self.earlier_seconds + time.monotonic() - self.started

    @property
    def seconds(self) -> float:
        """Return the duration of the run, the same in all processes."""
        return self.own_seconds if self.told_seconds is None else self.told_seconds

    @property
    def progress(self) -> float:
        """Return the completed share of the run, 0..1: by steps or by time, the larger one."""
        return self.progress_at(self.step)

    def progress_at(self, step: int) -> float:
        """Return `progress` with `step` steps taken by now."""
        by_steps = step / total_steps(self.train)
        limit = self.train.minutes * 60
        return min(1.0, max(by_steps, self.seconds / limit if limit else 0.0))

    @property
    def out_of_patience(self) -> bool:
        """Return whether `train.patience` evaluations without a better score have passed."""
        return 0 < self.train.patience <= self.waited

    @property
    def done(self) -> bool:
        return self.progress >= 1.0 or self.out_of_patience

    def owes_evaluation(self, every: int) -> bool:
        """Return whether an evaluation, made every `every` steps, is due and not yet made."""
        is_due = self.step > 0 and (self.step % every == 0 or self.done)
        return is_due and self.evaluated != self.step

    def to_json(self) -> str:
        """Return the clock as JSON for `read_json`."""
        names = ("step", "best", "waited", "threshold", "evaluated")
        stored = {name: getattr(self, name) for name in names}
        return json.dumps(stored | {"window": self.window, "seconds": self.seconds})

    def read_json(self, text: str) -> None:
        """Set the values that `to_json` wrote."""
        stored = json.loads(text)
        self.earlier_seconds = stored.pop("seconds")
        for name, value in stored.items():
            setattr(self, name, value)


class RunState:
    """Save and restore the states of a run in `<folder>/state`.

    Weights, optimizer slots, moving averages and the clock; the data's order and randomness are
    functions of the seed and the step. One device or several write and read the same state.

    Args:
        folder: of the run.
        writes: whether this process saves states; others only read them.
    """

    def __init__(self, model, folder: Path, *, writes: bool = True):
        self.folder, self._writes = folder / STATE_FOLDER, writes
        self._clock = tf.Variable("", dtype=tf.string)
        # Lists of a checkpoint are its own: `weights/0`, `weights/1`, ...
        self._values = {
            "weights": [v.value for v in model.weights],
            "optimizer": [v.value for v in model.optimizer.variables],
            "normalizer": model.loss_normalizer.value,
        }

    @contextlib.contextmanager
    def disk_space(self):
        """Raise a `UserError` if the disk is full, wherever the run writes."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            if not is_disk_full(error):
                raise
            run, steps = self.folder.parent, self.steps()
            then = f", then --resume {run} continues at step {steps[0]}" if steps else ""
            raise UserError(
                f"Expected free space for {run}. Received: a full disk, or a reached quota or "
                f"limit. Free some space{then}."
            ) from error

    def save(self, clock: Clock) -> None:
        """Write the state of the model and of `clock`; remove all but the newest states.

        Raises:
            OSError: it cannot be written. The states before it are kept.
        """
        if not self._writes:
            return
        self._clock.assign(clock.to_json())
        prefix = self.folder / f"{PREFIX}{clock.step}"
        try:
            # The index is written last: without one there is no state.
            tf.train.Checkpoint(**self._values, clock=self._clock).write(str(prefix))
        except tf.errors.OpError as error:
            # TensorFlow keeps what it wrote until there was no room.
            shutil.rmtree(f"{prefix}_temp", ignore_errors=True)
            # Not as TensorFlow's error: Keras takes its OutOfRangeError for the end of the data.
            number = errno.ENOSPC if is_disk_full(error) else errno.EIO
            raise OSError(number, _reason(error), str(prefix)) from error
        for step in self.steps()[KEPT_STATES:]:
            self._remove(step)

    def restore(self, clock: Clock) -> None:
        """Read the newest whole state into the model and `clock`; remove newer, damaged ones.

        Raises:
            UserError: none is whole, or it is the state of another model or version.
        """
        self._read_newest(lambda reader: _read_clock(clock, reader))

    def restore_weights(self) -> None:
        """Read the newest whole state into the model and its optimizer, as `restore`."""
        self._read_newest(lambda reader: None)

    def _read_newest(self, read_more: Callable[[Any], None]) -> None:
        damaged: dict[int, str] = {}
        for step in self.steps():
            prefix = str(self.folder / f"{PREFIX}{step}")
            try:
                reader = tf.train.load_checkpoint(prefix)
                self._check_model(prefix, reader.get_variable_to_shape_map())
                tf.train.Checkpoint(**self._values).restore(prefix).expect_partial()
                read_more(reader)
            except UserError:
                raise
            except Exception as error:  # whatever TensorFlow raises for damaged bytes
                damaged[step] = _reason(error)
                continue
            for newer, reason in damaged.items():
                print(f"the state of step {newer} is damaged ({reason}): that of {step} is used")
                self._remove(newer)
            return
        found = "; ".join(f"{PREFIX}{step}: {reason}" for step, reason in damaged.items())
        raise UserError(
            f"Expected a whole state in {self.folder}. Received: {found or 'none'}. Start a new "
            f"run with --weights {self.folder.parent}, if that holds a model."
        )

    def steps(self) -> list[int]:
        """Return the steps of the states that are there, newest first."""
        return saved_steps(self.folder.parent)

    def _check_model(self, prefix: str, stored: dict[str, list[int]]) -> None:
        expected = {"normalizer" + VALUE: self._values["normalizer"].shape.as_list()}
        for name in ("weights", "optimizer"):
            for index, variable in enumerate(self._values[name]):
                expected[f"{name}/{index}{VALUE}"] = variable.shape.as_list()
        others = BOOKKEEPING | {name + VALUE for name in ("clock", *EARLIER_CLOCK)}
        if {name: shape for name, shape in stored.items() if name not in others} != expected:
            raise UserError(
                f"Expected a state of this model that this version wrote. Received: {prefix}, with "
                "other values. Resume with the version that began the run, or start a new one "
                "with --weights."
            )

    def _remove(self, step: int) -> None:
        if not self._writes:
            return
        for path in self.folder.glob(f"{PREFIX}{step}.*"):
            path.unlink(missing_ok=True)


def saved_steps(folder: Path) -> list[int]:
    """Return the steps of the states of the run in `folder`, newest first."""
    names = [path.name for path in (folder / STATE_FOLDER).glob(f"{PREFIX}*.index")]
    steps = [re.fullmatch(rf"{PREFIX}(\d+)\.index", name) for name in names]
    return sorted((int(step[1]) for step in steps if step), reverse=True)


def _read_clock(clock: Clock, reader) -> None:
    if reader.has_tensor("clock" + VALUE):
        clock.read_json(reader.get_tensor("clock" + VALUE).decode())
        return
    step, seconds, best, waited = (reader.get_tensor(name + VALUE) for name in EARLIER_CLOCK)
    clock.step, clock.best, clock.waited = int(step), float(best), int(waited)
    clock.earlier_seconds = float(seconds)
    clock.evaluated = NOT_STORED


def _reason(error: Exception) -> str:
    """Return the first line of `error`, cut."""
    lines = str(getattr(error, "message", error)).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:120]
