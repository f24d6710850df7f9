"""Detect objects in pictures: draws them, and writes JSON and CSV.

Examples:
    keras_retinanet predict photo.jpg
    keras_retinanet predict photos/ 'more/*.png' --model best.keras --threshold .3
    keras_retinanet predict photo.jpg --model model.tflite
"""

import glob
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_retinanet.commands.common import (
    add_model_argument,
    find_model,
    import_tensorflow,
    run_config,
)
from keras_retinanet.config import Config
from keras_retinanet.config_files import with_overrides
from keras_retinanet.errors import UserError

# What a folder is searched for; a file named outright may have any suffix.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"})


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `predict` to its parser."""
    add = parser.add_argument
    add("images", nargs="+", metavar="IMAGE|FOLDER|GLOB", help="pictures")
    add_model_argument(parser)
    add("--out", default="predictions", metavar="DIR", help="folder to write (predictions/)")
    add(
        "--exif",
        choices=("stored", "apply"),
        default="stored",
        help="apply: turn pictures as their EXIF says; boxes are then of the turned ones",
    )
    add("--threshold", type=float, metavar="S", help="least score of a drawn box (.5)")


def run(args: Namespace) -> int:
    """Write a drawn copy of each picture, detections.json and detections.csv."""
    paths = find_pictures(args.images)
    model_path = find_model(args.model)
    config = run_config(model_path) or Config()
    if args.threshold is not None:
        config = with_overrides(config, {"predict.draw_threshold": args.threshold})

    import_tensorflow()
    from keras_retinanet.evaluation import coco_results, write_coco_json, write_csv
    from keras_retinanet.exporting.exported import load_detector
    from keras_retinanet.visualization import draw_detections, save_picture

    model, out = load_detector(model_path), Path(args.out)
    targets = drawing_paths(paths, out)
    rows, found = [], []
    for batch in _batches(_readable(paths, args.exif), config.predict.batch_size):
        results = model.detect([image for _, image in batch], batch_size=len(batch))
        for (number, image), detections in zip(batch, results, strict=True):
            drawn = draw_detections(image, detections, threshold=config.predict.draw_threshold)
            save_picture(drawn, targets[number])
            category_ids = np.take(model.class_ids, detections.classes)
            for row in coco_results(
                detections.boxes,
                detections.scores,
                category_ids=category_ids,
                image_id=number + 1,
            ):
                rows.append({**row, "file_name": str(paths[number])})
            found.append((paths[number], detections))
    if not found:
        raise UserError(f"None of {len(paths)} pictures could be read.")
    write_coco_json(rows, out / "detections.json")
    write_csv(found, out / "detections.csv")
    print(f"{len(rows)} detections in {len(found)} of {len(paths)} pictures by {model_path}")
    print(f"Pictures, detections.json and detections.csv are in {out}/")
    return 0


def find_pictures(words: Sequence[str]) -> list[Path]:
    """Return the files that words of the command line mean, each once.

    Args:
        words: each a file; a folder, whose pictures are taken in the order of their names; or a
            pattern with `*`, `?` or `**`.

    Raises:
        UserError: a word means no file.
    """
    paths: list[Path] = []
    for word in words:
        path = Path(word)
        if path.is_file():
            files = [path]
        elif path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        else:
            files = sorted(p for p in map(Path, glob.glob(word, recursive=True)) if p.is_file())
        if not files:
            raise UserError(
                f"Expected a picture, a folder of pictures or a pattern. Received: {word}."
            )
        paths += files
    return list(dict.fromkeys(paths))


def drawing_paths(paths: Sequence[Path], out: Path) -> list[Path]:
    """Return where to draw each picture: `<out>/<stem>.jpg`, numbered where that is taken.

    Taken are the pictures themselves too: predicting into their own folder overwrites none.
    """
    taken = {path.resolve() for path in paths}
    targets = []
    for path in paths:
        target, count = out / f"{path.stem}.jpg", 1
        while target.resolve() in taken:
            count += 1
            target = out / f"{path.stem}_{count}.jpg"
        taken.add(target.resolve())
        targets.append(target)
    return targets


def _readable(paths: Sequence[Path], exif: str) -> Iterator[tuple[int, np.ndarray]]:
    """Give number and RGB picture (H, W, 3) of each file; says which cannot be read.

    Args:
        exif: "apply" turns a picture as its EXIF orientation says; "stored" warns of one that has
            such an orientation, for models are trained on the pixels as stored.
    """
    from keras_retinanet.data.exif import orientation, turn_image
    from keras_retinanet.data.images import decode_image

    for number, path in enumerate(paths):
        try:
            encoded = path.read_bytes()
            image, turned = decode_image(encoded), orientation(encoded)
        except (UserError, OSError) as error:
            print(f"skipped {path}: {error}", file=sys.stderr)
            continue
        if turned != 1 and exif == "stored":
            print(
                f"{path}: EXIF says to turn it (orientation {turned}); detected in the pixels as "
                "stored. --exif apply turns it.",
                file=sys.stderr,
            )
        yield number, turn_image(image, turned) if exif == "apply" else image


def _batches(items: Iterator, size: int) -> Iterator[list]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
