"""Evaluate a model, an exported file or a file of detections: metrics, errors, a report page.

Examples:
    keras_retinanet evaluate voc --data_dir bccd --split test
    keras_retinanet evaluate voc --data_dir bccd --model model.tflite --report report.html
    keras_retinanet evaluate coco --data_dir coco --out found.json --workers 4
    keras_retinanet evaluate coco --data_dir coco --out found.json --shard 2/8
    keras_retinanet evaluate coco --annotations instances.json --detections results.json
"""

import argparse
import math
import os
from argparse import ArgumentParser, Namespace
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_retinanet.commands.common import (
    add_data_arguments,
    add_model_argument,
    add_trust_argument,
    find_model,
    flag_overrides,
    run_config,
    with_source,
)
from keras_retinanet.commands.detecting import JOURNAL_SUFFIX, Task, detected
from keras_retinanet.commands.evaluation_shards import check_shard_flags, merged, run_shard
from keras_retinanet.commands.figures import report, write_figures, write_tables
from keras_retinanet.commands.json_output import (
    add_json_argument,
    add_result,
    wants_result,
)
from keras_retinanet.commands.passes import PASS_FLAGS, add_pass_arguments, check_passes
from keras_retinanet.commands.sharding import add_shard_arguments
from keras_retinanet.commands.tensorflow_import import import_for_inference, import_tensorflow
from keras_retinanet.config import Config
from keras_retinanet.config.files import with_overrides
from keras_retinanet.errors import UserError, counted
from keras_retinanet.files.targets import check_target
from keras_retinanet.files.text_files import read_json
from keras_retinanet.terminal import printable

if TYPE_CHECKING:
    from keras_retinanet.data.records import Dataset
    from keras_retinanet.evaluation.runner import DetectorRun

# How many images --pictures draws, the first of the split.
DRAWN = 12
# Those of evaluation.coco_figures, which --help must not wait for.
ENGINES = ("auto", "hotcoco", "pycocotools")

# Flag -> key of the configuration.
EVALUATE_KEYS = {"split": "evaluate.split", "batch_size": "evaluate.batch_size"}
# Those that mean nothing where a results file is scored.
MODEL_FLAGS = "data_dir name images classes model split batch_size out report pictures".split()
MODEL_FLAGS += ["limit", "workers", "trust", "shard", "merge", *PASS_FLAGS]
# Flag that names a file to write -> its kind.
KINDS = {"out": "results", "json": "figures", "csv": "class table", "report": "page"}
# Files with metrics, which need a split with annotations.
FIGURE_FLAGS = ("json", "csv", "report")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `evaluate` to its parser."""
    add_data_arguments(parser)
    add_model_argument(parser)
    add_trust_argument(parser)
    add = parser.add_argument
    add("--split", help="split to evaluate on (default: the validation split)")
    add("--batch_size", type=int, metavar="B", help="images per batch; changes no metric")
    add("--limit", type=_count, metavar="N", help="evaluate only the first N images of the split")
    add("--workers", type=_count, metavar="N", help="number of processes that share the images (1)")
    add(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="library that computes COCO's metrics (auto)",
    )
    add("--detections", metavar="FILE", help="evaluate this COCO results file without a model")
    add("--out", metavar="FILE", help="write the detections as COCO results JSON")
    add_json_argument(parser, file="write all metrics; `report` compares such files")
    add("--csv", metavar="FILE", help="write the metrics of each class")
    add("--report", metavar="FILE", help="write a page with metrics, curves, errors and images")
    add("--pictures", metavar="DIR", help=f"folder for {DRAWN} images with their detections")
    add_shard_arguments(parser)
    add_pass_arguments(parser)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on. Received: {text!r}")
    return int(text)


def run(args: Namespace) -> int:
    """Print the metrics, or write the detections of a split without annotations.

    A killed call resumes where it stopped when it is run again: its detections are kept beside the
    first file that it writes, or in the run folder of the model.
    """
    _check_targets(args)
    if args.detections:
        return _score_file(args)
    check_passes(args)
    check_shard_flags(args)
    path = find_model(args.model)
    trained = run_config(path)
    config = config_from_args(args, trained)
    import_for_inference()
    passes = Namespace(**{flag: getattr(args, flag) for flag in PASS_FLAGS})
    task = Task(path, config, trained, passes=passes, limit=args.limit, trust=args.trust)
    dataset = task.dataset()
    if args.shard:
        return run_shard(args, task, dataset)
    _check_annotations(args, dataset)
    first = "the first " if args.limit else ""
    count = counted(len(dataset.records), "image")
    print(f"{path} on {dataset.name}, {dataset.split}: {first}{count}")
    _warn_of_crowds(args, path, dataset)
    with _found(args, task, dataset) as found:
        if found.unreadable:
            names = printable(", ".join(found.unreadable))
            print(f"{len(found.unreadable)} could not be read: {names}")
        for kind in ("picture cut off", "picture damaged"):
            if kind in dataset.problems:
                print(dataset.problems.line(kind))
        add_result(args, images=len(dataset.records), unreadable=found.unreadable)
        out = _write_detections(args.out, dataset, found)
        add_result(args, model=path, data=dataset.name, split=dataset.split, out=out)
        if dataset.has_annotations:
            write_figures(args, task, dataset, found)
        if args.pictures:
            _draw(task.detector(), dataset, Path(args.pictures), config.predict.draw_threshold)
    if not math.isnan(found.ms_per_picture):
        print(f"Median {found.ms_per_picture:.1f} ms per image")
    return 0


def _check_targets(args: Namespace) -> None:
    for flag, kind in KINDS.items():
        if getattr(args, flag):
            check_target(getattr(args, flag), kind, flag=f"--{flag}")
    for number in range(DRAWN if args.pictures else 0):
        check_target(_drawing(Path(args.pictures), number), "picture", flag="--pictures")


def _check_annotations(args: Namespace, dataset: "Dataset") -> None:
    given = [f"--{flag}" for flag in FIGURE_FLAGS if getattr(args, flag)]
    if given and not dataset.has_annotations:
        raise UserError(
            f"Expected a split with annotations for {', '.join(given)}. Received: {dataset.name}, "
            f"{dataset.split}, which has none. Write its detections with --out alone."
        )
    if not dataset.has_annotations and not args.out:
        check_target(_default_out(dataset), "results", flag="--out")


def _warn_of_crowds(args: Namespace, model: Path, dataset: "Dataset") -> None:
    """Print a line if images have more objects than the model gives detections."""
    from keras_retinanet.evaluation.crowds import crowd_warning, most_objects
    from keras_retinanet.exporting.exported import stored_config

    if args.tile:  # the limit is one of each tile
        return
    config = stored_config(model)
    tiles = config.tiles if args.tile is None else None
    for line in crowd_warning(most_objects(dataset, tiles), config.detections.limit):
        print(line)


def _found(
    args: Namespace, task: Task, dataset: "Dataset"
) -> "AbstractContextManager[DetectorRun]":
    """Return the context of the detections, which are kept until it is left without an error."""
    if args.merge:
        return nullcontext(merged(task, dataset, Path(args.out)))
    journal, shared = _journal(args, task.model, task.trained)
    return detected(task, dataset, journal=journal, shared=shared, workers=args.workers or 1)


def _journal(args: Namespace, model: Path, trained: Config | None) -> tuple[Path | None, bool]:
    """Return where to keep the detections until the results are written; None: nowhere.

    The second value is whether another evaluation may be under way there: where no file is named,
    nothing is written that both would write.
    """
    for file in (args.out, args.json, args.csv, args.report):
        if file:
            return Path(file + JOURNAL_SUFFIX), False
    if trained is not None and os.access(model.parent, os.W_OK):
        return model.parent / f"evaluation{JOURNAL_SUFFIX}", True
    return None, False


def _default_out(dataset: "Dataset") -> str:
    return f"detections_{dataset.split}_results.json"


def _write_detections(out: str | None, dataset: "Dataset", found: "DetectorRun") -> str | None:
    """Write the detections if there is a file for them; return its name."""
    from keras_retinanet.evaluation.results import write_coco_json

    if not dataset.has_annotations:
        out = out or _default_out(dataset)
        print(
            "This split has no annotations to score with: the file is for a server that has them."
        )
    if out:
        write_coco_json(found.detections, out)
        print(f"Wrote {counted(len(found.found.scores), 'detection')} to {out}")
    return out


def _score_file(args: Namespace) -> int:
    given = [flag for flag in MODEL_FLAGS if getattr(args, flag) not in (None, False)]
    if given or not args.annotations:
        raise UserError(
            "Expected --detections with --annotations alone: no model and no images are read. "
            f"Received: {'also ' + ', '.join(given) if given else 'no --annotations'}."
        )
    import_tensorflow()
    from keras_retinanet.evaluation.metrics.coco_metric import format_metrics, score_files
    from keras_retinanet.evaluation.report.report_page import analyse
    from keras_retinanet.evaluation.tables import found_from_results, set_from_annotations

    text = format_metrics(score_files(args.annotations, args.detections, engine=args.engine))
    written = []
    if args.json or args.csv or wants_result(args):
        contents = [read_json(file) for file in (args.annotations, args.detections)]
        pictures = set_from_annotations(contents[0])
        analysis = analyse(pictures, found_from_results(contents[1], pictures), engine=args.engine)
        written = write_tables(args, analysis.summary, analysis=analysis)
    report(text, written)
    return 0


def config_from_args(args: Namespace, trained: Config | None) -> Config:
    """Return the configuration to evaluate with: that of the model's run, with the flags' changes.

    Args:
        args: the parsed flags.
        trained: the run's configuration; None for a model file outside of a run.
    """
    if trained is None and not (args.dataset or args.data_dir or args.annotations):
        raise UserError(
            "Expected a dataset, for this model does not lie in a run folder that names one. "
            "Received: none. Write for example: evaluate --data_dir DIR --model FILE."
        )
    config = with_source(trained or Config(), args)
    return with_overrides(config, flag_overrides(args, EVALUATE_KEYS))


def _drawing(folder: Path, index: int) -> Path:
    return folder / f"{index + 1:02d}.png"


def _draw(detector: Any, dataset: "Dataset", folder: Path, wanted: float | None) -> None:
    """Write the first images of `dataset` with their detections.

    Args:
        wanted: minimum score of a drawn box; None: the model's own.
    """
    from keras_retinanet.drawing.pictures import draw_detections, save_picture
    from keras_retinanet.evaluation.rasters import opened_image
    from keras_retinanet.inference.rasters import as_drawn, detect_each
    from keras_retinanet.modeling.draw_threshold import draw_threshold

    threshold = draw_threshold(detector.metadata, wanted)
    for index in range(min(DRAWN, len(dataset.records))):
        try:
            with opened_image(dataset, index) as image:
                (found,) = detect_each(detector, [image], batch_size=8)
                if isinstance(found, UserError):
                    raise found
                shown = as_drawn(image, found)
        except (UserError, OSError):  # the evaluation has named it already
            continue
        save_picture(draw_detections(*shown, threshold=threshold), _drawing(folder, index))
    print(f"Drew detections of score {threshold:.3f} or more in {folder}/")
