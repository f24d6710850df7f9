"""The callbacks of a run, in the order in which Keras calls them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import keras

from keras_retinanet.config import Config
from keras_retinanet.data.records import Dataset
from keras_retinanet.training import callbacks as cb
from keras_retinanet.training.agreement import Agreement
from keras_retinanet.training.interruption import Interruption
from keras_retinanet.training.loss_guard import LossGuard
from keras_retinanet.training.own_callbacks import OwnCallbacks
from keras_retinanet.training.run_state import Clock, RunState
from keras_retinanet.training.team import Team
from keras_retinanet.training.validation import Validation
from keras_retinanet.training.watchdog import Watchdog


class Callbacks(NamedTuple):
    """The callbacks, in their order."""

    agreement: Agreement
    guard: LossGuard
    pace: cb.Pace
    log: cb.Log
    evaluation: cb.Evaluation
    own: OwnCallbacks
    checkpoint: cb.Checkpoint


def build_callbacks(
    config: Config,
    place: Path,
    *,
    team: Team,
    clock: Clock,
    state: RunState,
    interruption: Interruption,
    watchdog: Watchdog,
    evaluate_every: int,
    validation: Dataset | None,
    own: Sequence[keras.callbacks.Callback],
    draw: Callable[[int], Path],
) -> Callbacks:
    """Return the callbacks of a run that writes to the folder `place`.

    Args:
        evaluate_every: steps between evaluations.
        validation: the validation split; None: the lowest loss is best.
        own: the user's.
        draw: writes an image of the batch of a step; returns its path.
    """
    agreement = Agreement(team, clock, interruption, watchdog)
    save_every = config.train.checkpoint_every or evaluate_every
    paces = {"evaluate_every": evaluate_every, "save_every": save_every}
    log = cb.Log(clock, place, **paces, is_shown=team.is_chief)
    evaluation = cb.Evaluation(
        clock,
        place,
        every=evaluate_every,
        validation=_validation(config, validation, agreement),
        draw_threshold=config.predict.draw_threshold,
        log=log,
        interruption=interruption,
    )
    wrapped = OwnCallbacks(own, clock=clock, every=evaluate_every, logs=log.latest)
    checkpoint = cb.Checkpoint(clock, state, every=save_every, interruption=interruption)
    guard = LossGuard(clock, state, action=config.train.on_nan, draw=draw)
    return Callbacks(agreement, guard, cb.Pace(clock), log, evaluation, wrapped, checkpoint)


def _validation(config: Config, data: Dataset | None, agreement: Agreement) -> Validation | None:
    if data is None:
        return None
    return Validation(
        data,
        batch_size=config.evaluate.batch_size,
        team=agreement.team,
        check=agreement.check,
    )
