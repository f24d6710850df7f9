"""Keep the processes of a training together: what one of them knows, all learn after each step."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_retinanet.config import Config
from keras_retinanet.config.files import config_to_dict
from keras_retinanet.data.fingerprint import fingerprint
from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import UserError
from keras_retinanet.files.owners import folder_lock
from keras_retinanet.training.interruption import Interruption
from keras_retinanet.training.run_folder import (
    LOG_FILE,
    require_begun,
    require_new,
    resume_config,
)
from keras_retinanet.training.run_state import Clock
from keras_retinanet.training.team import Team
from keras_retinanet.training.watchdog import Watchdog

GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
# Of a digest: as many as a float64 adds exactly.
DIGEST_BITS = 52


class Agreement(keras.callbacks.Callback):
    """Share the chief's time and the signals that any process received.

    The first of the callbacks: the learning rate of a run that is limited in minutes, its end, and
    the step at which an interrupted run saves its state are then the same everywhere. It has each
    step, and each exchange, watched.
    """

    def __init__(self, team: Team, clock: Clock, interruption: Interruption, watchdog: Watchdog):
        super().__init__()
        self.team, self.clock, self.interruption = team, clock, interruption
        self.watchdog = watchdog

    def on_train_begin(self, logs: Any = None) -> None:
        self.share()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.watchdog.begin()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.watchdog.end()
        self.share()

    def check(self) -> None:
        """Exchange both; raise in all processes what a signal to one of them means."""
        self.share()
        self.interruption.check()

    def share(self) -> None:
        """Exchange both; a signal to one process waits in all of them afterwards."""
        if self.team.count == 1:
            return
        seconds = self.clock.own_seconds if self.team.is_chief else 0.0
        with self.watchdog.watching():
            signals, seconds = self.team.sums([self.interruption.is_pending, seconds])
        self.clock.told_seconds = float(seconds)
        if signals:
            self.interruption.pass_on()


@contextlib.contextmanager
def all_there(team: Team, out: Path) -> Iterator[None]:
    """Say in one line that another process is gone, wherever this one notices it.

    Raises:
        UserError: for TensorFlow's errors of a message that nobody answers.
    """
    try:
        yield
    except GONE as error:
        if team.count == 1:
            raise
        reason = str(error.message).strip().splitlines()[0][:120]
        raise UserError(
            f"Expected {team.count} processes that train together. Received: no answer of one of "
            f"them ({reason}). Look at its output, then start all again with --resume {out}."
        ) from error


@contextlib.contextmanager
def run_place(team: Team, config: Config, out: Path, *, resume: bool) -> Iterator[Path]:
    """Yield the folder in which this process writes, once the chief has accepted the run.

    The chief locks `out` and writes there; what the others write is removed at the end.

    Raises:
        UserError: the run was refused.
    """
    if not team.is_chief:
        if team.any(False):
            raise UserError(
                "Expected the first process to accept the run. Received: a refusal; it says why."
            )
        print(f"process {team.index + 1} of {team.count}: the first one prints and writes")
        with (
            tempfile.TemporaryDirectory(prefix="keras_retinanet-") as folder,
            open(os.devnull, "w", encoding="utf-8") as nowhere,
            contextlib.redirect_stdout(nowhere),
        ):
            yield Path(folder)
        return
    is_refused = True
    try:
        if resume:
            require_begun(out)
        with folder_lock(out, purpose="train"):
            if resume:
                resume_config(config, out)
            else:
                require_new(out)
            is_refused = team.any(False)
            yield out
    finally:
        if is_refused:
            team.any(True)


def copy_progress(folder: Path, place: Path) -> None:
    """Copy from the folder of a run what a resumed one goes by, for a process that is no chief."""
    for name in (LOG_FILE, "best.keras"):
        if (folder / name).exists():
            shutil.copy(folder / name, place / name)


def own_batches(team: Team, batches: Callable[..., tf.data.Dataset], *, size: int) -> Any:
    """Return what `fit` takes: whole batches, or this process's part of them for each replica.

    Args:
        batches: returns the batches of a `shard`, (number of the process, how many).
        size: of a batch, over all processes.
    """
    if team.count == 1:
        return batches()

    def part(context: tf.distribute.InputContext) -> tf.data.Dataset:
        found = batches((context.input_pipeline_id, context.num_input_pipelines))
        return found.rebatch(context.get_per_replica_batch_size(size))

    return team.strategy.distribute_datasets_from_function(part)


def require_alone(team: Team) -> None:
    """Refuse a rehearsal by several processes.

    Raises:
        UserError: there are several.
    """
    if team.count > 1:
        raise UserError(
            f"Expected --dry_run in one process. Received: {team.count} of them. Unset TF_CONFIG."
        )


def require_same(team: Team, config: Config, data: Dataset) -> None:
    """Refuse a run whose processes have different options or images.

    Raises:
        UserError: those of any process are not the chief's.
    """
    facts = repr((config_to_dict(config), fingerprint(data)))
    digest = int(hashlib.sha256(facts.encode("utf-8", "surrogateescape")).hexdigest(), 16)
    own = float(digest % (1 << DIGEST_BITS))
    (chiefs,) = team.sums([own if team.is_chief else 0.0])
    if team.any(own != chiefs):
        raise UserError(
            "Expected the same options and images in all processes. Received: others in some. Give "
            "each the same command, folder of images and version of this package."
        )
