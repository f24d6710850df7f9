"""Run a training: from a `Config` to a folder with the best model, its metrics and its state."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras

from keras_retinanet.config import Config
from keras_retinanet.data.loading import load_train_val
from keras_retinanet.data.pipeline.balance import images_per_pass
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.cache import cached
from keras_retinanet.data.pipeline.fetching import strict_errors
from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import counted
from keras_retinanet.evaluation.crowds import most_objects
from keras_retinanet.modeling.draw_threshold import store_threshold
from keras_retinanet.modeling.saving import save_model
from keras_retinanet.training import callbacks as cb
from keras_retinanet.training import distribution
from keras_retinanet.training import dry_run as rehearsal
from keras_retinanet.training.agreement import (
    all_there,
    copy_progress,
    own_batches,
    require_alone,
    require_same,
    run_place,
)
from keras_retinanet.training.building import build_model, compile_model, follow_data, require_boxes
from keras_retinanet.training.cluster import StrategyName
from keras_retinanet.training.distillation import pinned_teacher
from keras_retinanet.training.earlier_states import NOT_STORED
from keras_retinanet.training.ending import ending_lines
from keras_retinanet.training.interruption import Interruption, Mode
from keras_retinanet.training.loss_guard import BAD_BATCH_FILE
from keras_retinanet.training.numbers import numbers
from keras_retinanet.training.precision import resolved_precision
from keras_retinanet.training.run_callbacks import Callbacks, build_callbacks
from keras_retinanet.training.run_folder import (
    DRY_RUN_FILE,
    begin_run,
    remove_damaged_models,
    remove_if_empty,
    require_same_pictures,
    write_data_report,
)
from keras_retinanet.training.run_record import record_start
from keras_retinanet.training.run_state import Clock, RunState, saved_steps
from keras_retinanet.training.schedules import total_steps
from keras_retinanet.training.team import Team
from keras_retinanet.training.watchdog import Watchdog


def train(
    config: Config,
    out: str | Path,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    resume: bool = False,
    dry_run: bool = False,
    data: tuple[Dataset, Dataset | None] | None = None,
    strategy: StrategyName = "auto",
) -> dict:
    """Train as `config` says on all devices, and write everything to the folder `out`.

    The folder holds `best.keras` (highest AP on the validation split, or lowest loss without one),
    `last.keras`, `config.yaml` as resolved, `data.json` (the images of training and validation and
    their problems), `run.json` (commands, versions, machines), `metrics.csv`, `curves.png`,
    `tensorboard/`, and `state/` to resume from. No other process can train in `out` meanwhile.

    Args:
        callbacks: Keras callbacks for `fit`, called as `OwnCallbacks` says: an epoch ends with
            each evaluation. A resumed run does not know those of the run before.
        resume: continue from the newest whole state in `out`, as if the run had never stopped.
        dry_run: take two steps and print what the whole run would take.
        data: what `load_train_val` returns for `config`, where it was read before; None: read it.
        strategy: which devices train; see `distribution.strategy`. With several machines, each
            calls this with the same arguments and sees the same `out`, where the first one writes.

    Returns:
        "best" and "last" (paths), "best_score" (AP, or the negative loss), "steps", "seconds".

    Raises:
        UserError: data, a file or an option is bad, memory does not suffice, or another process
            trains in `out`.
        KeyboardInterrupt: Ctrl-C was pressed; the state is saved. After SIGTERM and SIGHUP it is
            the subclass `signals.Terminated`.
    """
    out = Path(out)
    team = Team(distribution.strategy(strategy))
    try:
        config = pinned_teacher(config)
        with all_there(team, out), run_place(team, config, out, resume=resume) as place:
            config = resolved_precision(config, out, team, resume=resume)
            # A run that ended before its first state starts from the beginning.
            resume = resume and bool(saved_steps(out))
            with numbers(config.train):
                run = Run(config, out, place, team, callbacks=callbacks, resume=resume, data=data)
                return run.fit(dry_run=dry_run)
    finally:
        if team.is_chief:
            remove_if_empty(out)


class Run:
    """A run: sets up data, model and state, which `fit` uses.

    Args:
        folder: of the run, from which a resumed one reads.
        place: where this process writes: the same, or a folder that is not kept.
        team: the processes that train together.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        place: Path,
        team: Team,
        *,
        callbacks: Sequence[keras.callbacks.Callback],
        resume: bool,
        data: tuple[Dataset, Dataset | None] | None,
    ):
        self.folder, self.out, self.team = folder, place, team
        self.own_callbacks, self.resumes = callbacks, resume
        self.told: dict[str, int] = {}  # how many problems of each kind were printed
        self.tile = config.model.tiles.side
        data = data or load_train_val(config.data, config.train.seed, tile=self.tile)
        self.data, self.validation = data
        require_boxes(self.data)
        if self.validation is not None and not most_objects(self.validation):
            print("The validation part has no boxes to score: the lowest loss is best.")
            self.validation = None
        config = follow_data(config, [self.data, self.validation])
        self.strategy = team.strategy
        distribution.require_equal_parts(config.train, self.strategy.num_replicas_in_sync)
        with self.strategy.scope():
            self.model = build_model(config, self.data, resume=resume)
            compile_model(self.model, config.train)
        self.config = dataclasses.replace(config, model=self.model.config)
        per_pass = images_per_pass(self.data, config.data.balance, self.tile)
        every = max(1, per_pass // config.train.batch_size)
        self.evaluate_every = config.train.eval_every or every
        self.clock, self.interruption = Clock(config.train), Interruption()
        self.watchdog = Watchdog(config.train.hang_minutes)
        self.state = RunState(
            self.model, folder, keep=config.train.keep_states, writes=team.is_chief
        )
        require_same(team, self.config, self.data)
        if resume:
            self._resume()

    def _resume(self):
        self.state.restore(self.clock)
        if self.clock.evaluated == NOT_STORED:
            left = 0 if self.clock.done else self.clock.step % self.evaluate_every
            self.clock.evaluated = self.clock.step - left
        require_same_pictures(self.data, self.folder)
        remove_damaged_models(self.out)
        self.team.wait()
        if not self.team.is_chief:
            copy_progress(self.folder, self.out)
        print(f"resuming at step {self.clock.step}")

    def batches(self, shard: tuple[int, int] = (0, 1), *, start_step: int | None = None):
        """Return the training batches from a step on, by default from the next.

        Args:
            shard: the part that one of several processes has.
        """
        return training_batches(
            self.data,
            self.model.preprocessing,
            data_config=self.config.data,
            batch_size=self.config.train.batch_size,
            seed=self.config.train.seed,
            start_step=self.clock.step if start_step is None else start_step,
            shard=shard,
            progress=self.clock.progress_at,
            tile=self.tile,
        )

    def fit(self, *, dry_run: bool) -> dict:
        self._announce()
        if dry_run:
            require_alone(self.team)
            picture, step = self.out / DRY_RUN_FILE, self.clock.step
            with strict_errors(self.data.problems):
                return rehearsal.dry_run(
                    self.config, self.model, self.batches(), step=step, picture=picture
                )
        if cache := self.config.data.cache:
            augment, resize = self.config.data.augment, self.model.preprocessing
            self.data = cached(self.data, resize, augment, cache, tile=self.tile)
        if not self.resumes:
            begin_run(self.config, self.out)
        write_data_report(self.data, self.validation, self.out)
        parts = [self.data, self.validation]
        record_start(self.out, parts, step=self.clock.step, team=self.team)
        callbacks = self._callbacks()
        with self.interruption, self.watchdog, self.state.writing():
            try:
                self._steps(callbacks)
            except KeyboardInterrupt:
                with self.interruption.mode(Mode.HELD):
                    self._save_interrupted(callbacks)
                raise
            with self.interruption.mode(Mode.HELD):
                return self._finish(callbacks)

    def _steps(self, callbacks: Callbacks):
        """Make the evaluation that an interrupted run still owes, then take the remaining steps."""
        if not self.resumes:
            callbacks.checkpoint.save()  # from here on a killed run can be resumed
        elif self.clock.owes_evaluation(self.evaluate_every):
            callbacks.evaluation.run()
            callbacks.checkpoint.save()
        if self.clock.done:
            return
        with strict_errors(self.data.problems):
            self.model.fit(
                own_batches(self.team, self.batches, size=self.config.train.batch_size),
                steps_per_epoch=total_steps(self.config.train) - self.clock.step,
                callbacks=list(callbacks),
                verbose=0,
                shuffle=False,
            )

    def _save_interrupted(self, callbacks: Callbacks):
        # One more than counted if a second signal fell between a step and its callbacks.
        taken = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        self.clock.step = max(self.clock.step, taken)
        callbacks.checkpoint.save()
        print(f"\nstopped at step {self.clock.step}; resume with --resume {self.folder}")

    def _callbacks(self) -> Callbacks:
        callbacks = build_callbacks(
            self.config,
            self.out,
            team=self.team,
            clock=self.clock,
            state=self.state,
            interruption=self.interruption,
            watchdog=self.watchdog,
            evaluate_every=self.evaluate_every,
            validation=self.validation,
            own=self.own_callbacks,
            draw=lambda step: rehearsal.draw_batch(
                self.batches(start_step=step), self.model, self.out / BAD_BATCH_FILE
            ),
        )
        callbacks.evaluation.set_model(self.model)  # needed if it runs before the first step
        return callbacks

    def _finish(self, callbacks: Callbacks) -> dict:
        if not (self.out / "best.keras").exists():  # it was deleted
            callbacks.evaluation.run()
        with cb.averaged_weights(self.model):
            self.model.metadata["step"] = str(self.clock.step)
            store_threshold(self.model.metadata, self.clock.threshold)
            save_model(self.model, self.out / "last.keras")
        self.team.wait()  # for the chief's files, which others may read next
        self._tell_problems()
        write_data_report(self.data, self.validation, self.out)
        validated = 0 if self.validation is None else len(self.validation.records)
        for line in ending_lines(self.out, self.clock, self.config, validated=validated):
            print(line)
        return {
            "best": self.folder / "best.keras",
            "last": self.folder / "last.keras",
            "best_score": self.clock.best,
            "steps": self.clock.step,
            "seconds": self.clock.seconds,
        }

    def _announce(self):
        """Print the data, and the estimated memory and time of the run."""
        validating = len(self.validation.records) if self.validation is not None else 0
        print(
            f"{self.data.name}: {counted(len(self.data.records), 'image')} to train on, "
            f"{validating} to validate on, {counted(len(self.data.class_names), 'class')}"
        )
        self._tell_problems()
        step, replicas = self.clock.step, self.strategy.num_replicas_in_sync
        rehearsal.announce(self.config, self.model, self.data, step=step, replicas=replicas)

    def _tell_problems(self):
        """Print the counts that grew since they were printed; the run folder lists all names."""
        problems = self.data.problems
        for kind, line in zip(problems, problems.lines(), strict=True):
            if len(problems[kind]) > self.told.get(kind, 0):
                print(f"  {line}")
        self.told = {kind: len(what) for kind, what in problems.items()}
