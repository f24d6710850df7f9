"""Where a run stands, and the part of it that lies in files so that a killed run goes on."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from keras_retinanet.config import TrainConfig
from keras_retinanet.errors import UserError
from keras_retinanet.schedules import total_steps

STATE_FOLDER = "state"


@dataclass
class Clock:
    """Where a run stands; shared by the callbacks and stored in its checkpoints.

    Attributes:
        train: how long the run may be.
        step: steps taken.
        best: the best score so far.
        waited: evaluations since the one that gave it.
        earlier_seconds: spent before the last resume.
        started: when this process began, in `time.monotonic` seconds.
    """

    train: TrainConfig
    step: int = 0
    best: float = float("-inf")
    waited: int = 0
    earlier_seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return self.earlier_seconds + time.monotonic() - self.started

    @property
    def progress(self) -> float:
        """The share of the run that is done, 0..1, in steps or in time, whichever is more."""
        by_steps = self.step / total_steps(self.train)
        limit = self.train.minutes * 60
        return min(1.0, max(by_steps, self.seconds / limit if limit else 0.0))

    @property
    def out_of_patience(self) -> bool:
        """Whether the run ends early: `train.patience` evaluations without a better score."""
        return 0 < self.train.patience <= self.waited

    @property
    def done(self) -> bool:
        return self.progress >= 1.0 or self.out_of_patience


def require_state(folder: Path) -> None:
    """Raise a UserError unless the run in `folder` can be resumed."""
    if tf.train.latest_checkpoint(str(folder / STATE_FOLDER)) is None:
        raise UserError(
            f"Expected the state of a run in {folder / STATE_FOLDER}. Received: none. Name the "
            "folder of a run that has begun, or start a new one without --resume."
        )


class RunState:
    """The resumable state of a run, in `<folder>/state`.

    Weights, optimizer slots, moving averages and the clock; the data's order and randomness are
    functions of the seed and the step.
    """

    def __init__(self, model, folder: Path):
        self._clock = {
            "step": tf.Variable(0, dtype=tf.int64),
            "seconds": tf.Variable(0.0, dtype=tf.float64),
            "best": tf.Variable(float("-inf"), dtype=tf.float64),
            "waited": tf.Variable(0, dtype=tf.int64),
        }
        checkpoint = tf.train.Checkpoint(
            weights=[v.value for v in model.weights],
            optimizer=[v.value for v in model.optimizer.variables],
            normalizer=model.loss_normalizer.value,
            **self._clock,
        )
        self._manager = tf.train.CheckpointManager(
            checkpoint, str(folder / STATE_FOLDER), max_to_keep=2
        )

    def save(self, clock: Clock) -> None:
        """Write the state of the model and of `clock`."""
        values = (clock.step, clock.seconds, clock.best, clock.waited)
        for variable, value in zip(self._clock.values(), values, strict=True):
            variable.assign(value)
        self._manager.save(clock.step)

    def restore(self, clock: Clock) -> None:
        """Read the newest checkpoint into the model and `clock`.

        Raises:
            UserError: it is of another version of this package.
        """
        path = self._manager.latest_checkpoint
        try:
            self._manager.checkpoint.restore(path).assert_consumed()
        except AssertionError as error:
            raise UserError(
                f"Expected a state that this version wrote. Received: {path}, which lacks some of "
                "it. Go on with the version that began the run, or start anew with --weights."
            ) from error
        clock.step = int(self._clock["step"])
        clock.earlier_seconds = float(self._clock["seconds"])
        clock.best = float(self._clock["best"])
        clock.waited = int(self._clock["waited"])
