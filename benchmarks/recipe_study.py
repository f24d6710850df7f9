"""Measure what each choice of the recipe `bccd` gives, one at a time, at the same steps.

    python benchmarks/recipe_study.py --data_dir bccd --out runs/study --docs docs
    python benchmarks/recipe_study.py --data_dir bccd --out runs/study --rows lite1 ATSS --seeds 0

Each run is a `keras_retinanet train` of its own, scored on `val` after its last step; `test` is
never read. Runs are bounded by steps and made one after the other, first all rows of one seed. A
run that was cut is resumed, one that is complete is not repeated. The table is printed after each
run, and written to the page `recipe_study.md` of the folder --docs.
"""

import argparse
import csv
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from marked_section import replace_section

from keras_retinanet.training.run_folder import CONFIG_FILE

STEPS = 160
BATCH = 8
FIGURES = ("AP", "AP50", "AP75")
TURNS = ("data.augment.flip_vertical=0.5", "data.augment.rotate90=0.5")
NO_TURNS = ("data.augment.flip_vertical=0", "data.augment.rotate90=0")
# The recipe, shortened, without turns; `train.steps` counts batches of 16 images.
BASE = (
    *NO_TURNS,
    f"train.steps={STEPS * BATCH // 16}",
    f"train.eval_every={STEPS}",
)
# Name of a row -> what it changes.
ROWS = {
    "base": (),
    "lite1": ("model.backbone.name=efficientnet_lite1",),
    "lite2": ("model.backbone.name=efficientnet_lite2",),
    "input 384x512": ("model.preprocessing.short_side=384", "model.preprocessing.long_side=512"),
    "vertical flips, turns": TURNS,
    "ATSS": ("train.matching.name=atss",),
    "quality focal": ("train.loss.classes=quality_focal",),
    "varifocal": ("train.loss.classes=varifocal",),
    "CIoU": ("train.loss.box=ciou",),
    "L1": ("train.loss.box=l1", "train.loss.box_weight=1"),
    "no low-quality matches": ("train.matching.low_quality=false",),
    "batch norm trains": ("model.backbone.freeze_bn=false",),
    "freeze 2 stages": ("model.backbone.frozen_stages=2",),
    "no EMA": ("train.optimizer.ema=0",),
    "mosaic .5": ("data.augment.mosaic=0.5",),
    "batch 16": (
        "train.batch_size=16",
        f"train.eval_every={STEPS // 2}",
    ),
    "input 240x320": ("model.preprocessing.short_side=240", "model.preprocessing.long_side=320"),
    "vertical flips": ("data.augment.flip_vertical=0.5",),
    "input 480x640": ("model.preprocessing.short_side=480", "model.preprocessing.long_side=640"),
}


def folder_of(out: Path, row: str, seed: int) -> Path:
    """Return the run folder of a row and a seed."""
    name = "".join(c if c.isalnum() or c == "." else "-" for c in row)
    return out / f"{name}-seed{seed}"


def train(folder: Path, words: list[str]) -> None:
    """Train `words` into `folder`, or what is left of that run."""
    if (folder / "last.keras").exists():
        return
    if (folder / CONFIG_FILE).exists():
        words = ["--resume", str(folder)]
    else:
        words = [*words, "--out", str(folder)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".log"), "a") as log:
        command = [sys.executable, "-m", "keras_retinanet", "train", *words]
        subprocess.run(command, stdout=log, stderr=log, check=True)


def recipe(data_dir: str, seed: int, changes: Sequence[str]) -> list[str]:
    """Return the words that train `bccd` with some options changed."""
    words = ["voc", "--data_dir", data_dir, "--config", "bccd", "--seed", str(seed)]
    return words + [word for change in changes for word in ("--set", change)]


def figures(folder: Path) -> dict[str, float] | None:
    """Return AP, AP50 and AP75 after the last step; None for a run that is not complete."""
    if not (folder / "last.keras").exists():
        return None
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["AP"]]
    return {name: float(rows[-1][name]) for name in FIGURES}


def table(out: Path, seeds: list[int]) -> str:
    """Return AP of each seed, and the means of complete runs against the base, in Markdown."""
    found = {row: {seed: figures(folder_of(out, row, seed)) for seed in seeds} for row in ROWS}
    lines = [
        f"| change | {' | '.join(f'AP, seed {seed}' for seed in seeds)} | AP | against base | AP50 "
        "| AP75 |",
        "|---" * (len(seeds) + 5) + "|",
    ]
    for row, by_seed in found.items():
        runs = {seed: values for seed, values in by_seed.items() if values is not None}
        cells = [f"{values['AP']:.3f}" if (values := by_seed[seed]) else "" for seed in seeds]
        # Against the base of the same seeds: the seeds differ from each other too.
        gains = [v["AP"] - base["AP"] for seed, v in runs.items() if (base := found["base"][seed])]
        means = {name: np.mean([v[name] for v in runs.values()]) for name in FIGURES if runs}
        cells += [f"{means['AP']:.3f}" if runs else "", f"{np.mean(gains):+.3f}" if gains else ""]
        cells += [f"{means[name]:.3f}" if runs else "" for name in ("AP50", "AP75")]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def make(
    description: str,
    rows: Mapping[str, Sequence[str]],
    *,
    out: str,
    seeds: Sequence[int],
    section: str,
    table: Callable[[argparse.Namespace], str],
) -> None:
    """Make the runs that are missing, by the flags; after each print the table and write it.

    Args:
        rows: name of a row -> what it changes in the recipe.
        out, seeds: defaults of the flags.
        section: of the page recipe_study.md.
        table: from the flags to the text of all complete runs.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--docs", type=Path, help="folder of recipe_study.md")
    parser.add_argument("--rows", nargs="*", choices=list(rows), default=list(rows))
    parser.add_argument("--seeds", nargs="*", type=int, default=seeds, help="to run and to show")
    args = parser.parse_args()
    for seed in args.seeds:
        for row in args.rows:
            train(folder_of(args.out, row, seed), recipe(args.data_dir, seed, rows[row]))
            text = table(args)
            print(text, flush=True)
            if args.docs:
                replace_section(args.docs / "recipe_study.md", section, text)


if __name__ == "__main__":
    make(
        __doc__,
        {name: (*BASE, *changes) for name, changes in ROWS.items()},
        out="runs/study",
        seeds=[0, 1],
        section="table of the study",
        table=lambda args: table(args.out, args.seeds),
    )
