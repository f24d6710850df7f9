"""Train EfficientNet-Lite0 on blood cells with and without a teacher, in the same minutes.

    python benchmarks/distillation.py --data_dir bccd --out runs/distillation --docs docs
    python benchmarks/distillation.py --data_dir bccd --teacher runs/large --minutes 20 --seeds 0 1

Each run is a `keras_retinanet train` of the recipe `bccd`, whose schedule is fitted to its minutes:
a step with a teacher takes longer, so that such a run has fewer of them. All are scored on `val`
after the last step; `test` is never read. The teacher must not have been trained on `val`. Runs are
made one after the other, first all rows of one seed. A run that was cut is resumed, one that is
complete is not repeated. The table is printed after each run, and written to the page
`distillation.md` of the folder --docs.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from marked_section import replace_section
from recipe_study import FIGURES, figures, folder_of, recipe, train

SECTION = "table of students"
ALONE = "no teacher"
# Name of a row -> weights of the imitation of features and of outputs; None: no teacher.
ROWS = {
    ALONE: None,
    "features": (10, 0),
    "outputs": (0, 1),
    "features and outputs": (10, 1),
    "features of weight 1, and outputs": (1, 1),
}
# More than the minutes allow, so that they end the run.
STEPS = 1_000_000


def changes(row: str, *, teacher: str, minutes: float, every: int) -> list[str]:
    """Return what a row changes in the recipe."""
    found = [f"train.minutes={minutes:g}", f"train.steps={STEPS}", f"train.eval_every={every}"]
    weights = ROWS[row]
    if weights is None:
        return found
    names = "feature_weight", "output_weight"
    pairs = zip(names, weights, strict=True)
    options = [f"train.distillation.{name}={weight}" for name, weight in pairs]
    return [*found, f"train.teacher={teacher}", *options]


def steps(folder: Path) -> int:
    """Return the steps that a complete run took."""
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as stream:
        return int([*csv.DictReader(stream)][-1]["step"])


def table(out: Path, seeds: list[int]) -> str:
    """Return AP of each seed, and the means of complete runs against no teacher, in Markdown."""
    found = {row: {seed: figures(folder_of(out, row, seed)) for seed in seeds} for row in ROWS}
    titles = ["imitated", *(f"AP, seed {seed}" for seed in seeds), "AP", "against no teacher"]
    titles += ["AP50", "AP75", "steps"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row, by_seed in found.items():
        runs = {seed: values for seed, values in by_seed.items() if values is not None}
        if not runs:
            continue
        cells = [f"{values['AP']:.3f}" if (values := by_seed[seed]) else "" for seed in seeds]
        # Against the run of the same seed: the seeds differ from each other too.
        alone = found[ALONE]
        gains = [v["AP"] - other["AP"] for seed, v in runs.items() if (other := alone[seed])]
        means = {name: np.mean([v[name] for v in runs.values()]) for name in FIGURES}
        cells += [f"{means['AP']:.3f}", f"{np.mean(gains):+.3f}" if gains else ""]
        cells += [f"{means[name]:.3f}" for name in ("AP50", "AP75")]
        cells.append(f"{np.mean([steps(folder_of(out, row, seed)) for seed in runs]):,.0f}")
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Make the runs that are missing; after each print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--teacher", default="blood_cells", help="default: the built-in model")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--eval_every", type=int, default=125, help="steps between evaluations")
    parser.add_argument("--out", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--docs", type=Path, help="folder of distillation.md")
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    args = parser.parse_args()
    options = {"teacher": args.teacher, "minutes": args.minutes, "every": args.eval_every}
    for seed in args.seeds:
        for row in args.rows:
            words = recipe(args.data_dir, seed, changes(row, **options))
            train(folder_of(args.out, row, seed), words)
            text = table(args.out, args.seeds)
            print(text, flush=True)
            if args.docs:
                replace_section(args.docs / "distillation.md", SECTION, text)


if __name__ == "__main__":
    main()
