"""Draw images and boxes as training sees them, after augmentation and padding.

A box is green, with its number of matched anchors, or red if no anchor is matched to it, or gray
if it is ignored.

Examples:
    keras_retinanet dataset view voc --data_dir bccd --config bccd
    keras_retinanet dataset view coco --data_dir my_coco --image_size 640 --count 30 --out seen
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from keras_retinanet.commands.common import add_data_arguments, add_recipe_arguments, recipe_config
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.tensorflow_import import import_tensorflow
from keras_retinanet.config import Config
from keras_retinanet.errors import UserError, counted
from keras_retinanet.files.targets import check_target
from keras_retinanet.terminal import printable

DEFAULT_COUNT = 12
DEFAULT_OUT = "view"
SHEET = "sheet.png"
# Flag -> key of the configuration.
VIEW_KEYS = {"split": "data.split", "seed": "train.seed"}


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `dataset view` to its parser."""
    add = parser.add_argument
    add_data_arguments(parser)
    add_recipe_arguments(parser)
    add("--split", help="split to draw (default: the training split)")
    add("--seed", type=int, metavar="N", help="seed of data order and augmentation")
    add(
        "--count",
        type=int,
        default=DEFAULT_COUNT,
        metavar="N",
        help="number of images (default: 12)",
    )
    add(
        "--out",
        metavar="DIR",
        default=DEFAULT_OUT,
        help=f"folder to write (default: {DEFAULT_OUT})",
    )


def run(args: Namespace) -> int:
    """Write the images and the sheet; print how many boxes have no matched anchor."""
    if args.count < 1:
        raise UserError(f"Expected at least one image. Received: --count {args.count}.")
    config = recipe_config(args, VIEW_KEYS)

    import_tensorflow()
    from keras_retinanet.data.loading import load_train_val
    from keras_retinanet.doctor.label_view import (
        add_legend,
        contact_sheet,
        draw_labels,
        training_pictures,
    )
    from keras_retinanet.drawing.pictures import save_picture

    tile = config.model.tiles.side
    dataset, _ = load_train_val(config.data, config.train.seed, tile=tile)
    pictures = training_pictures(dataset, config, args.count)
    out, width = Path(args.out), len(str(len(pictures)))
    paths = [out / f"{number:0{width}d}.png" for number in range(1, len(pictures) + 1)]
    for path in (*paths, out / SHEET):
        check_target(path, "picture", flag="--out")
    for path, picture in zip(paths, pictures, strict=True):
        save_picture(add_legend(draw_labels(picture, dataset.class_names)), path)
        boxes, missed = counted((~picture.ignore).sum(), "box"), picture.missed.sum()
        print(f"{path}  {printable(picture.name)}: {boxes}, {missed} without an anchor")
    sheet = contact_sheet(pictures, dataset.class_names)
    save_picture(add_legend(sheet), out / SHEET)
    print(f"{out / SHEET}  all of them")
    add_result(args, sheet=out / SHEET, images=[*map(_as_object, paths, pictures)])
    _summarize(pictures, dataset, config)
    return 0


def _as_object(path: Path, picture) -> dict[str, object]:
    boxes, missed = (~picture.ignore).sum(), picture.missed.sum()
    return {"file": path, "name": picture.name, "boxes": boxes, "without_anchor": missed}


def _summarize(pictures, dataset, config: Config) -> None:
    """Print how many boxes of all images have no matched anchor, by class."""
    for line in dataset.problems.lines():
        print(f"  {line}")
    taught = sum(int((~picture.ignore).sum()) for picture in pictures)
    missed = [
        dataset.class_names[label]
        for picture in pictures
        for label in picture.classes[picture.missed]
    ]
    ignored = sum(int(picture.ignore.sum()) for picture in pictures)
    print(f"{counted(taught, 'box')}, {len(missed)} without an anchor, and {ignored} ignored")
    if missed:
        counts = sorted({name: missed.count(name) for name in missed}.items(), key=lambda p: -p[1])
        print("without: " + ", ".join(f"{printable(name)} {count}" for name, count in counts))
        print("`keras_retinanet anchors fit` finds anchors that reach more of them.")
