"""What a run prints when it ends: its best metrics, where things are, and what to do next."""

import csv
from pathlib import Path

from keras_retinanet.config import Config
from keras_retinanet.errors import counted
from keras_retinanet.modeling.draw_threshold import draw_threshold
from keras_retinanet.modeling.saving import read_config
from keras_retinanet.training.dry_run import duration
from keras_retinanet.training.run_folder import LOG_FILE
from keras_retinanet.training.run_state import Clock

SHOWN = ("AP", "AP50", "AP75")


def ending_lines(folder: Path, clock: Clock, config: Config, *, validated: int) -> list[str]:
    """Return the lines for a run that is complete.

    Args:
        folder: run folder with `best.keras`, `metrics.csv` and `curves.png`.
        validated: number of images in the validation split; 0: the lowest loss is best.
    """
    best = folder / "best.keras"
    drawn = draw_threshold(read_config(best)["metadata"], config.predict.draw_threshold)
    lines = [f"{clock.step} steps in {duration(clock.seconds)}; {_best(folder, clock, validated)}"]
    if clock.out_of_patience and clock.progress < 1:
        lines.append(f"stopped early: {clock.waited} evaluations without a better score")
    return [
        *lines,
        f"model:  {best}",
        f"boxes are drawn from score {drawn:.3f} on" + ", where F1 is best" * bool(validated),
        f"curves: {folder / 'curves.png'}",
        f"next:   keras_retinanet predict IMAGES --model {folder}",
        f"        keras_retinanet evaluate --model {folder} --report report.html",
        f"        keras_retinanet export --model {folder} --format tflite --out model.tflite",
    ]


def _best(folder: Path, clock: Clock, validated: int) -> str:
    """Return the score that selected the best model, with the other metrics of that step."""
    if not validated:
        return f"best loss {-clock.best:.3f}"
    with open(folder / LOG_FILE, newline="", encoding="utf-8", errors="replace") as stream:
        rows = [row for row in csv.DictReader(stream) if row["AP"]]
    if not rows:  # the log was deleted
        return f"best AP {clock.best:.3f}"
    row = max(rows, key=lambda row: float(row["AP"]))
    figures = ", ".join(f"{name} {float(row[name]):.3f}" for name in SHOWN if row[name])
    return f"best {figures} at step {row['step']}, on {counted(validated, 'validation image')}"
