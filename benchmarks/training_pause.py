"""Measure the cost of evaluations in training: seconds per step with and without, per evaluation.

    python benchmarks/training_pause.py --config shapes --steps 60 --every 15

Two runs with evaluations and two without, in turn; medians of the steps that traced nothing.
"""

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path

from keras_retinanet.config import load_config, with_overrides
from keras_retinanet.training import callbacks, train

# The first step of a run traces its graph, the first evaluation the detector's.
WARM_UP = 5


class TimedPace(callbacks.Pace):
    """Record the start and end of each step; between steps are logs and evaluations."""

    times: list[float]

    def on_train_batch_begin(self, batch, logs=None):
        super().on_train_batch_begin(batch, logs)
        self.times.append(time.perf_counter())

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # the device is done when a result is here
        self.times.append(time.perf_counter())
        super().on_train_batch_end(batch, logs)


def timed_run(config, every: int) -> tuple[list[float], list[float], list[float]]:
    """Return seconds of the steps, of the pauses for evaluations, and of the evaluations alone."""
    TimedPace.times = times = []
    with tempfile.TemporaryDirectory() as folder:
        train(with_overrides(config, {"train.eval_every": every}), folder)
        with open(Path(folder) / "metrics.csv", newline="") as stream:
            scoring = [float(row["seconds"]) for row in csv.DictReader(stream) if row["seconds"]]
    steps = [end - begin for begin, end in zip(times[::2], times[1::2], strict=True)]
    gaps = [begin - end for end, begin in zip(times[1::2], times[2::2], strict=False)]
    return steps[WARM_UP:], gaps[every - 1 :: every][1:], scoring[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="shapes")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=15, help="steps between evaluations")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()

    config = with_overrides(load_config(args.config), args.set)
    length = args.steps * config.train.batch_size / 16  # recipes count in batches of 16
    config = with_overrides(config, {"train.steps": round(length), "train.minutes": 0})
    callbacks.Pace = TimedPace
    rows = []
    for every in (args.every, args.steps) * 2:
        steps, pauses, scoring = timed_run(config, every)
        rows.append((f"evaluation every {every:>3} steps", steps, pauses, scoring))
    for title, *parts in rows:
        step, pause, scoring = (statistics.median(part) if part else 0.0 for part in parts)
        print(
            f"{title}: step {step:.3f} s, evaluation {pause:.2f} s, of it scoring {scoring:.2f} s"
        )


if __name__ == "__main__":
    main()
