"""Search for better training options of a data set, by short runs; write the best recipe.

Examples:
    keras_retinanet tune --data_dir bccd --minutes 240 --out tuned
    keras_retinanet train --data_dir bccd --config tuned/recipe.yaml

The same command resumes a search; a larger --minutes makes it longer. Needs optuna.
"""

import statistics
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_retinanet.commands.common import (
    DATA_KEYS,
    add_data_arguments,
    add_recipe_arguments,
    given_keys,
    recipe_config,
)
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.tensorflow_import import import_tensorflow
from keras_retinanet.config import Config
from keras_retinanet.errors import UserError

if TYPE_CHECKING:
    from keras_retinanet.training.tuning import Row

# Of the minutes, if --trial_minutes is not given: ten trials, and the best three twice again.
TRIALS = 16
FEWEST_RUNS = 7
# Seven times a tenth is more than seven tenths.
ROUNDING = 1e-9


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `tune` to its parser."""
    add_recipe_arguments(parser)
    add_data_arguments(parser)
    add = parser.add_argument
    add("--minutes", type=float, required=True, metavar="M", help="minutes to train in all")
    add(
        "--trial_minutes",
        type=float,
        metavar="M",
        help=f"minutes of a run (default: --minutes / {TRIALS})",
    )
    add("--out", required=True, metavar="DIR", help="folder of the search, new or to resume")


def run(args: Namespace) -> int:
    """Search, print the table, and write the best recipe."""
    each = args.trial_minutes or args.minutes / TRIALS
    if not 0 < FEWEST_RUNS * each <= args.minutes * (1 + ROUNDING):
        raise UserError(
            f"Expected --minutes for {FEWEST_RUNS} runs: one trial, and 6 that repeat the best. "
            f"Received: --minutes {args.minutes:g} with {each:g} for a run."
        )
    config = recipe_config(args, {}, base=None if args.config else Config())
    import_tensorflow()
    from keras_retinanet.data.loading import load_train_val
    from keras_retinanet.training.auto import plan
    from keras_retinanet.training.run import train
    from keras_retinanet.training.tuning import RECIPE_FILE, tune

    if args.config:
        data = load_train_val(config.data, config.train.seed)
    else:
        decided = plan(config, given_keys(args, DATA_KEYS))
        config, data = decided.config, decided.data
        print("\n".join(decided.lines))
    out = Path(args.out)
    rows = tune(config, out, data, minutes=args.minutes, trial_minutes=each, train=train)
    for line in table(rows):
        print(line)
    print(f"{out / RECIPE_FILE}: train with --config {out / RECIPE_FILE}")
    add_result(
        args, recipe=out / RECIPE_FILE, trials=[vars(row) | {"mean": row.mean} for row in rows]
    )
    return 0


def table(rows: "list[Row]") -> list[str]:
    """Return the trials as text, with what the repeats say of the noise."""
    lines = ["trial  state     AP mean  AP of each run        values"]
    for row in rows:
        scores = " ".join(f"{score:.3f}" for score in row.scores) or "-"
        mean = f"{row.mean:.3f}" if row.scores else "-"
        values = ", ".join(
            f"{key.rpartition('.')[2]} {value:g}" for key, value in row.values.items()
        )
        lines.append(f"{row.number:>5}  {row.state:<8}  {mean:>7}  {scores:<20}  {values}")
    if rows and rows[0].mean <= 0:
        lines.append("No run has found anything: give more minutes, or fewer runs of more minutes.")
        return lines
    repeated = [row for row in rows if len(row.scores) > 1]
    if len(repeated) > 1:
        noise = statistics.mean(statistics.stdev(row.scores) for row in repeated)
        lead = repeated[0].mean - repeated[1].mean
        said = "more than the noise" if lead > noise else "within the noise: take either"
        lines.append(
            f"Runs of one trial differ by a standard deviation of {noise:.3f}. The first trial "
            f"leads by {lead:.3f}, {said}."
        )
    return lines
