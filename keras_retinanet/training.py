"""One training run: from a `Config` to a folder with the best model, its figures and its state."""

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import keras

from keras_retinanet import callbacks as cb
from keras_retinanet import rehearsal
from keras_retinanet.building import build_model, compile_model
from keras_retinanet.config import Config
from keras_retinanet.config_files import save_config
from keras_retinanet.data import load_train_val
from keras_retinanet.data.cache import cached
from keras_retinanet.data.fetching import strict_errors
from keras_retinanet.data.pipeline import training_batches
from keras_retinanet.data.records import Dataset
from keras_retinanet.distribution import strategy
from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_write
from keras_retinanet.run_state import Clock, RunState, require_state
from keras_retinanet.saving import save_model
from keras_retinanet.schedules import total_steps
from keras_retinanet.validation import Validation


def train(config: Config, out: str | Path, *, resume: bool = False, dry_run: bool = False) -> dict:
    """Train as `config` says; everything the run makes lies in the folder `out`.

    `best.keras` (highest AP on the validation part, lowest loss where there is none), `last.keras`,
    `config.yaml` as resolved, `data.json` (which pictures trained and which validated, and what was
    wrong with them), `metrics.csv`, `curves.png` (drawn anew at each evaluation), `tensorboard/`,
    and `state/` to resume from.

    Args:
        resume: go on from the newest state in `out`, as if the run had never stopped.
        dry_run: two steps; prints what the whole run would take.

    Returns:
        "best" and "last" (paths), "best_score" (AP, or the negative loss), "steps", "seconds".

    Raises:
        UserError: for bad data, files or options, or where memory cannot suffice.
        KeyboardInterrupt: after Ctrl-C, once the state is saved.
    """
    out = Path(out)
    if (out / "config.yaml").exists() and not (resume or dry_run):
        raise UserError(
            f"Expected a new folder for the run. Received: {out}, which holds one. "
            f"Go on with it by --resume {out}, or name another one by --out."
        )
    if resume:
        require_state(out)
    keras.utils.set_random_seed(config.train.seed)
    keras.config.set_dtype_policy(config.train.precision)
    try:
        return Run(config, out, resume=resume).fit(dry_run=dry_run)
    finally:
        keras.config.set_dtype_policy("float32")


class Callbacks(NamedTuple):
    """In the order in which Keras calls them."""

    pace: cb.Pace
    log: cb.Log
    evaluation: cb.Evaluation
    checkpoint: cb.Checkpoint


class Run:
    """What `train` sets up: data, model, state; `fit` uses them."""

    def __init__(self, config: Config, out: Path, *, resume: bool):
        self.out = out
        self.told: dict[str, int] = {}  # how many problems of each kind were printed
        self.data, self.validation = load_train_val(config.data, config.train.seed)
        if not _has_boxes(self.data):
            raise UserError(
                f"Expected pictures with boxes to train on. Received: {self.data.name}, "
                f"{len(self.data.records)} pictures without any "
                f"({'; '.join(self.data.problems.lines()) or 'nothing was dropped'}). Check the "
                "annotations and --classes."
            )
        if self.validation is not None and not _has_boxes(self.validation):
            print("The validation part has no boxes to score: the lowest loss is best.")
            self.validation = None
        self.strategy = strategy()
        replicas = self.strategy.num_replicas_in_sync
        if config.train.batch_size % replicas:
            raise UserError(
                f"Expected train.batch_size to divide by the {replicas} devices. "
                f"Received: {config.train.batch_size}."
            )
        with self.strategy.scope():
            self.model = build_model(config, self.data, resume=resume)
            compile_model(self.model, config.train)
        self.config = dataclasses.replace(config, model=self.model.config)
        self.clock = Clock(config.train)
        out.mkdir(parents=True, exist_ok=True)
        self.state = RunState(self.model, out)
        if resume:
            self._resume()

    def _resume(self):
        self.state.restore(self.clock)
        _require_same_pictures(self.data, self.out / "data.json")
        print(f"resuming at step {self.clock.step}")

    def batches(self):
        return training_batches(
            self.data,
            self.model.preprocessing,
            data_config=self.config.data,
            batch_size=self.config.train.batch_size,
            seed=self.config.train.seed,
            start_step=self.clock.step,
        )

    def fit(self, *, dry_run: bool) -> dict:
        self._announce()
        if dry_run:
            return rehearsal.dry_run(
                self.config,
                self.model,
                self.batches(),
                step=self.clock.step,
                picture=self.out / "batch.png",
            )
        if self.config.data.cache:
            augment = self.config.data.augment
            self.data = cached(self.data, self.model.preprocessing, augment, self.config.data.cache)
        batches = self.batches()
        save_config(self.config, self.out / "config.yaml")
        _write_data_report(self.data, self.validation, self.out / "data.json")
        callbacks = self._callbacks()
        callbacks.checkpoint.save()  # from here on a killed run can be resumed
        try:
            if not self.clock.done:
                remaining = total_steps(self.config.train) - self.clock.step
                with strict_errors(self.data.problems):
                    self.model.fit(
                        batches,
                        steps_per_epoch=remaining,
                        callbacks=list(callbacks),
                        verbose=0,
                        shuffle=False,
                    )
        except KeyboardInterrupt:
            # One more than counted, where the signal fell between a step and its callbacks.
            self.clock.step = max(self.clock.step, int(self.model.optimizer.iterations))
            callbacks.checkpoint.save()
            print(f"\nstopped at step {self.clock.step}; go on with --resume {self.out}")
            raise
        return self._finish(callbacks)

    def _callbacks(self) -> "Callbacks":
        train, clock = self.config.train, self.clock
        every = train.eval_every or max(1, len(self.data.records) // train.batch_size)
        save_every = train.checkpoint_every or every
        validation = None
        if self.validation is not None:
            validation = Validation(self.validation, batch_size=self.config.evaluate.batch_size)
        log = cb.Log(clock, self.out, evaluate_every=every, save_every=save_every)
        evaluation = cb.Evaluation(
            clock,
            self.out,
            every=every,
            validation=validation,
            draw_threshold=self.config.predict.draw_threshold,
            log=log,
        )
        checkpoint = cb.Checkpoint(clock, self.state, every=save_every)
        return Callbacks(cb.Pace(clock), log, evaluation, checkpoint)

    def _finish(self, callbacks: "Callbacks") -> dict:
        if not (self.out / "best.keras").exists():  # stopped in the middle of the only evaluation
            callbacks.evaluation.run()
        with cb.averaged_weights(self.model):
            self.model.metadata["step"] = str(self.clock.step)
            save_model(self.model, self.out / "last.keras")
        self._tell_problems()
        _write_data_report(self.data, self.validation, self.out / "data.json")
        best = self.clock.best
        if self.clock.out_of_patience and self.clock.progress < 1:
            print(f"stopped early: {self.clock.waited} evaluations without a better one")
        figure = f"best loss {-best:.3f}" if self.validation is None else f"best AP {best:.3f}"
        print(
            f"{self.clock.step} steps in {rehearsal.duration(self.clock.seconds)}; {figure}: "
            f"{self.out / 'best.keras'}\n"
            f"next: keras_retinanet evaluate --model {self.out}\n"
            f"      keras_retinanet predict PICTURES --model {self.out}"
        )
        return {
            "best": self.out / "best.keras",
            "last": self.out / "last.keras",
            "best_score": best,
            "steps": self.clock.step,
            "seconds": self.clock.seconds,
        }

    def _announce(self):
        """Print the data, and what memory and time the run is likely to take."""
        validating = len(self.validation.records) if self.validation is not None else 0
        print(
            f"{self.data.name}: {len(self.data.records)} pictures to train on, {validating} to "
            f"validate on, {len(self.data.class_names)} classes"
        )
        self._tell_problems()
        replicas = self.strategy.num_replicas_in_sync
        rehearsal.announce(
            self.config, self.model, self.data, step=self.clock.step, replicas=replicas
        )

    def _tell_problems(self):
        """Print the counts that have grown since they were told; the run folder lists all names."""
        problems = self.data.problems
        for kind, line in zip(problems, problems.lines(), strict=True):
            if len(problems[kind]) > self.told.get(kind, 0):
                print(f"  {line}")
        self.told = {kind: len(what) for kind, what in problems.items()}


def _has_boxes(data: Dataset) -> bool:
    return any((~record.ignore).any() for record in data.records)


def _require_same_pictures(data: Dataset, report: Path) -> None:
    """Refuse to resume on other pictures: the order of the rest of the run would be another."""
    stored = json.loads(report.read_text(encoding="utf-8"))["train"]["pictures"]
    if stored != [record.file_name for record in data.records]:
        raise UserError(
            f"Expected the {len(stored)} training pictures that {report} lists. Received: "
            f"{len(data.records)}, not the same. Bring them back, or start anew with --weights."
        )


def _write_data_report(data: Dataset, validation: Dataset | None, path: Path) -> None:
    parts = {"train": data} | ({"validation": validation} if validation is not None else {})
    report = {
        name: {
            "pictures": [record.file_name for record in part.records],
            "problems": dict(part.problems),
        }
        for name, part in parts.items()
    }
    with atomic_write(path) as stream:
        json.dump(report, stream, indent=1)
