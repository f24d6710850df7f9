"""Score a model, an exported file, or a file of detections, with COCO's twelve figures.

Examples:
    keras_retinanet evaluate voc --data_dir bccd --split test
    keras_retinanet evaluate voc --data_dir bccd --split test --model model.tflite
    keras_retinanet evaluate coco --annotations instances.json --detections results.json
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from keras_retinanet.commands.common import (
    add_data_arguments,
    add_model_argument,
    find_model,
    flag_overrides,
    import_tensorflow,
    run_config,
    with_source,
)
from keras_retinanet.config import Config
from keras_retinanet.config_files import with_overrides
from keras_retinanet.errors import UserError

if TYPE_CHECKING:
    from keras_retinanet.data.records import Dataset
    from keras_retinanet.exporting.detectors import ExportedDetector
    from keras_retinanet.model import RetinaNet

# How many pictures --pictures draws, the first of the split.
DRAWN = 12

# Flag -> key of the configuration.
EVALUATE_KEYS = {"split": "evaluate.split", "batch_size": "evaluate.batch_size"}
# Those that mean nothing where a results file is scored.
MODEL_FLAGS = "data_dir name images classes model split batch_size out pictures".split()


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `evaluate` to its parser."""
    add_data_arguments(parser)
    add_model_argument(parser)
    add = parser.add_argument
    add("--split", help="split to score on (default: the validation part)")
    add("--batch_size", type=int, metavar="B", help="pictures at a time; changes no figure")
    add("--detections", metavar="FILE", help="score this results file, without a model")
    add("--out", metavar="FILE", help="write the detections as COCO results JSON")
    add("--pictures", metavar="DIR", help=f"draw the detections of {DRAWN} pictures there")


def run(args: Namespace) -> int:
    """Print the twelve figures, or write the detections of a split without annotations."""
    if args.detections:
        return _score_file(args)
    path = find_model(args.model)
    trained = run_config(path)
    config = config_from_args(args, trained)

    import_tensorflow()
    from keras_retinanet.evaluation import (
        coco_metrics,
        format_metrics,
        ground_truth,
        write_coco_json,
    )
    from keras_retinanet.evaluation.runner import run_detector
    from keras_retinanet.exporting.exported import load_detector

    dataset = load_split(config, trained)
    print(f"{path} on {dataset.name}, {dataset.split}: {len(dataset.records)} pictures")
    model = load_detector(path)
    detected = run_detector(model, dataset, batch_size=config.evaluate.batch_size)
    if detected.unreadable:
        print(f"{len(detected.unreadable)} could not be read: {', '.join(detected.unreadable)}")
    out = args.out
    if not dataset.has_annotations:
        out = out or f"detections_{dataset.split}_results.json"
        print("This split has no annotations to score with: its server takes the file.")
    if out:
        write_coco_json(detected.detections, out)
        print(f"Wrote {len(detected.detections)} detections to {out}")
    if args.pictures:
        _draw(model, dataset, Path(args.pictures), config.predict.draw_threshold)
    if dataset.has_annotations:
        print(format_metrics(coco_metrics(ground_truth(dataset), detected.detections)))
    print(f"Median {detected.ms_per_picture:.1f} ms per picture")
    return 0


def _score_file(args: Namespace) -> int:
    given = [flag for flag in MODEL_FLAGS if getattr(args, flag) is not None]
    if given or not args.annotations:
        raise UserError(
            "Expected --detections with --annotations alone: no model and no pictures are read. "
            f"Received: {'also ' + ', '.join(given) if given else 'no --annotations'}."
        )
    import_tensorflow()
    from keras_retinanet.evaluation import format_metrics, score_files

    print(format_metrics(score_files(args.annotations, args.detections)))
    return 0


def config_from_args(args: Namespace, trained: Config | None) -> Config:
    """Return the configuration to evaluate with: that of the model's run, with the flags' changes.

    Args:
        args: the parsed flags.
        trained: the run's configuration; None for a model file outside of a run.
    """
    if trained is None and args.dataset is None:
        raise UserError(
            "Expected a data set, for this model does not lie in a run folder that names one. "
            "Received: none. Write for example: evaluate voc --data_dir DIR."
        )
    config = with_source(trained or Config(), args)
    return with_overrides(config, flag_overrides(args, EVALUATE_KEYS))


def load_split(config: Config, trained: Config | None) -> "Dataset":
    """Return the split that is asked for; by default the one that training selects on."""
    from keras_retinanet.data import load_dataset

    split = config.evaluate.split
    same = trained is not None and trained.data == config.data
    if split is None and same and config.data.annotations and config.data.val_split != "none":
        split = "val"  # a file of the user's is scored whole, but for what was trained on
    return load_dataset(config.data, split, seed=config.train.seed)


def _draw(
    model: "RetinaNet | ExportedDetector", dataset: "Dataset", folder: Path, threshold: float
) -> None:
    """Write the first pictures of `dataset` with their detections of at least `threshold`."""
    from keras_retinanet.data.images import decode_image
    from keras_retinanet.visualization import draw_detections, save_picture

    for index in range(min(DRAWN, len(dataset.records))):
        try:
            image = decode_image(dataset.read_bytes(index))
        except (UserError, OSError):  # the evaluation has named it already
            continue
        drawn = draw_detections(image, model.detect(image)[0], threshold=threshold)
        save_picture(drawn, folder / f"{index + 1:02d}.png")
    print(f"Drew detections in {folder}/")
