"""Keep the progress of a run, and save and restore its states so that a killed run resumes."""

import contextlib
import errno
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from keras_retinanet.config import TrainConfig
from keras_retinanet.errors import UserError
from keras_retinanet.files import is_disk_full, sync
from keras_retinanet.training import earlier_states, state_file
from keras_retinanet.training.earlier_states import EarlierState
from keras_retinanet.training.run_folder import LOG_FILE, MODEL_FILES, STATE_FOLDER
from keras_retinanet.training.schedules import total_steps
from keras_retinanet.training.state_file import StateFile, write_state

PREFIX = "ckpt-"
CLOCK = "clock"
# Keras's name of the state of a layer's random numbers.
SEED_STATE = "seed_generator_state"
# Of a run folder that cannot be written any more: rights, a disk or a server that fails.
UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)


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
        keep: number of states that are kept; an older one is used if a newer one is damaged.
        writes: whether this process saves states; others only read them.
    """

    def __init__(self, model, folder: Path, *, keep: int, writes: bool = True):
        self.folder, self._keep, self._writes = folder / STATE_FOLDER, keep, writes
        self._values = {"normalizer": model.loss_normalizer.value}
        # Where layers draw numbers, as stochastic depth does; no weight of the model.
        random = [variable for variable in model.variables if variable.name == SEED_STATE]
        parts = {
            "weights": model.weights,
            "optimizer": model.optimizer.variables,
            "random": random,
            "distillation": model.distillation_variables,
        }
        for name, of in parts.items():
            self._values |= {f"{name}/{index}": v.value for index, v in enumerate(of)}

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Say in one line that the folder of the run cannot be written, wherever it shows.

        Raises:
            UserError: the disk is full, fails or is read-only, or the folder is gone.
        """
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            refusal = self._refusal(error)
            if refusal is None:
                raise
            raise UserError(refusal) from error

    def _refusal(self, error: Exception) -> str | None:
        run, steps = self.folder.parent, self.steps()
        then = f", then --resume {run} continues at step {steps[0]}" if steps else ""
        if not run.is_dir():
            return (
                f"Expected the folder of the run, {run}. Received: no such folder any more: it was "
                "moved or removed. Move it back and resume the run, or start a new one."
            )
        if is_disk_full(error):
            return (
                f"Expected free space for {run}. Received: a full disk, or a reached quota or "
                f"limit. Free some space{then}."
            )
        if not isinstance(error, OSError) or error.errno not in UNWRITABLE:
            return None
        if run not in Path(error.filename or "").parents:
            return None
        return (
            f"Expected to write to {run}. Received: {error.filename}: {error.strerror}. Make it "
            f"writable{then}."
        )

    def save(self, clock: Clock) -> None:
        """Write the state of the model and of `clock`; remove all but the newest states.

        Raises:
            OSError: it cannot be written. The states before it are kept.
        """
        if not self._writes:
            return
        run = self.folder.parent
        if not run.is_dir():  # it would be made again, without what makes it a run
            raise FileNotFoundError(errno.ENOENT, "no such folder any more", str(run))
        # What the clock tells of must not be lost where the state is not.
        for name in (LOG_FILE, *MODEL_FILES):
            if (run / name).exists():
                sync(run / name)
        path = self.folder / f"{PREFIX}{clock.step}{state_file.SUFFIX}"
        write_state(path, self._values, **{CLOCK: clock.to_json()})
        for step in self.steps()[self._keep :]:
            self._remove(step)

    def restore(self, clock: Clock) -> None:
        """Read the newest whole state into the model and `clock`; remove newer, damaged ones.

        Raises:
            UserError: none is whole, or it is the state of another model or version.
        """
        clock.read_json(self._read_newest())

    def restore_weights(self) -> None:
        """Read the newest whole state into the model and its optimizer, as `restore`."""
        self._read_newest()

    def _read_newest(self) -> str:
        """Read the newest whole state into the model; return its clock."""
        damaged: dict[int, str] = {}
        for step, path in saved_states(self.folder.parent).items():
            try:
                state = EarlierState(path) if _is_earlier(path) else StateFile(path)
                self._check_model(path, state.shapes)
                clock = state.text(CLOCK)
                state.assign(self._values)
            except UserError:
                raise
            except Exception as error:  # whatever NumPy or TensorFlow raise for damaged bytes
                damaged[step] = _reason(error)
                continue
            for newer, reason in damaged.items():
                print(f"the state of step {newer} is damaged ({reason}): that of {step} is used")
                self._remove(newer)
            return clock
        found = "; ".join(f"{PREFIX}{step}: {reason}" for step, reason in damaged.items())
        raise UserError(
            f"Expected a whole state in {self.folder}. Received: {found or 'none'}. Start a new "
            f"run with --weights {self.folder.parent}, if that holds a model."
        )

    def steps(self) -> list[int]:
        """Return the steps of the states that are there, newest first."""
        return saved_steps(self.folder.parent)

    def _check_model(self, path: Path, stored: dict[str, tuple[int, ...]]) -> None:
        expected = {name: tuple(variable.shape) for name, variable in self._values.items()}
        if {name: shape for name, shape in stored.items() if name != CLOCK} != expected:
            raise UserError(
                f"Expected a state of this model that this version wrote. Received: {path}, with "
                "other values. Resume with the version that began the run, or start a new one "
                "with --weights."
            )

    def _remove(self, step: int) -> None:
        if not self._writes:
            return
        for path in self.folder.glob(f"{PREFIX}{step}.*"):
            path.unlink(missing_ok=True)


def saved_states(folder: Path) -> dict[int, Path]:
    """Return the steps of the states of the run in `folder`, newest first, with their files.

    The step is that of the name: clocks of machines differ, and are set back.
    """
    found = {}
    for suffix in (earlier_states.SUFFIX, state_file.SUFFIX):  # the latter counts
        for path in (folder / STATE_FOLDER).glob(f"{PREFIX}*{suffix}"):
            if step := re.fullmatch(rf"{PREFIX}(\d+)", path.stem):
                found[int(step[1])] = path
    return dict(sorted(found.items(), reverse=True))


def saved_steps(folder: Path) -> list[int]:
    """Return the steps of the states of the run in `folder`, newest first."""
    return list(saved_states(folder))


def _is_earlier(path: Path) -> bool:
    return path.suffix == earlier_states.SUFFIX


def _reason(error: Exception) -> str:
    """Return the first line of `error`, cut."""
    lines = str(getattr(error, "message", error)).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:120]
