"""Detect objects in images, videos and streams, draw them, and write JSON and CSV.

Examples:
    keras_retinanet predict photo.jpg
    keras_retinanet predict photos/ 'more/*.png' --model best.keras --threshold .3
    keras_retinanet predict photo.jpg --model model.tflite
    keras_retinanet predict satellite.png --tile 800 --overlap .2
    keras_retinanet predict street.mp4 --track --line 0,400,1280,400
    keras_retinanet predict rtsp://camera.local/live --stride 5
    keras_retinanet predict photos/ --threshold .5,RBC=.7 --write coco --crops
    keras_retinanet predict photos/ --shard 2/8
"""

import contextlib
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_retinanet.commands.choosing import (
    CROPS,
    Choice,
    add_choice_arguments,
    check_choice,
    chosen,
)
from keras_retinanet.commands.common import add_model_argument, add_trust_argument, run_config
from keras_retinanet.commands.default_model import (
    OTHERWISE,
    find_any_model,
    introduce,
    shown_name,
)
from keras_retinanet.commands.json_output import add_result
from keras_retinanet.commands.passes import add_pass_arguments, check_passes, with_passes
from keras_retinanet.commands.predict_files import ROWS, Sources, find_sources
from keras_retinanet.commands.predict_shards import run_sharded
from keras_retinanet.commands.predict_videos import (
    Done,
    add_video_arguments,
    check_videos,
    predict_video,
    say,
    video_files,
    video_options,
)
from keras_retinanet.commands.sharding import add_shard_arguments, shard_flag
from keras_retinanet.commands.tensorflow_import import import_for_inference
from keras_retinanet.config import Config
from keras_retinanet.errors import UserError, counted
from keras_retinanet.files import atomic_folder
from keras_retinanet.files.targets import check_target
from keras_retinanet.inference.batching import bounded_batches
from keras_retinanet.terminal import progress

if TYPE_CHECKING:
    import numpy as np

    from keras_retinanet.data.images.rasters import Raster
    from keras_retinanet.inference.labels import Found
    from keras_retinanet.modeling.detections import Detections


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `predict` to its parser."""
    add = parser.add_argument
    add(
        "images",
        nargs="+",
        metavar="SOURCE",
        help="file, folder or pattern of images and videos; number of a camera; address of a "
        "stream (rtsp://, http://); - for an image or a video on standard input",
    )
    add_model_argument(parser, otherwise=OTHERWISE)
    add_trust_argument(parser)
    add("--out", default="predictions", metavar="DIR", help="folder to write (predictions/)")
    add(
        "--exif",
        choices=("stored", "apply"),
        default="stored",
        help="apply: rotate images as their EXIF says; boxes are then in the rotated image",
    )
    add_choice_arguments(parser)
    add_video_arguments(parser)
    add_shard_arguments(parser)
    add_pass_arguments(parser)


def run(args: Namespace) -> int:
    """Write a drawn copy of each image and video, and the detections as JSON and CSV."""
    if shard_flag(args):
        return run_sharded(args, run)
    with contextlib.ExitStack() as stack:
        sources = find_sources(args.images, Path(args.out), stack)
        if sources.pictures:
            for name, kind in ROWS.items():
                check_target(Path(args.out, name), kind, flag="--out")
        check_passes(args)
        check_choice(args, has_images=bool(sources.pictures))
        check_videos(args, [sources.targets[video] for video in sources.videos])
        model_path = find_any_model(args.model)
        if args.model is None:
            introduce(model_path)
        _predict(args, sources, model_path)
    return 0


def _predict(args: Namespace, sources: Sources, model_path: Path) -> None:
    config = run_config(model_path) or Config()
    import_for_inference()
    from keras_retinanet.exporting.exported import load_detector

    model = with_passes(load_detector(model_path, trust=args.trust), args)
    choice = chosen(args, model, usual=config.predict.draw_threshold)
    usual: dict[str, Any] = {"choice": choice, "batch_size": config.predict.batch_size}
    pictures, videos, targets = sources
    with atomic_folder(Path(args.out, CROPS)) if args.crops else contextlib.nullcontext() as crops:
        done, found = _predict_pictures(
            model, pictures, targets, exif=args.exif, crops=crops, **usual
        )
    for video in videos:
        figures = predict_video(model, video, targets[video], options=video_options(args), **usual)
        done = Done(*(a + b for a, b in zip(done, figures, strict=True)))
    if not done.files:
        raise UserError(f"None of {len(targets)} {sources.kinds} could be read.")
    add_result(
        args,
        model=model_path,
        folder=args.out,
        images=[_as_object(each, targets[each.path], model.class_ids) for each in found],
        videos=[video_files(video, targets[video]) for video in videos],
        skipped=len(targets) - done.files,
    )
    if args.write and found:
        _write_labels(found, model, choice, args, name=shown_name(model_path))
    print(
        f"{counted(done.rows, 'detection')} in {done.files} of {len(targets)} {sources.kinds} by "
        f"{shown_name(model_path)}"
    )
    drawn = f"{counted(done.drawn, 'box')} of {choice.shown(model.class_names)} drawn"
    print(f"{drawn}, all in JSON and CSV")
    names = ["Drawn copies", *(ROWS if pictures else ["JSON and CSV of each video"])]
    print(f"{', '.join(names[:-1])} and {names[-1]} are in {Path(args.out)}/")


def _predict_pictures(
    model: Any,
    paths: list[Path],
    targets: dict[Path, Path],
    *,
    choice: Choice,
    exif: str,
    batch_size: int,
    crops: Path | None = None,
) -> tuple[Done, "list[Found]"]:
    from keras_retinanet.inference.labels import Found, image_size, save_crops
    from keras_retinanet.inference.rasters import detect_each, pixels
    from keras_retinanet.modeling.tiling import Tiled

    rows: list[dict[str, Any]] = []
    found: list[Found] = []
    with progress(total=len(paths), desc="predict", unit="image", disable=not paths) as bar:
        readable_files = _readable(paths, exif, in_parts=isinstance(model, Tiled))
        for batch in bounded_batches(readable_files, batch_size, lambda item: pixels(item[1])):
            results = detect_each(model, [image for _, image in batch], batch_size=batch_size)
            for place, detections in enumerate(results):
                number, image = batch[place]
                path = paths[number]
                if isinstance(detections, UserError):  # met in the middle of a raster
                    say(f"skipped {path}: {detections}")
                    continue
                kept = detections.of_classes(*choice.classes)
                _draw(image, kept, choice.threshold, targets[path])
                for row in kept.to_coco(number + 1, model.class_ids):
                    rows.append({**row, "file_name": str(path)})
                found.append(Found(path, image_size(image), kept))
                if crops is not None:
                    labels = kept.with_score(choice.threshold)
                    save_crops(image, labels, crops, stem=targets[path].stem)
                del image
            bar.update(number + 1 - bar.n)
    if found:
        _write_rows(rows, found, next(iter(targets.values())).parent)
    drawn = sum(len(each.found.with_score(choice.threshold)) for each in found)
    return Done(len(found), len(rows), drawn), found


def _as_object(image: "Found", target: Path, class_ids: Sequence[int]) -> dict[str, Any]:
    """Return what `--json` says of an image; its rows are as `detections.json` has them."""
    rows = image.found.to_coco(str(image.path), class_ids)
    keys = ("category_id", "bbox", "score")
    return {
        "file": image.path,
        "drawn": target,
        "height": image.size[0],
        "width": image.size[1],
        "detections": [
            {"class": name, **{key: row[key] for key in keys}}
            for name, row in zip(image.found.names, rows, strict=True)
        ],
    }


def _write_rows(rows: list[dict[str, Any]], found: "list[Found]", folder: Path) -> None:
    from keras_retinanet.evaluation.results import write_coco_json, write_csv

    json_name, csv_name = ROWS
    write_coco_json(rows, folder / json_name)
    write_csv([(each.path, each.found) for each in found], folder / csv_name)


def _draw(image: "np.ndarray | Raster", found: "Detections", threshold: Any, target: Path) -> None:
    from keras_retinanet.drawing.pictures import draw_detections, readable, save_picture
    from keras_retinanet.inference.rasters import as_drawn

    shown = readable(*as_drawn(image, found))
    save_picture(draw_detections(*shown, threshold=threshold), target)


def _write_labels(
    found: "list[Found]", model: Any, choice: Choice, args: Namespace, *, name: str
) -> None:
    from keras_retinanet.commands.dataset.convert import write_splits
    from keras_retinanet.inference.labels import labels_dataset

    labels = [each._replace(found=each.found.with_score(choice.threshold)) for each in found]
    dataset = labels_dataset(labels, model.class_names, model.class_ids, classes=choice.classes)
    folder = Path(args.out, args.write)
    write_splits({dataset.split: dataset}, str(folder), args.write, model=name)


def _readable(
    paths: Sequence[Path], exif: str, *, in_parts: bool
) -> "Iterator[tuple[int, np.ndarray | Raster]]":
    """Yield number and RGB image (H, W, 3) of each file; report which cannot be read.

    Args:
        in_parts: yield a `Raster` for an image that is too large to decode.
        exif: "apply" turns an image as its EXIF orientation says; "stored" warns of one that has
            such an orientation, for models are trained on the pixels as stored.
    """
    from keras_retinanet.data.images.exif import orientation, turn_image
    from keras_retinanet.data.images.rasters import open_raster, parts_advice
    from keras_retinanet.data.problems import KINDS
    from keras_retinanet.files.images.decoding import decode_image
    from keras_retinanet.files.images.headers import read_picture

    for number, path in enumerate(paths):
        try:
            raster = open_raster(path) if in_parts else None
            if raster is not None:
                with contextlib.closing(raster):
                    yield number, raster
                continue
            encoded = read_picture(path)
            damage: list[str] = []
            image = decode_image(encoded, on_damage=damage.append)
            turned = orientation(encoded)
        except (UserError, OSError) as error:
            say(f"skipped {path}: {error}{'' if in_parts else parts_advice(error)}")
            continue
        for kind in damage:
            say(f"{path}: {kind}; {KINDS[kind]}.")
        if turned != 1 and exif == "stored":
            say(
                f"{path}: EXIF says to turn it (orientation {turned}); detected in the pixels as "
                "stored. --exif apply turns it."
            )
        del encoded
        yield number, turn_image(image, turned) if exif == "apply" else image
        del image  # before the next one is decoded
