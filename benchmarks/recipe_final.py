"""Train the recipe `bccd` in full with several seeds, and read the test split once for each.

    python benchmarks/recipe_final.py --data_dir bccd --out runs/final --docs docs

Bounded by steps, the same for all. Each row trains on `train` or on `train` and `val` together, and
is evaluated with and without test-time augmentation. Runs are resumed and kept as in
`recipe_study.py`.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from recipe_study import FIGURES, NO_TURNS, TURNS, folder_of, make

STEPS = 1250
LENGTH = (f"train.steps={STEPS // 2}",)
EVERY = "train.eval_every=125"
ROWS = {
    "train": (*LENGTH, EVERY, *NO_TURNS),
    "train, turned": (*LENGTH, EVERY, *TURNS),
    "train + val, turned": (*LENGTH, *TURNS, "data.split=trainval", "data.val_split=none"),
}
PASSES: dict[str, list[str]] = {"one pass": [], "test-time augmentation": ["--tta"]}


def test_figures(folder: Path, name: str, data_dir: str) -> dict[str, float]:
    """Return the metrics of a run on the test split, evaluated at most once."""
    path = folder.with_name(f"{folder.name}-test-{name.replace(' ', '-')}.json")
    if not path.exists():
        # Without a validation split, the last weights are those of the whole schedule.
        model = folder / ("best.keras" if "val" not in folder.name else "last.keras")
        words = ["evaluate", "voc", "--data_dir", data_dir, "--split", "test"]
        words += ["--model", str(model), "--json", str(path), *PASSES[name]]
        subprocess.run([sys.executable, "-m", "keras_retinanet", *words], check=True)
    return json.loads(path.read_text())["coco"]


def table(out: Path, seeds: list[int], data_dir: str) -> str:
    """Return mean and standard deviation over the seeds that are complete, in Markdown."""
    lines = ["| trained on | test | seeds | AP | AP50 | AP75 |", "|---" * 6 + "|"]
    for row in ROWS:
        folders = [folder_of(out, row, seed) for seed in seeds]
        folders = [folder for folder in folders if (folder / "last.keras").exists()]
        for name in PASSES if folders else ():
            found = [test_figures(folder, name, data_dir) for folder in folders]
            cells = []
            for figure in FIGURES:
                values = [figures[figure] for figures in found]
                spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.3f}{spread}")
            lines.append(f"| {row} | {name} | {len(found)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    make(
        __doc__,
        ROWS,
        out="runs/final",
        seeds=[0, 1, 2],
        section="table of the full runs",
        table=lambda args: table(args.out, args.seeds, args.data_dir),
    )
