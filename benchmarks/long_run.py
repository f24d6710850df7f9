"""Watch a long training: do memory, files, threads and the time of a step stay flat?

    python benchmarks/long_run.py --out runs/long --docs docs

Trains a small detector on the embedded scenes, with evaluations and saved states as in any run,
and fits a line to each measure after the first tenth. Nothing else should run on the machine.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

import keras
import matplotlib
import numpy as np
import psutil
from marked_section import replace_section

from keras_retinanet.config.files import load_config, with_overrides
from keras_retinanet.files import atomic_write
from keras_retinanet.processes.machine import processor
from keras_retinanet.training import train

SETTINGS = {
    "model.backbone.name": "resnet18",
    "model.fpn.channels": 32,
    "model.head.channels": 32,
    "model.head.depth": 1,
    "model.preprocessing.short_side": 64,
    "model.preprocessing.long_side": 96,
    "data.shapes_train": 64,
    "data.shapes_val": 16,
    "train.batch_size": 2,
    "train.minutes": 0,
    "train.optimizer.ema": 0.99,
}
# Evaluations, and saved states twice as often, in a run of any length.
EVALUATIONS = 20
EVERY = 10
WARM_UP = 0.1
# Neighbors depend on each other: the error of a slope comes from the means of this number of parts.
PARTS = 30
MEASURES = {
    "step": "time of a step, ms",
    "memory": "memory, MB",
    "files": "open files",
    "threads": "threads",
}


class Watch(keras.callbacks.Callback):
    """Note the measures every `EVERY` steps: the median time of the steps since, and the others."""

    def __init__(self):
        super().__init__()
        self.process, self.rows, self.times, self.begun = psutil.Process(), [], [], 0.0

    def on_train_batch_begin(self, batch, logs=None):
        self.begun = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # the device is done when a result is here
        self.times.append(1000 * (time.perf_counter() - self.begun))
        if (batch + 1) % EVERY:
            return
        self.rows.append(
            {
                "at": batch + 1,
                "step": float(np.median(self.times)),
                "memory": self.process.memory_info().rss / 1e6,
                "files": self.process.num_fds(),
                "threads": self.process.num_threads(),
            }
        )
        self.times = []


def slope(steps: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Return the change in 1,000 steps and its standard error, from the means of `PARTS` parts."""
    parts = min(PARTS, len(steps) // 2)
    x = np.array([part.mean() for part in np.array_split(steps, parts)]) / 1000
    y = np.array([part.mean() for part in np.array_split(values, parts)])
    (gradient, _), covariance = np.polyfit(x, y, 1, cov=True)
    return float(gradient), float(np.sqrt(max(covariance[0, 0], 0.0)))


def table(rows: list[dict[str, float]]) -> str:
    """Return the measures as a table: at the warm-up's end, at the end, and the slope."""
    late = [row for row in rows if row["at"] > WARM_UP * rows[-1]["at"]]
    steps = np.array([row["at"] for row in late], float)
    lines = [
        f"| | first tenth over | end, step {rows[-1]['at']:,} | change in 1,000 steps |",
        "|---|---|---|---|",
    ]
    for name, title in MEASURES.items():
        values = np.array([row[name] for row in late], float)
        first, last = (float(np.median(part)) for part in (values[:10], values[-10:]))
        change, error = slope(steps, values)
        lines.append(f"| {title} | {first:,.1f} | {last:,.1f} | {change:+.2f} ± {error:.2f} |")
    return "\n".join(lines)


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Plot the measures over the steps."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(MEASURES), 1, figsize=(7, 8), sharex=True)
    for axis, (name, title) in zip(axes, MEASURES.items(), strict=True):
        axis.plot([row["at"] for row in rows], [row[name] for row in rows], linewidth=0.8)
        axis.set_ylabel(title)
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("step")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--out", type=Path, required=True, help="folder, replaced")
    parser.add_argument("--docs", type=Path, help="write the table into faults.md of this folder")
    args = parser.parse_args()

    shutil.rmtree(args.out, ignore_errors=True)
    every = max(1, args.steps // EVALUATIONS)
    length = {
        "train.steps": args.steps * SETTINGS["train.batch_size"] // 16,  # of 16 images
        "train.eval_every": every,
        "train.checkpoint_every": max(1, every // 2),
    }
    watch = Watch()
    train(
        with_overrides(load_config("shapes"), SETTINGS | length),
        args.out / "run",
        callbacks=[watch],
    )
    with atomic_write(args.out / "rows.json") as stream:
        json.dump(watch.rows, stream)
    text = f"{table(watch.rows)}\n\n{processor()}, {time.strftime('%Y-%m-%d')}."
    print(text)
    draw(watch.rows, args.out / "long_run.png")
    if args.docs:
        (args.docs / "images").mkdir(exist_ok=True)
        shutil.copy(args.out / "long_run.png", args.docs / "images" / "long_run.png")
        replace_section(args.docs / "faults.md", "long run", text)


if __name__ == "__main__":
    main()
