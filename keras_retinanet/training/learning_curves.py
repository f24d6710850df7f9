"""Plot the learning curves of a run: losses, validation AP and learning rate."""

import csv
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_write, open_regular

LOSSES = ("loss", "class_loss", "box_loss", "distillation_loss")
FIGURES = ("AP50", "AP75", "AP")
RATES = ("learning_rate",)
# The most important curve is the darkest; they differ for the color-blind too.
COLORS = {
    **{"loss": "#1f5fa8", "class_loss": "#e07b00", "box_loss": "#2a9134"},
    "distillation_loss": "#9a9a9a",
    **{"AP": "#1f5fa8", "AP50": "#e07b00", "AP75": "#2a9134", "learning_rate": "#6b4fa0"},
}
# A loss that falls by more than this is drawn on a logarithmic axis.
LINEAR_RANGE = 10
# With more points than this a curve is smoothed, over this share of its points.
SMOOTHED_POINTS = 60
SMOOTHED_SHARE = 0.04
# A row of a history has about a hundred bytes.
MAX_BYTES = 256 << 20
# Curves with fewer points than this mark each one.
MARKED_POINTS = 40


class Series(NamedTuple):
    """One column over the steps where it has a value: (P,) float64 each."""

    steps: np.ndarray
    values: np.ndarray


def learning_curves(csv_path: str | Path, png_path: str | Path) -> None:
    """Plot the losses of a run over its steps, and below them its AP and learning rate if known.

    The best AP is marked. Long curves are drawn lightly, with their moving mean on top.

    Args:
        csv_path: columns `step` and any of `LOSSES`, `FIGURES` and `RATES`; cells may be empty;
            other columns are ignored.
        png_path: file to write; replaced atomically.

    Raises:
        UserError: the CSV cannot be read, or does not hold numbers.
    """
    # Matplotlib takes a second to import and builds a cache, so it is imported only here. Its
    # Figure keeps no global state, and Agg needs no screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    series = _read_series(Path(csv_path))
    panels = [(LOSSES, 3.2, _draw_losses), (FIGURES, 2.8, _draw_figures), (RATES, 1.5, _draw_rate)]
    shown = [panel for panel in panels if any(name in series for name in panel[0])] or panels[:1]
    heights = [height for _, height, _ in shown]
    figure = Figure(figsize=(9, sum(heights) + 0.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for (names, _, draw), axis in zip(shown, axes, strict=True):
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        draw(axis, {name: series[name] for name in names if name in series})
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.set_major_formatter("{x:,.0f}")
    with atomic_write(png_path, "wb") as file:
        figure.savefig(file, format="png")


def _draw_losses(axis: Any, series: dict[str, Series]) -> None:
    axis.set_ylabel("training loss")
    for name, (steps, values) in series.items():
        width = 2.2 if name == "loss" else 1.5
        window = max(1, round(SMOOTHED_SHARE * len(steps)))
        label = name.replace("_", " ")
        if len(steps) > SMOOTHED_POINTS:
            axis.plot(steps, values, color=COLORS[name], lw=0.8, alpha=0.3)
            steps, values = (_moving_mean(numbers, window) for numbers in (steps, values))
        _line(axis, name, Series(steps, values), label, width)
    values = np.concatenate([part.values for part in series.values()] or [np.zeros(0)])
    if values.size and values.min() > 0 and values.max() > LINEAR_RANGE * values.min():
        axis.set_yscale("log", subs=())
        axis.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
        axis.yaxis.set_major_formatter("{x:g}")
    else:
        axis.set_ylim(bottom=0)
    if series:
        axis.legend(loc="upper right", frameon=False, ncols=len(series))


def _draw_figures(axis: Any, series: dict[str, Series]) -> None:
    axis.set_ylabel("validation")
    for name, points in series.items():
        _line(axis, name, points, name, 2.2 if name == "AP" else 1.5)
    if "AP" in series:
        steps, values = series["AP"]
        best = int(values.argmax())
        axis.plot(steps[best], values[best], "*", color=COLORS["AP"], ms=13, mec="white", zorder=5)
        axis.set_title(f"best AP {values[best]:.3f} at step {steps[best]:,.0f}", fontsize=10)
    top = max(part.values.max() for part in series.values())
    axis.set_ylim(0, min(1.0, max(0.05, 1.15 * top)))
    # AP rises, so there is room below the curves at the right.
    axis.legend(loc="lower right", frameon=False, ncols=len(series))


def _draw_rate(axis: Any, series: dict[str, Series]) -> None:
    axis.set_ylabel("learning rate")
    for name, points in series.items():
        _line(axis, name, points, name, 1.5)
    axis.set_ylim(bottom=0)
    axis.ticklabel_format(axis="y", scilimits=(-2, 3))


def _line(axis: Any, name: str, points: Series, label: str, width: float) -> None:
    marker = "o" if len(points.steps) < MARKED_POINTS else None
    axis.plot(*points, color=COLORS[name], lw=width, marker=marker, ms=3.5, label=label)


def _moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Return the moving means (P - window + 1,) over `window` values."""
    return np.convolve(values, np.full(window, 1 / window), "valid")


def _read_series(path: Path) -> dict[str, Series]:
    """Return the filled cells of each known column of a CSV with a `step` column."""
    try:
        with (
            open_regular(path, max_bytes=MAX_BYTES) as stream,
            io.TextIOWrapper(stream, encoding="utf-8", newline="") as file,
        ):
            reader = csv.DictReader(file)
            names = [name for name in reader.fieldnames or () if name in COLORS]
            points: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
            for row in reader:
                step = float(row["step"])
                for name in names:
                    if row[name]:
                        points[name].append((step, float(row[name])))
            if "step" not in (reader.fieldnames or ()):
                raise KeyError("step")
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(
            f"Expected a CSV of numbers with a `step` column. Received: {path} with "
            f"{type(error).__name__}: {error}. Give the metrics.csv of a run folder."
        ) from error
    return {name: Series(*np.array(rows).T) for name, rows in points.items() if rows}
