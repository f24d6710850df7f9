"""Cut the images of a data set into overlapping tiles and write these as a data set.

Examples:
    keras_retinanet dataset tile --data_dir aerial --side 512 --out aerial_512
    keras_retinanet dataset tile voc --data_dir trees --side 800 --overlap .3 --out tiles --to yolo

Training does not need it: `--set model.tiles.side=512` trains on random windows of the images as
they are. The originals are not changed.
"""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from keras_retinanet.commands.common import add_data_arguments, require_there, with_source
from keras_retinanet.commands.dataset.convert import split_names, split_results, write_splits
from keras_retinanet.commands.forms import FORMS
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.tensorflow_import import import_tensorflow
from keras_retinanet.config import AugmentConfig, Config, TilesConfig
from keras_retinanet.errors import UserError, counted

if TYPE_CHECKING:
    from keras_retinanet.data.cutting import TileCounts

DEFAULT_EMPTY = 0.2
# Splits that measure: there an image without objects is a chance for false positives.
MEASURING = ("val", "test")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `dataset tile` to its parser."""
    add_data_arguments(parser)
    add = parser.add_argument
    add("--side", type=int, required=True, metavar="PX", help="side of a tile in pixels")
    add(
        "--overlap",
        type=float,
        default=TilesConfig.overlap,
        metavar="SHARE",
        help=f"minimum overlap of tiles ({TilesConfig.overlap:g} of a tile)",
    )
    add("--out", required=True, metavar="DIR", help="folder to write, new or empty")
    add("--to", choices=FORMS, default="coco", help="format to write (coco)")
    add("--split", metavar="A,B", help="cut only these splits (default: all)")
    add(
        "--min_visible",
        type=float,
        default=AugmentConfig.min_visible,
        metavar="SHARE",
        help="minimum fraction of its area that a box keeps in a tile; otherwise it is dropped "
        f"({AugmentConfig.min_visible:g})",
    )
    add(
        "--empty",
        type=float,
        default=DEFAULT_EMPTY,
        metavar="SHARE",
        help=f"share of the tiles without boxes to keep ({DEFAULT_EMPTY:g}); val and test keep all",
    )


def run(args: Namespace) -> int:
    """Cut the splits and write them; return the exit code."""
    for flag in ("min_visible", "empty"):
        share = getattr(args, flag)
        if not 0 <= share <= 1:
            raise UserError(f"Expected --{flag} of 0 to 1. Received: {share}.")
    require_there(args)
    import_tensorflow()

    from keras_retinanet.data.cutting import cut_dataset
    from keras_retinanet.data.loading import load_dataset
    from keras_retinanet.data.splits import find_split

    config = with_source(Config(), args).data
    splits = {}
    for name in split_names(config, args.split):
        dataset = load_dataset(config, name, in_parts=True)
        measures = any(find_split(usual, [name]) for usual in MEASURING)
        splits[name], counts = cut_dataset(
            dataset,
            side=args.side,
            overlap=args.overlap,
            min_visible=args.min_visible,
            empty=1.0 if measures or not dataset.has_annotations else args.empty,
        )
        print(f"{name}: {counts_text(counts)}")
        for line in dataset.problems.lines():
            print(f"  {line}")
    lost = write_splits(splits, args.out, args.to)
    add_result(args, folder=args.out, format=args.to, splits=split_results(splits), lost=lost)
    return 0


def counts_text(counts: "TileCounts") -> str:
    """Return the line on a split."""
    lost = f", {counted(counts.lost, 'box')} in none" if counts.lost else ""
    return (
        f"{counted(counts.images, 'image')}, {counted(counts.boxes, 'box')} -> "
        f"{counted(counts.tiles, 'tile')} with {counted(counts.tile_boxes, 'box')}{lost}; "
        f"{counts.kept} of {counted(counts.empty, 'tile')} without boxes kept"
    )
