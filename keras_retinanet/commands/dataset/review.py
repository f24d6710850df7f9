"""Find labels that a model contradicts, decide about each on a page, and write a corrected copy.

Examples:
    keras_retinanet dataset review --data_dir bccd --model runs/bccd
    keras_retinanet dataset review --data_dir bccd --folds 4 --minutes 20
    keras_retinanet dataset review --data_dir bccd --apply decisions.json --out bccd_corrected

The page shows missing boxes, wrong classes, loose boxes, doubles and boxes on nothing, the most
sure and costly first. The originals are not changed.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_retinanet.commands.common import (
    add_data_arguments,
    add_model_argument,
    add_recipe_arguments,
    add_trust_argument,
    require_there,
    with_source,
)
from keras_retinanet.commands.dataset.convert import split_names, split_results, write_splits
from keras_retinanet.commands.default_model import OTHERWISE, find_any_model, introduce, shown_name
from keras_retinanet.commands.forms import FORMS
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.tensorflow_import import import_for_inference, import_tensorflow
from keras_retinanet.config import Config, DataConfig
from keras_retinanet.errors import UserError, counted
from keras_retinanet.files.targets import check_new_folder, check_target

if TYPE_CHECKING:
    from keras_retinanet.data.records import Dataset
    from keras_retinanet.evaluation.review.findings import Finding
    from keras_retinanet.evaluation.runner import DetectorRun

DEFAULT_OUT = "review.html"
DEFAULT_LIMIT = 300
LENIENT = (
    "Images that the model was trained on are judged leniently: it has learned their labels, "
    "mistakes too. `--folds 4` judges each image by a model that has not seen it."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `dataset review` to its parser."""
    add_data_arguments(parser)
    add_model_argument(parser, otherwise=OTHERWISE)
    add_trust_argument(parser)
    add = parser.add_argument
    add("--split", metavar="A,B", help="review only these splits (default: all)")
    add(
        "--limit",
        type=int,
        default=DEFAULT_LIMIT,
        metavar="N",
        help=f"show at most N findings ({DEFAULT_LIMIT})",
    )
    add("--out", metavar="PATH", help=f"page to write ({DEFAULT_OUT}); with --apply, the folder")
    add("--apply", metavar="FILE", help="write the data set corrected by the decisions of the page")
    add("--to", choices=FORMS, help="with --apply: format to write (that of the data set)")
    folds = parser.add_argument_group("models trained on the other images")
    folds.add_argument(
        "--folds",
        type=int,
        metavar="K",
        help="train K models, each on K - 1 parts of the images, and judge the others by it",
    )
    folds.add_argument("--minutes", type=float, metavar="M", help="length of each training")
    add_recipe_arguments(folds)  # type: ignore[arg-type]  # a group adds arguments as a parser


def run(args: Namespace) -> int:
    """Write the page, or with --apply the corrected copy; return the exit code."""
    _check_flags(args)
    require_there(args)
    import_tensorflow()

    from keras_retinanet.data.loading import load_dataset

    config = with_source(Config(), args).data
    splits = {name: load_dataset(config, name) for name in split_names(config, args.split)}
    if args.apply:
        _apply(args, config, splits)
    else:
        _review(args, splits)
    return 0


def _check_flags(args: Namespace) -> None:
    if args.limit < 1:
        raise UserError(f"Expected --limit of 1 or more. Received: {args.limit}.")
    reviewing = [flag for flag in ("model", "folds") if getattr(args, flag) is not None]
    if args.apply and (reviewing or not args.out):
        received = f"--{reviewing[0]}" if reviewing else "no --out"
        raise UserError(
            f"Expected --apply with --out DIR and without a model. Received: {received}."
        )
    if args.to and not args.apply:
        raise UserError("Expected --to with --apply. Received: --to alone.")
    if len(reviewing) == 2:
        raise UserError("Expected --model or --folds. Received: both. --folds trains its own.")
    training = [flag for flag in ("minutes", "config", "set", "image_size") if getattr(args, flag)]
    if training and args.folds is None:
        raise UserError(f"Expected --{training[0]} with --folds. Received: no --folds.")
    if args.apply:
        check_new_folder(args.out)
    else:
        check_target(args.out or DEFAULT_OUT, "page", flag="--out")


def _review(args: Namespace, splits: "dict[str, Dataset]") -> None:
    from keras_retinanet.evaluation.review.findings import FINDING_KINDS, find_label_errors
    from keras_retinanet.evaluation.review.judged_data import reviewed_images

    dataset, places = reviewed_images(splits)
    out = args.out or DEFAULT_OUT
    if args.folds is None:
        run, model = _judged(args, dataset)
        notes = [LENIENT]
        print(LENIENT.replace("`", ""))
    else:
        from keras_retinanet.commands.dataset.review_folds import judged_by_folds

        run = judged_by_folds(args, dataset, folder=Path(f"{Path(out).with_suffix('')}_folds"))
        model, notes = f"{args.folds} models, each of the other images", []
    findings = find_label_errors(run.pictures, run.found)
    boxes = counted(int(run.pictures.box_counts.sum()), "label")
    images = counted(len(dataset.records), "image")
    facts = {"data": f"{images}, {boxes}", "judged by": model}
    shown, plain = _write(
        out, dataset, run, findings[: args.limit], places, facts=facts, notes=notes
    )
    print(f"{images}, {boxes}: {counted(len(findings), 'finding')}")
    counts = {kind: sum(each.kind == kind for each in findings) for kind in FINDING_KINDS}
    for kind, text in FINDING_KINDS.items():
        print(f"  {kind:8s} {counts[kind]:6,}  {text}")
    add_result(args, page=out, counts=counts, findings=plain)
    print(f"Decide about the first {shown:,}: {out}" if shown else f"No label is doubted: {out}")


def _write(
    out: str,
    dataset: "Dataset",
    run: "DetectorRun",
    findings: "list[Finding]",
    places: list[tuple[str, str]],
    *,
    facts: dict[str, str],
    notes: list[str],
) -> tuple[int, list[dict[str, Any]]]:
    """Write the page; return how many findings it shows, and all of `findings` as plain values."""
    from keras_retinanet.evaluation.report.gallery import dataset_pictures
    from keras_retinanet.evaluation.review.review_page import plain_findings, write_review

    plain = plain_findings(findings, run.pictures, run.found, places=places)
    shown = write_review(
        out,
        findings,
        plain,
        pictures=run.pictures,
        images=dataset_pictures(dataset),
        title=f"{dataset.name}, {dataset.split}",
        facts=facts,
        notes=notes,
    )
    return shown, [decision.model_dump(mode="json") for decision in plain]


def _judged(args: Namespace, dataset: "Dataset") -> "tuple[DetectorRun, str]":
    """Return the detections of the given model, and its name."""
    path = find_any_model(args.model)
    if args.model is None:
        introduce(path)
    import_for_inference()
    from keras_retinanet.evaluation.runner import run_detector
    from keras_retinanet.exporting.exported import load_detector

    model = load_detector(path, trust=args.trust)
    return run_detector(model, dataset, batch_size=Config().evaluate.batch_size), shown_name(path)


def _apply(args: Namespace, config: DataConfig, splits: "dict[str, Dataset]") -> None:
    from keras_retinanet.evaluation.review.decisions import corrected, read_decisions

    form = args.to or config.source
    if form not in FORMS:
        raise UserError(
            f"Expected --to with one of {', '.join(FORMS)}. Received: no --to, and {config.source} "
            "data, which no writer writes."
        )
    accepted = read_decisions(args.apply).accepted
    if not accepted:
        raise UserError(
            f"Expected decisions with an accepted finding. Received: {args.apply} without. "
            "Accept some on the page, and save again."
        )
    splits = corrected(splits, accepted)
    lost = write_splits(splits, args.out, form)
    results = split_results(splits)
    add_result(args, folder=args.out, format=form, applied=len(accepted), splits=results, lost=lost)
    print(f"{counted(len(accepted), 'accepted finding')} applied; the originals are as they were.")
