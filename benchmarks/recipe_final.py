"""Train the recipe `bccd` in full with several seeds, and read the test split once for each.

    python benchmarks/recipe_final.py --data_dir bccd --out runs/final --docs docs

Bounded by steps, the same for all. Each row trains on `train` or on `train` and `val` together, and
is evaluated with and without test-time augmentation.
"""

import json
import subprocess
import sys

import numpy as np
from recipe_study import NO_TURNS, TURNS
from studies import FIGURES, Figures, Runs, make, run_name, study_parser

STEPS = 1250
LENGTH = (f"train.steps={STEPS // 2}",)
EVERY = "train.eval_every=125"
ROWS = {
    "train": (*LENGTH, EVERY, *NO_TURNS),
    "train, turned": (*LENGTH, EVERY, *TURNS),
    "train + val, turned": (*LENGTH, *TURNS, "data.split=trainval", "data.val_split=none"),
}
PASSES: dict[str, list[str]] = {"one pass": [], "test-time augmentation": ["--tta"]}


def test_figures(runs: Runs, run: str, passes: str, data_dir: str) -> Figures:
    """Return the metrics of a complete run on the test split, evaluated at most once."""
    name = f"{run}-test-{passes.replace(' ', '-')}"
    path = runs.out / f"{name}.json"

    def read() -> Figures:
        if not path.exists():
            # Without a validation split, the last weights are those of the whole schedule.
            model = runs.out / run / ("best.keras" if "val" not in run else "last.keras")
            words = ["evaluate", "voc", "--data_dir", data_dir, "--split", "test"]
            words += ["--model", str(model), "--json", str(path), *PASSES[passes]]
            subprocess.run([sys.executable, "-m", "keras_retinanet", *words], check=True)
        found = json.loads(path.read_text())["coco"]
        return {figure: found[figure] for figure in FIGURES}

    return runs.known(name, read)


def table(runs: Runs, seeds: list[int], data_dir: str) -> str:
    """Return mean and standard deviation over the seeds that are complete, in Markdown."""
    lines = ["| trained on | test | seeds | AP | AP50 | AP75 |", "|---" * 6 + "|"]
    for row in ROWS:
        names = [run_name(row, seed) for seed in seeds]
        complete = [name for name in names if runs.figures(name) is not None]
        for passes in PASSES if complete else ():
            found = [test_figures(runs, name, passes, data_dir) for name in complete]
            cells = []
            for figure in FIGURES:
                values = [figures[figure] for figures in found]
                spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.3f}{spread}")
            lines.append(f"| {row} | {passes} | {len(found)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    args = study_parser(__doc__, ROWS, out="runs/final", seeds=[0, 1, 2]).parse_args()
    make(
        args,
        ROWS.__getitem__,
        study="recipe_final",
        page="recipe_study.md",
        section="table of the full runs",
        table=lambda runs: table(runs, args.seeds, args.data_dir),
    )
