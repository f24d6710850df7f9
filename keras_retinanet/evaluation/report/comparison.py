"""Evaluations side by side as one HTML page."""

import os
from collections.abc import Sequence
from typing import Any

from keras_retinanet.drawing.pages import render_page
from keras_retinanet.evaluation.errors.kinds import ERROR_KINDS
from keras_retinanet.evaluation.metrics.coco_figures import FIGURES
from keras_retinanet.evaluation.report.charts import KIND_COLORS, LINE_COLORS, run_curves
from keras_retinanet.evaluation.report.saved import Evaluation, Run
from keras_retinanet.files import atomic_write

CURVES = {
    "0.50": "Precision, IoU 0.50",
    "0.75": "Precision, IoU 0.75",
    "0.50:0.95": "Precision, mean of all IoUs",
}


def write_comparison(path: str | os.PathLike[str], runs: Sequence[Run]) -> None:
    """Write the page that compares `runs` with the first of them, in one step."""
    evaluations = [run.evaluation for run in runs]
    first = evaluations[0]
    # Of all runs; the first run's last, so that its counts hold.
    rows = [*(row for each in evaluations for row in each.classes), *first.classes]
    class_boxes = {row.name: row.boxes for row in rows}
    charts = [
        run_curves(
            [(run.name, run.evaluation.curves.get(key)) for run in runs], title, f"curve-{key}"
        )
        for key, title in CURVES.items()
        if any(evaluation.curves.get(key) for evaluation in evaluations)
    ]
    values = {
        "title": " against ".join(run.name for run in runs),
        "runs": [
            {"run": run, "color": color, "letter": chr(ord("A") + place)}
            for place, (run, color) in enumerate(zip(runs, LINE_COLORS, strict=False))
        ],
        "is_same": len({(each.pictures, each.boxes) for each in evaluations}) == 1,
        "figures": _figures(evaluations),
        "charts": charts,
        "errors": _errors(evaluations),
        "classes": [
            (name, boxes, _cells(_of_all(evaluations, "classes", name, "AP")))
            for name, boxes in class_boxes.items()
        ],
        "sizes": [
            (row.name, row.truths, _cells(_of_all(evaluations, "sizes", row.name, "ap")))
            for row in first.sizes
            if row.truths
        ],
        "kind_colors": KIND_COLORS,
    }
    page = render_page("compare.html", values, scripts=("page.js",))
    with atomic_write(os.fspath(path)) as stream:
        stream.write(page)


def _cells(values: Sequence[float | None], *, sign: int = 1) -> list[dict[str, Any]]:
    """Return a figure of all runs, its gain over the first run, and whether it is the best.

    -1 and None are nothing. The sign is -1 where less is better, 0 where neither is.
    """
    defined = [None if value is None or value < 0 else value for value in values]
    there = {sign * value for value in defined if value is not None}
    best = max(there) if sign and len(there) > 1 else None
    first = defined[0]
    return [
        {
            "value": value,
            "gain": None if value is None or first is None else value - first,
            "is_best": value is not None and sign * value == best,
        }
        for value in defined
    ]


def _figures(evaluations: Sequence[Evaluation]) -> list[tuple[str, int, list[dict[str, Any]]]]:
    """Return name, sign (see `_cells`) and cells of each figure."""
    rows: list[tuple[str, int, list[float | None]]] = [
        (name.replace("_", " "), 1, [each.coco[name] for each in evaluations]) for name in FIGURES
    ]
    rows += [
        ("VOC AP by area", 1, [each.voc.get("VOC_AP") for each in evaluations]),
        ("VOC AP by 11 points", 1, [each.voc.get("VOC07_AP") for each in evaluations]),
        ("best F1", 1, [each.best_threshold.F1 for each in evaluations]),
        ("its threshold", 0, [each.best_threshold.threshold for each in evaluations]),
        ("calibration error", -1, [each.calibration.error for each in evaluations]),
    ]
    return [(name, sign, _cells(values, sign=sign)) for name, sign, values in rows]


def _errors(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Return the kinds of error with cost in AP, its share of the highest, and count."""
    tables = [each.errors.kinds if each.errors else {} for each in evaluations]
    top = max((part.cost for table in tables for part in table.values()), default=0.0)
    return [
        {
            "kind": kind,
            "meaning": meaning,
            "cells": [
                {
                    "cost": table[kind].cost,
                    "count": table[kind].count,
                    "width": 100 * max(table[kind].cost, 0) / top if top > 0 else 0,
                }
                if kind in table
                else None
                for table in tables
            ],
        }
        for kind, meaning in ERROR_KINDS.items()
        if any(tables)
    ]


def _of_all(
    evaluations: Sequence[Evaluation], table: str, name: str, figure: str
) -> list[float | None]:
    """Return a figure of one class or size, as each run has it."""
    rows = [{row.name: row for row in getattr(each, table)}.get(name) for each in evaluations]
    return [None if row is None else getattr(row, figure) for row in rows]
