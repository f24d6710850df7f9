"""Convert a data set to another format: coco, voc, csv, yolo, tfrecord, labelstudio or cvat.

Examples:
    keras_retinanet dataset convert bccd bccd_coco --to coco
    keras_retinanet dataset convert coco shards --to tfrecord --split train,val --workers 8
    keras_retinanet dataset convert labels.csv out --to yolo --from csv --classes cat,dog

SRC is a folder or an annotation file, whose format is recognized unless --from names it. DST must
be new or empty. Prints what was repaired, skipped, or does not fit the new format.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_retinanet.commands.forms import FORMS
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.tensorflow_import import import_tensorflow
from keras_retinanet.config import DataConfig
from keras_retinanet.errors import UserError, counted
from keras_retinanet.terminal import progress

if TYPE_CHECKING:
    from keras_retinanet.data.records import Dataset

# The source that has no files.
EMBEDDED = "shapes"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags to the parser."""
    add = parser.add_argument
    add("src", metavar="SRC", help="folder or annotation file (or shapes, the embedded scenes)")
    add("dst", metavar="DST", help="folder to write, new or empty")
    add("--to", required=True, choices=FORMS, help="format to write")
    add("--from", dest="source", metavar="SOURCE", help="format of SRC (default: recognized)")
    add("--name", help="tfds: name of the data set, such as coco/2017; voc: year of the devkit")
    add("--images", metavar="DIR", help="image folder of an annotation file")
    add("--class_file", metavar="FILE", help="csv: file of classes and their ids")
    add("--split", metavar="A,B", help="convert only these splits (default: all)")
    add("--classes", metavar="A,B", help="keep only these classes, in this order")
    add("--shards", type=int, metavar="N", help="tfrecord: number of files per split")
    add(
        "--workers",
        type=int,
        metavar="N",
        help="tfrecord: number of processes (default: one per core)",
    )
    add("--strict", action="store_true", help="stop at the first problem in the data")
    add("--allow_outside", action="store_true", help="read images outside of SRC")
    add("--units", choices=("pixels", "fractions", "percent"), help="unit of the boxes of SRC")
    add("--unmatched", choices=("refuse", "accept"), help="images and labels without each other")


def run(args: Namespace) -> int:
    """Read the splits and write them; return the exit code."""
    for flag in ("shards", "workers"):
        count = getattr(args, flag)
        if count is not None and count < 1:
            raise UserError(f"Expected --{flag} of 1 or more. Received: {count}. Raise it.")
    import_tensorflow()

    from keras_retinanet.data.loading import load_dataset

    config = source_config(args)
    splits = {name: load_dataset(config, name) for name in split_names(config, args.split)}
    for name, dataset in splits.items():
        boxes = sum(len(record.boxes) for record in dataset.records)
        ignored = sum(int(record.ignore.sum()) for record in dataset.records)
        print(
            f"{name}: {counted(len(dataset.records), 'image')}, {counted(boxes, 'box')} "
            f"({ignored} to ignore), {counted(len(dataset.class_names), 'class')}"
        )
    lost = write_splits(splits, args.dst, args.to, shards=args.shards, workers=args.workers)
    add_result(args, folder=args.dst, format=args.to, splits=split_results(splits), lost=lost)
    return 0


def split_results(splits: "dict[str, Dataset]") -> list[dict[str, Any]]:
    """Return what `--json` says of each split."""
    return [
        {
            "name": name,
            "images": len(dataset.records),
            "boxes": sum(len(record.boxes) for record in dataset.records),
            "classes": list(dataset.class_names),
            "problems": {kind: list(names) for kind, names in dataset.problems.items()},
        }
        for name, dataset in splits.items()
    ]


def write_splits(splits: "dict[str, Dataset]", folder: str, form: str, **options: Any) -> list[str]:
    """Write splits; print their problems, and print and return what the form cannot hold.

    Args:
        options: of `WriteOptions`.
    """
    from keras_retinanet.data.writers import write_dataset
    from keras_retinanet.data.writers.shared import WriteOptions

    total = sum(len(dataset.records) for dataset in splits.values())
    with progress(total=total, unit="image", desc="write") as bar:
        lost = write_dataset(splits, folder, form, WriteOptions(tick=bar.update, **options))
    for name, dataset in splits.items():
        for line in dataset.problems.lines():
            print(f"  {name}: {line}")
    for sentence in lost:
        print(f"  {form}: {sentence}")
    print(f"Wrote {folder} as {form}.")
    return list(lost)


def source_config(args: Namespace) -> DataConfig:
    """Return where and how to read SRC; print what it was recognized as.

    Raises:
        UserError: SRC does not exist, or its format is unknown.
    """
    from keras_retinanet.data.sources.recognition import recognise

    src = Path(args.src)
    keys: dict[str, Any]
    if args.source == EMBEDDED or (args.src == EMBEDDED and not src.exists()):
        keys = {"source": EMBEDDED}
    elif not src.exists():
        raise UserError(
            f"Expected a folder or an annotation file. Received: {src}, which does not exist."
        )
    elif args.source is None:
        found, sentence = recognise(src)
        keys = dict(found)
        print(sentence)
    else:
        keys = {"source": args.source, "data_dir" if src.is_dir() else "annotations": str(src)}
    for flag in ("name", "images", "class_file", "units", "unmatched"):
        if getattr(args, flag) is not None:
            keys[flag] = getattr(args, flag)
    keys |= {"strict": args.strict, "allow_outside": args.allow_outside}
    return DataConfig(**keys, classes=_words(args.classes))


def split_names(config: DataConfig, wanted: str | None) -> list[str]:
    """Return the names of the splits to convert; "all" for a data set without splits."""
    from keras_retinanet.data.loading import SOURCES
    from keras_retinanet.data.splits import match_split

    if config.source not in SOURCES:
        raise UserError(
            f"Expected one of the data sources {', '.join(SOURCES)}. Received: --from "
            f"{config.source}. Name one of them, or remove --from."
        )
    available = SOURCES[config.source].splits(config) or ["all"]
    if wanted is None:
        return available
    return [match_split(name, available, str(config.data_dir)) for name in _words(wanted)]


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",")) if text else ()
