"""Print and write the metrics of `evaluate`."""

import math
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from keras_retinanet.commands.detecting import Task
from keras_retinanet.commands.json_output import add_result, wants_result

if TYPE_CHECKING:
    from keras_retinanet.data.records import Dataset
    from keras_retinanet.evaluation.report.report_page import Analysis
    from keras_retinanet.evaluation.runner import DetectorRun


def write_figures(args: Namespace, task: Task, dataset: "Dataset", run: "DetectorRun") -> None:
    """Write the requested files, then print the metrics."""
    from keras_retinanet.evaluation.crowds import counted_detections
    from keras_retinanet.evaluation.errors.costs import format_errors
    from keras_retinanet.evaluation.report.gallery import dataset_pictures
    from keras_retinanet.evaluation.report.report_page import analyse, write_report
    from keras_retinanet.evaluation.summary import format_summary, summarise
    from keras_retinanet.exporting.exported import stored_config

    tile = stored_config(task.model).tiles.side if args.tile is None else args.tile
    options: dict[str, Any] = {
        "engine": args.engine,
        "limit": counted_detections(run.pictures, in_tiles=bool(tile)),
        "open_images": task.config.data.source == "openimages",
    }
    facts = {"model": str(task.model), "data": f"{dataset.name}, {dataset.split}"}
    if not math.isnan(run.ms_per_picture):  # all detections were there
        facts["time"] = f"{run.ms_per_picture:.1f} ms per image"
    if not (args.json or args.report or wants_result(args)):
        summary = summarise(run.pictures, run.found, **options)
        report(format_summary(summary), write_tables(args, summary))
        return
    analysis = analyse(run.pictures, run.found, **options)
    written = write_tables(args, analysis.summary, analysis=analysis, facts=facts)
    if args.report:
        write_report(
            args.report,
            analysis,
            pictures=dataset_pictures(dataset),
            title=task.model.name,
            facts=facts,
        )
        written.append(args.report)
    report(f"{format_summary(analysis.summary)}\n\n{format_errors(analysis.errors)}", written)


def write_tables(
    args: Namespace,
    summary: dict[str, Any],
    *,
    analysis: "Analysis | None" = None,
    facts: dict[str, str] | None = None,
) -> list[str]:
    """Write the files of --json and --csv, and return their paths."""
    from keras_retinanet.evaluation.summary import write_summary_csv, write_summary_json

    written = []
    if wants_result(args) and analysis is not None:
        add_result(args, metrics=analysis.to_plain())
    if args.json and analysis is not None:
        title = {"title": (facts or {}).get("model", args.detections), "facts": facts or {}}
        write_summary_json(analysis.to_plain() | title, args.json)
        written.append(args.json)
    if args.csv:
        write_summary_csv(summary, args.csv)
        written.append(args.csv)
    return written


def report(text: str, written: list[str]) -> None:
    """Print the metrics, and the files that hold them, once these are written."""
    print(text)
    for path in written:
        print(f"Wrote {path}")
