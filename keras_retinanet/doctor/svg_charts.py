"""The page's charts as SVG text, drawn by matplotlib; the page gives the letters its font.

Shape letters: N boxes, M images.
"""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from keras_retinanet.doctor.sizes import SizeBin
from keras_retinanet.drawing.pages import (
    AMBER,
    BLUE,
    GRID,
    RED,
    chart_figure,
    chart_style,
    chart_svg,
)

HEAT_CELLS = 24


def _counts(axes: Axes) -> None:
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def reached_by_size(bins: Sequence[SizeBin], input_name: str) -> Markup:
    """Draw the boxes by size on the network's input, and which of them anchors reach."""
    with chart_style():
        figure, axes = chart_figure()
        at = np.arange(len(bins))
        background = np.array([part.background for part in bins])
        between = np.array([part.below_half for part in bins]) - background
        reached = np.array([part.count for part in bins]) - background - between
        layers = ((reached, BLUE, "anchor IoU .5 or more"), (between, AMBER, ".4 to .5"),
                  (background, RED, "below .4"))  # fmt: skip
        bottom = np.zeros(len(bins))
        for count, color, label in layers:
            axes.bar(at, count, 0.82, bottom=bottom, color=color, label=label)
            bottom = bottom + count
        axes.set_xticks(at, [f"{part.low:g}" for part in bins])
        axes.set_xlabel(f"square root of the area, from ... px at input {input_name}")
        axes.set_ylabel("boxes")
        figure.legend(loc="outside upper left", ncols=3, fontsize=9, handlelength=1)
        _counts(axes)
        return chart_svg(figure)


def histogram(values: np.ndarray, label: str, unit: str) -> Markup:
    """Draw how often each integer of `values` (M,) comes, in at most 30 bars."""
    with chart_style():
        figure, axes = chart_figure()
        top = int(values.max(initial=0)) + 1
        width = -(-top // 30)
        edges = (np.arange(0, top + width, width) - 0.5).tolist()
        axes.hist(values, edges, color=BLUE, rwidth=0.86)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlabel(label)
        axes.set_ylabel(unit)
        _counts(axes)
        return chart_svg(figure)


def aspect_ratios(ratios: np.ndarray) -> Markup:
    """Draw the boxes' height / width (N,) on a logarithmic axis from 1/8 to 8."""
    with chart_style():
        figure, axes = chart_figure()
        octaves = np.clip(np.log2(np.maximum(ratios, 1e-6)), -3, 3)
        axes.hist(octaves, np.linspace(-3, 3, 25).tolist(), color=BLUE, rwidth=0.86)
        axes.set_xticks(range(-3, 4), ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
        axes.set_xlabel("height / width of the boxes (wide left, high right)")
        axes.set_ylabel("boxes")
        _counts(axes)
        return chart_svg(figure)


def picture_sizes(sizes: np.ndarray) -> Markup:
    """Draw the images' (height, width) (M, 2): a dot for each size, larger for more."""
    with chart_style():
        figure, axes = chart_figure()
        kinds, counts = np.unique(sizes, axis=0, return_counts=True)
        area = 24 + 300 * counts / counts.max() if len(kinds) > 1 else 200
        axes.scatter(kinds[:, 1], kinds[:, 0], area, color=BLUE, alpha=0.55, linewidth=0)
        axes.set_xlim(0, sizes[:, 1].max(initial=1) * 1.12)
        axes.set_ylim(0, sizes[:, 0].max(initial=1) * 1.15)
        axes.set_xlabel("width in px")
        axes.set_ylabel("height in px")
        axes.grid(color=GRID, linewidth=0.8)
        if len(kinds) == 1:
            axes.annotate(
                f"all {kinds[0, 1]} x {kinds[0, 0]}",
                (kinds[0, 1], kinds[0, 0]),
                xytext=(-14, -4),
                textcoords="offset points",
                ha="right",
            )
        return chart_svg(figure)


def centres(boxes: np.ndarray, sizes: np.ndarray) -> Markup:
    """Draw where in their images, of `sizes` (N, 2), the centers of `boxes` (N, 4) lie."""
    with chart_style():
        figure, axes = chart_figure()
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2 / sizes[:, ::-1]
        cells, _, _ = np.histogram2d(
            middle[:, 1], middle[:, 0], bins=HEAT_CELLS, range=[[0, 1], [0, 1]]
        )
        axes.imshow(cells, cmap="Blues", extent=(0, 1, 1, 0), aspect="auto", vmin=0)
        axes.set_xticks([0.05, 0.5, 0.95], ["left", "middle", "right"])
        axes.set_yticks([0.03, 0.5, 0.97], ["top", "middle", "bottom"])
        return chart_svg(figure)
