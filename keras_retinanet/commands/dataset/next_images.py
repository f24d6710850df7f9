"""Choose which unlabeled images to label next, and write them with the model's boxes as a start.

Examples:
    keras_retinanet dataset next new_images/ --count 40 --to labelstudio --out to_label
    keras_retinanet dataset next "camera/**/*.jpg" --model runs/bccd --count 100

Chosen are images that the model is uncertain of and that look unlike each other.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_retinanet.commands.choosing import chosen, thresholds
from keras_retinanet.commands.common import add_model_argument, add_trust_argument, run_config
from keras_retinanet.commands.dataset.convert import write_splits
from keras_retinanet.commands.default_model import OTHERWISE, find_any_model, introduce, shown_name
from keras_retinanet.commands.forms import FORMS
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.predict_files import find_pictures, is_video
from keras_retinanet.commands.predict_videos import say
from keras_retinanet.commands.tensorflow_import import import_for_inference
from keras_retinanet.config import Config
from keras_retinanet.errors import UserError, counted
from keras_retinanet.files.targets import check_new_folder
from keras_retinanet.inference.batching import bounded_batches
from keras_retinanet.terminal import printable, progress

if TYPE_CHECKING:
    import numpy as np

    from keras_retinanet.inference.labels import Found

DEFAULT_COUNT = 40
DEFAULT_OUT = "to_label"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `dataset next` to its parser."""
    add = parser.add_argument
    add("images", nargs="+", metavar="IMAGE", help="file, folder or pattern of unlabeled images")
    add_model_argument(parser, otherwise=OTHERWISE)
    add_trust_argument(parser)
    add(
        "--count",
        type=int,
        default=DEFAULT_COUNT,
        metavar="N",
        help=f"number of images to choose ({DEFAULT_COUNT})",
    )
    add(
        "--out",
        default=DEFAULT_OUT,
        metavar="DIR",
        help=f"folder to write, new or empty ({DEFAULT_OUT}/)",
    )
    add("--to", choices=FORMS, default="coco", help="format to write (coco)")
    add(
        "--threshold",
        type=thresholds,
        default={},
        metavar="S[,CLASS=S]",
        help="minimum score of a box that is written (the model's own); there the model is most "
        "uncertain",
    )
    add("--classes", metavar="A,B", help="look at and write only the detections of these classes")


def run(args: Namespace) -> int:
    """Write the chosen images and print them; return the exit code."""
    if args.count < 1:
        raise UserError(f"Expected --count of 1 or more. Received: {args.count}.")
    check_new_folder(args.out)
    paths = [path for path in find_pictures(args.images) if not is_video(path)]
    if not paths:
        raise UserError("Expected images. Received: videos alone. Save frames as images.")
    model_path = find_any_model(args.model)
    if args.model is None:
        introduce(model_path)
    import_for_inference()
    from keras_retinanet.exporting.exported import load_detector
    from keras_retinanet.inference.labeling_order import next_images
    from keras_retinanet.inference.labels import labels_dataset
    from keras_retinanet.modeling.tiling import with_own_tiles

    config = run_config(model_path) or Config()
    model = with_own_tiles(load_detector(model_path, trust=args.trust))
    choice = chosen(args, model, usual=config.predict.draw_threshold)
    found, doubts, looks = _looked_at(model, paths, choice, config.predict.batch_size)
    order = next_images(doubts, looks, args.count)
    labels = [
        found[place]._replace(found=found[place].found.with_score(choice.threshold))
        for place in order
    ]
    for number, (place, each) in enumerate(zip(order, labels, strict=True), start=1):
        boxes = counted(len(each.found), "box")
        print(printable(f"{number:4d}  {each.path}  uncertainty {doubts[place]:.3f}, {boxes}"))
    dataset = labels_dataset(labels, model.class_names, model.class_ids, classes=choice.classes)
    write_splits({dataset.split: dataset}, args.out, args.to, model=shown_name(model_path))
    chosen_images = [
        {"file": str(each.path), "uncertainty": float(doubts[place]), "boxes": len(each.found)}
        for place, each in zip(order, labels, strict=True)
    ]
    add_result(args, folder=args.out, format=args.to, images=chosen_images)
    print(f"{len(order)} of {counted(len(found), 'image')} chosen by {shown_name(model_path)}")
    return 0


def _looked_at(
    model: Any, paths: list[Path], choice: Any, batch_size: int
) -> "tuple[list[Found], np.ndarray, np.ndarray]":
    """Return the detections of the images that can be read, uncertainties (M,), looks (M, 192)."""
    import numpy as np

    from keras_retinanet.inference.labeling_order import look, uncertainty
    from keras_retinanet.inference.labels import Found

    found: list[Found] = []
    doubts, looks = [], []
    with progress(total=len(paths), desc="detect", unit="image") as bar:
        for batch in bounded_batches(_read(paths), batch_size, lambda item: item[1].size // 3):
            results = model.detect([image for _, image in batch], batch_size=batch_size)
            for (path, image), detections in zip(batch, results, strict=True):
                kept = detections.of_classes(*choice.classes)
                found.append(Found(path, image.shape[:2], kept))
                doubts.append(uncertainty(kept, choice.threshold))
                looks.append(look(image))
            bar.update(len(batch))
    if not found:
        raise UserError(f"None of {counted(len(paths), 'image')} could be read.")
    return found, np.array(doubts), np.array(looks)


def _read(paths: list[Path]) -> "Iterator[tuple[Path, np.ndarray]]":
    """Yield each image, RGB (H, W, 3); report those that cannot be read."""
    from keras_retinanet.files.images.decoding import decode_image
    from keras_retinanet.files.images.headers import read_picture

    for path in paths:
        try:
            image = decode_image(read_picture(path))
        except (UserError, OSError) as error:
            say(f"skipped {path}: {error}")
            continue
        yield path, image
