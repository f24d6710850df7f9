"""Search for better values of what a plan decided, by short runs on the same validation images.

Optuna proposes factors of the plan's values and ends hopeless runs early. A single run's AP is
noisy, so that the best of many is partly luck: the best three are repeated with other seeds, and
the mean decides.
"""

import dataclasses
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from keras_retinanet.config import Config
from keras_retinanet.config.files import config_to_dict, save_config, with_overrides
from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import UserError

if TYPE_CHECKING:
    from optuna import Study, Trial

STUDY_FILE, RECIPE_FILE, TABLE_FILE = "study.log", "recipe.yaml", "trials.json"
# Key -> the bounds of its factor, on a logarithmic scale. The first trial is the plan itself.
FACTORS = {
    "train.optimizer.learning_rate": (0.25, 4.0),
    "train.optimizer.weight_decay": (0.1, 10.0),
    "train.optimizer.backbone_multiplier": (0.1, 1.0),
    "train.loss.box_weight": (0.5, 4.0),
}
BEST, REPEATS = 3, 2
# Of sums of minutes.
ROUNDING = 1e-9
# Trials before any is ended early, and evaluations of a trial before it can be.
UNPRUNED_TRIALS, UNPRUNED_EVALUATIONS = 4, 1

Data = tuple[Dataset, Dataset | None]
Train = Callable[..., dict]


@dataclass(frozen=True)
class Row:
    """A trial.

    Attributes:
        state: "complete", "pruned" or "fail".
        values: dotted key -> value.
        scores: AP of its run, then of its repeats with other seeds.
    """

    number: int
    state: str
    values: dict[str, float]
    scores: list[float]

    @property
    def mean(self) -> float:
        """Mean AP; below all others without any."""
        return statistics.mean(self.scores) if self.scores else -1.0


def tune(
    config: Config, out: Path, data: Data, *, minutes: float, trial_minutes: float, train: Train
) -> list[Row]:
    """Search until `minutes` of training are used up, those of earlier calls in `out` included.

    Args:
        config: the plan; its values are where the search begins.
        out: folder of the trials, the study, the table and the best recipe.
        data: the splits to train and to validate on.
        train: `training.run.train`.

    Returns:
        The trials, repeated ones first, by mean AP.

    Raises:
        UserError: `out` has a search on something else, or the plan itself cannot be trained.
    """
    if data[1] is None or not data[1].records:
        raise UserError("Expected validation images to tune on. Received: none. Give --val_split.")
    search = _Search(config, out, data, trial_minutes, train)
    while (minutes - search.spent) * (1 + ROUNDING) >= trial_minutes * (1 + BEST * REPEATS):
        search.try_one()
    for row in [row for row in search.rows() if row.scores][:BEST]:
        for seed in range(len(row.scores), REPEATS + 1):
            search.repeat(row, seed)
    rows = search.rows()
    best = with_overrides(config, rows[0].values)
    save_config(best, out / RECIPE_FILE)
    table = [{**dataclasses.asdict(row), "mean": row.mean} for row in rows]
    (out / TABLE_FILE).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return rows


class _Search:
    """The study in a folder, and its runs."""

    def __init__(
        self, config: Config, out: Path, data: Data, trial_minutes: float, train: Train
    ) -> None:
        self._config, self._out, self._data = config, out, data
        self._minutes, self._train = trial_minutes, train
        out.mkdir(parents=True, exist_ok=True)
        self._study = open_study(out / STUDY_FILE, config)

    @property
    def spent(self) -> float:
        """Minutes of all runs."""
        return float(self._study.user_attrs.get("minutes", 0.0))

    def rows(self) -> list[Row]:
        """Return the finished trials, by how often they were run and by mean AP."""
        repeats = self._study.user_attrs.get("repeats", {})
        rows = []
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.is_finished():
                is_whole = trial.state.name == "COMPLETE"
                scores = [trial.value, *repeats.get(str(trial.number), [])] if is_whole else []
                values = scaled(self._config, trial.params)
                rows.append(Row(trial.number, trial.state.name.lower(), values, scores))
        return sorted(rows, key=lambda row: (-min(len(row.scores), 2), -row.mean, row.number))

    def try_one(self) -> None:
        """Run the next trial."""
        from optuna.trial import TrialState

        trial = self._study.ask()
        factors = {key: trial.suggest_float(key, *FACTORS[key], log=True) for key in FACTORS}
        reporter = Reporter(trial)
        try:
            score = self._run(f"{trial.number:03d}", factors, self._config.train.seed, reporter)
        except UserError as error:
            self._study.tell(trial, state=TrialState.FAIL)
            if trial.number == 0:
                raise
            print(f"trial {trial.number} failed: {error}")
            return
        if reporter.is_pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, score)
        ended = ", ended early" if reporter.is_pruned else ""
        print(f"trial {trial.number}: AP {score:.3f}{ended}; {self.spent:.1f} minutes used")

    def repeat(self, row: Row, seed: int) -> None:
        """Run a trial's values with another seed; keep its AP."""
        trial = self._study.get_trials(deepcopy=False)[row.number]
        name = f"{row.number:03d}-seed{seed}"
        score = self._run(name, trial.params, self._config.train.seed + seed)
        repeats = dict(self._study.user_attrs.get("repeats", {}))
        key = str(row.number)
        self._study.set_user_attr("repeats", {**repeats, key: [*repeats.get(key, []), score]})
        print(f"trial {row.number} again, seed {seed}: AP {score:.3f}")

    def _run(
        self, name: str, factors: dict, seed: int, *callbacks: keras.callbacks.Callback
    ) -> float:
        folder = self._out / "trials" / name
        if folder.exists():  # of a search that was killed in it
            shutil.rmtree(folder)
        values = {**scaled(self._config, factors), "train.seed": seed}
        config = with_overrides(self._config, {**values, "train.minutes": self._minutes})
        begin = time.monotonic()
        try:
            return float(
                self._train(config, folder, callbacks=callbacks, data=self._data)["best_score"]
            )
        finally:
            minutes = (time.monotonic() - begin) / 60
            self._study.set_user_attr("minutes", self.spent + minutes)
            keras.backend.clear_session()


class Reporter(keras.callbacks.Callback):
    """Tell Optuna the AP of each evaluation; end the run if it says so."""

    def __init__(self, trial: "Trial"):
        super().__init__()
        self._trial, self.is_pruned = trial, False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Report the AP of an evaluation."""
        if not logs or "val_AP" not in logs:
            return
        self._trial.report(float(logs["val_AP"]), epoch)
        if self._trial.should_prune():
            self.is_pruned = self.model.stop_training = True


def scaled(config: Config, factors: dict[str, float]) -> dict[str, float]:
    """Return the values that factors mean, to four digits."""
    values = {}
    for key, factor in factors.items():
        section: Any = config
        for part in key.split("."):
            section = getattr(section, part)
        values[key] = float(f"{section * factor:.4g}")
    return values


def open_study(file: Path, config: Config) -> "Study":
    """Return the study in a file, made if it is not there; its first trial is the plan.

    Raises:
        UserError: Optuna is missing, or the study began with another configuration.
    """
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise UserError(
            f"Expected optuna, which proposes the trials. Received: {error}. "
            "Install it: pip install optuna."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="keras_retinanet",
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(file))),
        direction="maximize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=config.train.seed),
        pruner=optuna.pruners.MedianPruner(UNPRUNED_TRIALS, UNPRUNED_EVALUATIONS),
    )
    plan = json.dumps(config_to_dict(config))
    if study.user_attrs.get("plan", plan) != plan:
        raise UserError(
            f"Expected the configuration with which {file} began. Received: another one. Give the "
            "same flags, or another --out."
        )
    if "plan" not in study.user_attrs:
        study.set_user_attr("plan", plan)
        study.enqueue_trial(dict.fromkeys(FACTORS, 1.0))
    for trial in _killed(study):
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return study


def _killed(study: "Study") -> Iterator[int]:
    """Yield the numbers of trials that were running when a search was killed."""
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "RUNNING":
            yield trial.number
