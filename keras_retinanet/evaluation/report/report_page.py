"""An evaluation as one HTML page: figures, curves, what errors cost, and images to filter."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_retinanet.drawing.pages import render_page
from keras_retinanet.evaluation.errors.breakdown import BinFigures, aspect_breakdown, size_breakdown
from keras_retinanet.evaluation.errors.confusion import ConfusionMatrix, confusion_matrix
from keras_retinanet.evaluation.errors.costs import ErrorAnalysis, analyse_errors
from keras_retinanet.evaluation.errors.kinds import DETECTION_KINDS, ERROR_KINDS
from keras_retinanet.evaluation.errors.worst import error_costs
from keras_retinanet.evaluation.metrics.coco_figures import (
    LIMITS,
    CocoFigures,
    Engine,
    coco_evaluation,
)
from keras_retinanet.evaluation.metrics.curves import (
    OperatingPoints,
    curve_numbers,
    operating_points,
)
from keras_retinanet.evaluation.metrics.matching import Matches, match_detections
from keras_retinanet.evaluation.report import charts
from keras_retinanet.evaluation.report.gallery import (
    MAX_PICTURES,
    Pictures,
    chosen_pictures,
    page_scores,
    picture_rows,
    show_pictures,
)
from keras_retinanet.evaluation.summary import summarise
from keras_retinanet.evaluation.tables import EvaluationSet, Found
from keras_retinanet.files import atomic_write
from keras_retinanet.modeling.draw_threshold import USUAL_THRESHOLD

# A larger confusion matrix cannot be read: the classes that are confused most are shown.
MATRIX_CLASSES = 20


@dataclass(frozen=True, eq=False)
class Analysis:
    """All that is computed of one set of detections: for tables, files and the page.

    Attributes:
        summary: as `summarise` gives.
        threshold: where F1 is best for all classes together, as in `summary`.
        confusion: at `threshold`.
    """

    pictures: EvaluationSet
    found: Found
    matches: Matches
    coco: CocoFigures
    summary: dict[str, Any]
    errors: ErrorAnalysis
    points: OperatingPoints
    sizes: list[BinFigures]
    aspects: list[BinFigures]
    threshold: float
    confusion: ConfusionMatrix

    def to_plain(self) -> dict[str, Any]:
        """Return the figures as JSON has them: the summary, and what `report A B` compares."""
        return {
            **self.summary,
            "errors": self.errors.to_plain(),
            "sizes": [row.to_plain() for row in self.sizes],
            "aspects": [row.to_plain() for row in self.aspects],
            "curves": curve_numbers(self.coco),
            "confusion": self.confusion.counts.tolist(),
        }


def analyse(
    pictures: EvaluationSet,
    found: Found,
    *,
    engine: Engine = "auto",
    open_images: bool = False,
    limit: int = LIMITS[-1],
) -> Analysis:
    """Compute every metric and the error analysis.

    Args and Raises: as `summarise`.
    """
    coco = coco_evaluation(pictures, found, engine=engine, limit=limit)
    matches = match_detections(pictures, found)
    summary = summarise(pictures, found, open_images=open_images, coco=coco, matches=matches)
    errors = analyse_errors(pictures, found)
    points = operating_points(found, matches)
    best = points.best_threshold
    threshold = USUAL_THRESHOLD if best is None else best
    return Analysis(
        pictures=pictures,
        found=found,
        matches=matches,
        coco=coco,
        summary=summary,
        errors=errors,
        points=points,
        sizes=size_breakdown(errors),
        aspects=aspect_breakdown(errors),
        threshold=threshold,
        confusion=confusion_matrix(pictures, found, score_threshold=threshold),
    )


def write_report(
    path: str | os.PathLike[str],
    analysis: Analysis,
    *,
    pictures: Pictures,
    title: str,
    facts: Mapping[str, str] | None = None,
    max_pictures: int = MAX_PICTURES,
) -> None:
    """Write the page, in one step. It needs no file or network beside it.

    Args:
        pictures: gives image `index` of the `EvaluationSet` as (H, W, 3) uint8 RGB (see
            `dataset_pictures`). A UserError or OSError of it leaves a blank.
        title: what was evaluated, such as the model's name.
        facts: label -> text, shown below the title: model, dataset, input size.
        max_pictures: how many images at most; those whose errors cost most come first. Fewer
            where the page would pass some 16 MB.
    """
    costs = error_costs(analysis.errors)
    chosen = chosen_pictures(analysis.errors, max_pictures, costs=costs)
    shown = show_pictures(analysis.pictures, pictures, chosen)
    values = {
        "title": title,
        "facts": dict(facts or {}),
        **_figures(analysis),
        "chart_groups": _charts(analysis),
        "matrix": _matrix(analysis.confusion),
        "shown": shown,
        "gallery": {
            "kinds": [*DETECTION_KINDS, "ignored"],
            "classes": analysis.pictures.class_names,
            "points": {
                name: getattr(analysis.points, name).tolist()
                for name in ("boxes", "right", "wrong")
            },
            "best": _counts_at(analysis),
            "pictures": picture_rows(
                analysis.errors, shown, costs=costs, threshold=analysis.threshold
            ),
            "total": len(analysis.pictures.image_ids),
        },
    }
    page = render_page("report.html", values, scripts=("page.js", "gallery.js"))
    with atomic_write(path) as stream:  # type: ignore[arg-type]
        stream.write(page)


def _counts_at(analysis: Analysis) -> dict[str, Any]:
    """Return the page's threshold, which may lie between the slider's, and the counts there."""
    matches, found, size = analysis.matches, analysis.found, len(analysis.pictures.class_names)
    kept = matches.counts & (found.scores >= analysis.threshold)
    right, wrong = (
        np.bincount(found.classes[kept & chosen], minlength=size).tolist()
        for chosen in (matches.is_right, ~matches.is_right)
    )
    threshold = float(page_scores(np.array([analysis.threshold]), analysis.threshold)[0])
    return {"threshold": threshold, "right": right, "wrong": wrong}


def _figures(analysis: Analysis) -> dict[str, Any]:
    errors, summary = analysis.errors, analysis.summary
    top = max(errors.costs.values())
    return {
        "summary": summary,
        "errors": [
            {
                "kind": kind,
                "meaning": meaning,
                "count": errors.counts[kind],
                "cost": errors.costs[kind],
                "width": 100 * errors.costs[kind] / top if top > 0 else 0,
            }
            for kind, meaning in ERROR_KINDS.items()
        ],
        "specials": {
            "all wrong detections": errors.false_positive_cost,
            "all boxes not found": errors.false_negative_cost,
        },
        "worst_kind": max(errors.costs, key=lambda kind: errors.costs[kind]),
        "kind_colors": charts.KIND_COLORS,
        "threshold": analysis.threshold,
    }


def _charts(analysis: Analysis) -> dict[str, list[charts.Chart]]:
    summary, coco = analysis.summary, analysis.coco
    is_kept = analysis.found.scores >= analysis.threshold
    kept = analyse_errors(analysis.pictures, analysis.found.select(is_kept))
    sizes, aspects = size_breakdown(kept), aspect_breakdown(kept)
    fates = f"What became of the true boxes, from score {analysis.threshold:.3f} on"
    return {
        "Precision and recall": [
            charts.class_curves(coco),
            charts.iou_curves(coco),
            charts.iou_lines(summary["ious"]),
        ],
        "Scores": [
            charts.score_histogram(analysis.errors),
            charts.reliability(summary["calibration"]),
            charts.threshold_curves(analysis.points),
        ],
        fates: [
            charts.fate_bars("sizes", "By size (root of the area)", analysis.sizes, kept=sizes),
            charts.fate_bars(
                "aspects", "By shape (width over height)", analysis.aspects, kept=aspects
            ),
        ],
    }


def _matrix(confusion: ConfusionMatrix) -> dict[str, Any]:
    """Return the rows of the matrix; of many classes those that are confused most."""
    counts, shares, size = confusion.counts, confusion.shares(), len(confusion.class_names)
    between = confusion.between()
    wrong = between.sum(axis=0) + between.sum(axis=1)
    kept = np.sort(np.argsort(-wrong, kind="stable")[:MATRIX_CLASSES])
    places = [*kept.tolist(), size]
    return {
        "names": [*(confusion.class_names[place] for place in kept), "background"],
        "left_out": size - len(kept),
        "rows": [
            [(int(counts[row, column]), float(shares[row, column])) for column in places]
            for row in places
        ],
        "most": confusion.most_confused(),
    }
