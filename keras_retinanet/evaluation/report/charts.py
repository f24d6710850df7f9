"""The report's charts, drawn by matplotlib. No name is drawn: names are text of the page."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator

from keras_retinanet.drawing.pages import (
    AMBER,
    BLUE,
    FAINT,
    GRID,
    INK,
    RED,
    chart_figure,
    chart_style,
    chart_svg,
)
from keras_retinanet.evaluation.errors.breakdown import BinFigures
from keras_retinanet.evaluation.errors.costs import ErrorAnalysis
from keras_retinanet.evaluation.errors.kinds import CORRECT
from keras_retinanet.evaluation.metrics.coco_figures import IOUS, RECALLS, CocoFigures
from keras_retinanet.evaluation.metrics.curves import THRESHOLDS, OperatingPoints, mean_precision

GREEN, VIOLET, PINK, CYAN = "#2a9d6f", "#7b5fc4", "#d16ba5", "#2aa5b8"
# Told apart with every kind of color vision, on white, on black and on photographs.
LINE_COLORS = (BLUE, AMBER, GREEN, RED, VIOLET, "#8c6d46", PINK, CYAN)
# Detections, true boxes nothing found, and what does not count.
KIND_COLORS = {
    "correct": GREEN,
    "Cls": VIOLET,
    "Loc": AMBER,
    "Both": PINK,
    "Dupe": BLUE,
    "Bkg": RED,
    "Miss": CYAN,
    "ignored": "#8b95a1",
}
FATE_COLORS = {
    "found": KIND_COLORS["correct"],
    "badly_placed": KIND_COLORS["Loc"],
    "misnamed": KIND_COLORS["Cls"],
    "missed": KIND_COLORS["Miss"],
}
SCORE_BINS = 25
# Every second IoU of COCO's is drawn: ten lines hide each other.
DRAWN_IOUS = range(0, len(IOUS), 2)


class Chart(NamedTuple):
    """A drawing, and the words around it: names are text of the page and not of the drawing."""

    name: str
    title: str
    svg: Markup
    legend: list[tuple[str, str]]  # colors and what they stand for
    note: str = ""


@contextmanager
def _axes(x: str, y: str, *, unit_square: bool = False) -> Iterator[tuple[Axes, list[Markup]]]:
    """Yield axes to draw on; afterwards the list holds the drawing."""
    drawing: list[Markup] = []
    with chart_style():
        figure, axes = chart_figure()
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        if unit_square:
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1.02)
        yield axes, drawing
        drawing.append(chart_svg(figure))


def _plot(
    axes: Axes,
    places: Any,
    curves: Iterable[tuple[str, Any]],
    *,
    colors: Iterable[str] = LINE_COLORS,
    **style: Any,
) -> list[tuple[str, str]]:
    """Draw curves, each a name and its values at `places`, or None; return the legend."""
    legend = []
    for (name, values), color in zip(curves, colors, strict=False):
        if values is not None:
            axes.plot(places, values, color=color, **{"linewidth": 1.8, **style})
            legend.append((color, name))
    return legend


def class_curves(coco: CocoFigures) -> Chart:
    """Draw the precision of each class at IoU .5; those with most boxes in color."""
    order = np.argsort(-coco.boxes, kind="stable")
    curves = [
        (coco.class_names[index], mean_precision(coco, slice(0, 1), index))
        for index in order[coco.boxes[order] > 0].tolist()
    ]
    named, rest = curves[: len(LINE_COLORS)], curves[len(LINE_COLORS) :]
    with _axes("recall", "precision", unit_square=True) as (axes, drawing):
        _plot(axes, RECALLS, rest, colors=repeat(GRID), linewidth=0.9)
        legend = _plot(axes, RECALLS, named)
    if rest:
        legend.append((GRID, f"{len(rest)} more"))
    return Chart("class-curves", "Precision by class, IoU 0.50", drawing[0], legend)


def iou_curves(coco: CocoFigures) -> Chart:
    """Draw the precision, mean of the classes, at every second of COCO's IoUs."""
    # From dark to light as the IoU grows: an order, not names.
    shades = [
        to_hex((0.18 + t * 0.45, 0.42 + t * 0.30, 0.74 + t * 0.16)) for t in np.linspace(0, 1, 5)
    ]
    curves = (
        (f"{IOUS[place]:.2f}", mean_precision(coco, slice(place, place + 1)))
        for place in DRAWN_IOUS
    )
    with _axes("recall", "precision", unit_square=True) as (axes, drawing):
        legend = _plot(axes, RECALLS, curves, colors=shades)
    return Chart("iou-curves", "Precision by IoU, mean of classes", drawing[0], legend)


def threshold_curves(points: OperatingPoints) -> Chart:
    """Draw precision, recall and F1 of all classes at each threshold; marks where F1 is best."""
    best = points.best_threshold
    with _axes("score threshold", "", unit_square=True) as (axes, drawing):
        legend = _plot(axes, THRESHOLDS, points.totals().items())
        if best is not None:
            axes.axvline(best, color=FAINT, linewidth=1, linestyle=(0, (3, 3)))
    note = "" if best is None else f"F1 is best from score {best:.3f} on (dashed)."
    return Chart("threshold-curves", "Precision, recall and F1, IoU 0.50", drawing[0], legend, note)


def score_histogram(errors: ErrorAnalysis) -> Chart:
    """Draw how many right and wrong detections there are of each score."""
    judged, scores = errors.judgement, errors.found.scores
    counted = (judged.kinds >= 0) & ~judged.ignored
    parts = [("wrong", RED, judged.kinds != CORRECT), ("right", GREEN, judged.kinds == CORRECT)]
    edges = np.linspace(0, 1, SCORE_BINS + 1)
    with _axes("score", "detections") as (axes, drawing):
        for _, color, chosen in parts:
            counts, _ = np.histogram(scores[counted & chosen], edges)
            axes.stairs(counts, edges, color=color, fill=True, alpha=0.28, linewidth=0)
            axes.stairs(counts, edges, color=color, linewidth=1.6)
        # Detectors give far more boxes near 0 than anywhere else.
        axes.set_yscale("symlog", linthresh=1)
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        ticks = [0, *(10**power for power in range(int(np.log10(axes.get_ylim()[1])) + 1))]
        axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
    legend = [(color, name) for name, color, _ in reversed(parts)]
    return Chart(
        "score-histogram", "Scores", drawing[0], legend, "The vertical axis is logarithmic."
    )


def reliability(calibration: dict[str, Any]) -> Chart:
    """Draw the share of right detections against their mean score, bin by bin."""
    bins = [row for row in calibration["bins"] if row["detections"]]
    with _axes("score", "share that is right", unit_square=True) as (axes, drawing):
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (3, 3)))
        for row in bins:
            middle, width = (row["from"] + row["to"]) / 2, row["to"] - row["from"]
            axes.bar(middle, row["precision"], width * 0.9, color=BLUE, alpha=0.25)
        scores, shares = ([row[key] for row in bins] for key in ("score", "precision"))
        axes.plot(scores, shares, color=BLUE, marker="o", markersize=4, linewidth=1.6)
    error = calibration["error"]
    note = "" if error < 0 else f"Calibration error {error:.3f}; the dashed line is a perfect one."
    return Chart("reliability", "Are the scores honest?", drawing[0], [], note)


def iou_lines(rows: Sequence[dict[str, float]]) -> Chart:
    """Draw AP and AR at each of COCO's IoUs."""
    curves = [(name, [max(row[name], 0) for row in rows]) for name in ("AR", "AP")]
    style: dict[str, Any] = {
        "colors": (AMBER, BLUE),
        "marker": "o",
        "markersize": 4,
        "linewidth": 1.5,
    }
    with _axes("IoU", "") as (axes, drawing):
        legend = _plot(axes, [row["IoU"] for row in rows], curves, **style)
        axes.set_ylim(0, 1.02)
    return Chart("iou-lines", "AP and AR at each IoU", drawing[0], legend[::-1])


def fate_bars(
    name: str, title: str, bins: Sequence[BinFigures], *, kept: Sequence[BinFigures]
) -> Chart:
    """Draw what became of the true boxes of each size or shape, as shares, with count and AP.

    Args:
        bins: of all detections, for the AP.
        kept: of those that a threshold keeps, for the shares: at score 0 nearly all is found.
    """
    pairs = [pair for pair in zip(bins, kept, strict=True) if pair[0].truths]
    with _axes("share of the true boxes", "") as (axes, drawing):
        left = np.zeros(len(pairs))
        for fate, color in FATE_COLORS.items():
            shares = np.array([getattr(row, fate) / row.truths for _, row in pairs])
            axes.barh(range(len(pairs)), shares, 0.6, left=left, color=color)
            left += shares
        for place, (row, _) in enumerate(pairs):
            text = f"AP {row.ap:.2f}  ({row.truths:,})"
            axes.text(1.02, place, text, va="center", color=INK)
        axes.set_yticks(range(len(pairs)), [row.name for row, _ in pairs])
        axes.set_xlim(0, 1)
        axes.set_ylim(len(pairs) - 0.45, -0.55)
        axes.grid(visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    legend = [(color, fate.replace("_", " ")) for fate, color in FATE_COLORS.items()]
    return Chart(name, title, drawing[0], legend)


def run_curves(runs: Sequence[tuple[str, list[float] | None]], title: str, name: str) -> Chart:
    """Draw the mean precision at `RECALLS` of several runs, each a name and its curve."""
    with _axes("recall", "precision", unit_square=True) as (axes, drawing):
        legend = _plot(axes, RECALLS, runs)
    return Chart(name, title, drawing[0], legend)
