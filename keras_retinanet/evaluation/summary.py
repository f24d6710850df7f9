"""All metrics of a detector on a dataset as one dict, and that as a table, JSON and CSV.

Every metric is 0..1, or -1 where there is nothing to find.
"""

import csv
import json
from collections.abc import Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from keras_retinanet.errors import counted
from keras_retinanet.evaluation.crowds import most_of_a_class
from keras_retinanet.evaluation.metrics.best_thresholds import best_thresholds
from keras_retinanet.evaluation.metrics.calibration import calibration
from keras_retinanet.evaluation.metrics.coco_figures import (
    LIMITS,
    CocoFigures,
    Engine,
    class_table,
    coco_evaluation,
    figures,
    iou_table,
)
from keras_retinanet.evaluation.metrics.coco_metric import format_metrics
from keras_retinanet.evaluation.metrics.matching import MATCH_IOU, Matches, match_detections
from keras_retinanet.evaluation.metrics.openimages_metric import open_images_evaluation
from keras_retinanet.evaluation.metrics.voc_metric import voc_evaluation
from keras_retinanet.evaluation.tables import EvaluationSet, Found
from keras_retinanet.files import atomic_write
from keras_retinanet.files.csv_cells import quoted
from keras_retinanet.terminal import printable

# What the printed table shows of each class; the files have all.
CLASS_COLUMNS = "boxes detections AP AP50 AP75 AP_small AP_medium AP_large AR100".split()
CLASS_COLUMNS += "threshold precision recall F1".split()
NOTHING = "-"


def summarise(
    pictures: EvaluationSet,
    found: Found,
    *,
    engine: Engine = "auto",
    open_images: bool = False,
    limit: int = LIMITS[-1],
    coco: CocoFigures | None = None,
    matches: Matches | None = None,
) -> dict[str, Any]:
    """Compute every metric.

    Args:
        engine, limit: as `coco_evaluation`.
        open_images: compute the Open Images Challenge's AP too; boxes to ignore are its groups.
        coco, matches: Results of `coco_evaluation` and `match_detections`, if known already.

    Returns:
        What JSON can hold:

        - `pictures`, `boxes` (to find), `ignored`, `detections`, `most_boxes` (of a class in an
          image): counts; `limit`: detections of an image and class that count; `engine`.
        - `coco`: the twelve metrics. `voc`: `VOC07_AP`, `VOC_AP`. `open_images`: with that option.
        - `ious`: AP and AR at each of COCO's IoUs.
        - `classes`: of each class its name, counts (`boxes`, `pictures`, `detections`), COCO's
          twelve metrics, VOC's and Open Images' AP, and where F1 is best at IoU .5 `threshold`,
          `precision`, `recall`, `F1`, `right`, `wrong`, `missed`.
        - `best_threshold`: the latter for all classes under one threshold.
        - `calibration`: `error` (D-ECE at IoU .5), `worst` and `bins`.

    Raises:
        UserError: the engine is unknown or not installed, or a score is not within 0..1.
    """
    coco = coco or coco_evaluation(pictures, found, engine=engine, limit=limit)
    voc = voc_evaluation(pictures, found)
    matches = matches or match_detections(pictures, found)
    *thresholds, overall = best_thresholds(pictures, found, matches)
    parts = [class_table(coco), voc.rows(), thresholds]
    summary: dict[str, Any] = {
        "pictures": len(pictures.image_ids),
        "boxes": int(coco.boxes.sum()),
        "ignored": int(pictures.truths.ignore.sum()),
        "detections": len(found.scores),
        "most_boxes": most_of_a_class(pictures),
        "limit": coco.limit,
        "engine": coco.engine,
        "coco": figures(coco),
        "voc": voc.means,
    }
    if open_images:
        groups = open_images_evaluation(pictures, found)
        summary["open_images"] = {"OpenImages_AP": groups.mean}
        # First, so that `boxes` and `detections` stay as everywhere else.
        parts.insert(0, groups.rows())
    scores = calibration(found, matches)
    return summary | {
        "ious": iou_table(coco),
        "classes": [reduce(or_, rows) for rows in zip(*parts, strict=True)],
        "best_threshold": overall,
        "calibration": {"error": scores.error, "worst": scores.worst, "bins": scores.rows()},
    }


def format_summary(summary: dict[str, Any]) -> str:
    """Write a summary for people: COCO's twelve lines, then what else there is, then classes."""
    one = {name: _cell(value) for name, value in summary["best_threshold"].items()}
    lines = [
        f"{counted(summary['pictures'], 'image')}, {counted(summary['boxes'], 'box')} to find"
        f" (and {summary['ignored']:,} to ignore), {counted(summary['detections'], 'detection')}",
        format_metrics(summary["coco"], summary["limit"]),
        *_beyond_coco(summary),
        f"Pascal VOC at IoU {MATCH_IOU:.2f}: AP {_cell(summary['voc']['VOC_AP'])} by area, "
        f"{_cell(summary['voc']['VOC07_AP'])} by the 11 points of 2007",
    ]
    if "open_images" in summary:
        ap = _cell(summary["open_images"]["OpenImages_AP"])
        lines.append(f"Open Images Challenge at IoU {MATCH_IOU:.2f}: AP {ap}")
    lines += [
        f"Best F1 with one threshold: {one['F1']} at score {one['threshold']} "
        f"(precision {one['precision']}, recall {one['recall']})",
        f"Calibration error of the scores: {_cell(summary['calibration']['error'])}",
        "",
        format_rows([row | {"IoU": f"{row['IoU']:.2f}"} for row in summary["ious"]]),
        "",
        format_rows(summary["classes"], ["class", *CLASS_COLUMNS]),
    ]
    return "\n".join(lines)


def _beyond_coco(summary: dict[str, Any]) -> list[str]:
    most, limit = summary["most_boxes"], summary["limit"]
    if most <= LIMITS[-1]:
        return []
    rule = "as COCO does" if limit == LIMITS[-1] else f"not {LIMITS[-1]} as COCO does"
    return [
        f"These twelve count {limit} detections per image and class, {rule}; an image has "
        f"{most:,} boxes of a class. Precision, recall, F1 and errors count every detection."
    ]


def format_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str] = ()) -> str:
    """Write rows as a table: names to the left, numbers to the right, figures with 3 decimals.

    Args:
        rows: each with all of `columns`; none writes the header alone.
        columns: their keys in order; by default all of the first row.
    """
    columns = list(columns or (rows[0] if rows else ()))
    table = [columns, *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return NOTHING if value < 0 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def write_summary_json(summary: dict[str, Any], path: str | Path) -> None:
    """Write a summary as JSON, in one step."""
    with atomic_write(path) as file:
        json.dump(summary, file, indent=1)
        file.write("\n")


def write_summary_csv(summary: dict[str, Any], path: str | Path) -> None:
    """Write one row a class, and a first one of all classes together, in one step.

    Its `pictures` are all, its figures the means over classes, its threshold is one for all.
    """
    overall = {name: summary[name] for name in ("boxes", "pictures", "detections")}
    overall |= summary["coco"] | summary["voc"] | summary.get("open_images", {})
    overall |= summary["best_threshold"]
    rows = [overall, *summary["classes"]]
    columns = list(dict.fromkeys(["class", *(key for row in rows for key in row)]))
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {"class": quoted(row["class"])} if "class" in row else row)
