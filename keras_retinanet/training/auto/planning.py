"""From a folder to the configuration of a run: every decision with its reason."""

import contextlib
import dataclasses
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from keras_retinanet.config import Config
from keras_retinanet.config.files import dotted_keys, with_overrides
from keras_retinanet.data.loading import NO_SPLIT, load_train_val
from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import counted
from keras_retinanet.training.auto import data_rules, run_rules
from keras_retinanet.training.auto.decision import Decision, Rule, Situation
from keras_retinanet.training.auto.facts import Machine, look_at, this_machine
from keras_retinanet.training.building import require_boxes

# Title of a line -> its rule. Each sees what those before it decided.
RULES: dict[str, Rule] = {
    "length": run_rules.length,
    "learning": run_rules.learning,
    "start": run_rules.start,
    "tiles": data_rules.tiles,
    "input": data_rules.input_size,
    "batch": run_rules.batch,
    "canvas": data_rules.canvas,
    "anchors": data_rules.anchors,
    "evaluation": run_rules.evaluation,
    "augmentation": data_rules.augmentation,
    "boxes": data_rules.room,
    "balance": data_rules.balance,
    "precision": run_rules.precision,
}
# A tenth of fewer images, held out, would be a single one.
FEWEST_HELD_OUT = 10


class Plan(NamedTuple):
    """A run that was decided for a data set.

    Attributes:
        config: complete; the decisions are ordinary values in it.
        data: the splits to train and to validate on, as `load_train_val` returns them.
        lines: one for each decision, and one before them about data and machine.
    """

    config: Config
    data: tuple[Dataset, Dataset | None]
    lines: list[str]


def plan(config: Config, given: Iterable[str] = (), *, machine: Machine | None = None) -> Plan:
    """Decide from the data and the machine what `config` leaves open.

    The same data, seed and class of machine give the same plan.

    Args:
        config: with the place of the data.
        given: dotted keys or sections that the user set, such as "train.batch_size" or
            "data.augment"; their values stay.
        machine: None: this one.

    Raises:
        UserError: the data cannot be read, or has no boxes to learn.
    """
    machine = machine or this_machine()
    sections = tuple(f"{name}." for name in given)
    given = frozenset(key for key in dotted_keys() if f"{key}.".startswith(sections))
    held_out, data = _load(config, given)
    require_boxes(data[0])
    facts = look_at(*data)
    lines = [f"plan for {facts}; {machine}:"]

    def decide(title: str, decision: Decision | None) -> None:
        nonlocal config
        values = {k: v for k, v in decision.values.items() if k not in given} if decision else {}
        if decision and values:
            config = with_overrides(config, values)
            lines.append(_line(title, values, decision.reason))

    decide("validation", held_out)
    for title, rule in RULES.items():
        decide(title, rule(Situation(config, facts, machine, given)))
    return Plan(config, data, lines)


def _load(
    config: Config, given: frozenset[str]
) -> tuple[Decision | None, tuple[Dataset, Dataset | None]]:
    """Read the data, and decide whether to hold images out where the data set does not."""
    options, seed = config.data, config.train.seed
    if "data.max_boxes" not in given:
        # There will be room for all: none is to be counted as beyond it.
        options = dataclasses.replace(options, max_boxes="auto")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        train, val = load_train_val(options, seed)
        count = len(train.records) + (len(val.records) if val is not None else 0)
        if val is not None and count < FEWEST_HELD_OUT and "data.val_split" not in given:
            whole = load_train_val(dataclasses.replace(options, val_split=NO_SPLIT), seed)
            if len(whole[0].records) == count:  # the data set has no validation split of its own
                reason = f"{counted(count, 'image')} are too few to hold one out"
                return Decision({"data.val_split": NO_SPLIT}, reason), whole
    print(said.getvalue(), end="")
    return None, (train, val)


def _line(title: str, values: dict[str, Any], reason: str) -> str:
    """Return a decision as text, each value as --set takes it."""
    listed = " ".join(f"{key}={_text(value)}" for key, value in values.items())
    return f"  {title + ':':<13} {listed} ({reason})"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return f"[{','.join(map(_text, value))}]"
    return json.dumps(value) if isinstance(value, bool) else f"{value:g}"
