"""Detect objects in images and videos, draw them, and write JSON and CSV.

Examples:
    keras_retinanet predict photo.jpg
    keras_retinanet predict photos/ 'more/*.png' --model best.keras --threshold .3
    keras_retinanet predict photo.jpg --model model.tflite
    keras_retinanet predict satellite.png --tile 800 --overlap .2
    keras_retinanet predict street.mp4 --tta
    keras_retinanet predict photos/ --shard 2/8
"""

import contextlib
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm import tqdm

from keras_retinanet.commands.common import (
    add_model_argument,
    add_trust_argument,
    import_tensorflow,
    run_config,
)
from keras_retinanet.commands.default_model import (
    OTHERWISE,
    find_any_model,
    introduce,
    shown_name,
)
from keras_retinanet.commands.passes import add_pass_arguments, check_passes, with_passes
from keras_retinanet.commands.predict_files import ROWS, drawing_paths, find_pictures, is_video
from keras_retinanet.commands.predict_shards import run_sharded
from keras_retinanet.commands.sharding import add_shard_arguments, shard_flag
from keras_retinanet.config import Config
from keras_retinanet.config.files import with_overrides
from keras_retinanet.errors import UserError, counted
from keras_retinanet.files.targets import check_target
from keras_retinanet.inference.batching import bounded_batches
from keras_retinanet.terminal import printable, progress

if TYPE_CHECKING:
    import numpy as np

    from keras_retinanet.data.images.rasters import Raster
    from keras_retinanet.modeling.detections import Detections

# A video's frame count is often an estimate: report only a larger gap.
FRAMES_MISSED = 2


class Done(NamedTuple):
    """How many files were read, rows written for them, and boxes drawn."""

    files: int
    rows: int
    drawn: int


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags of `predict` to its parser."""
    add = parser.add_argument
    add("images", nargs="+", metavar="FILE|FOLDER|GLOB", help="images and videos")
    add_model_argument(parser, otherwise=OTHERWISE)
    add_trust_argument(parser)
    add("--out", default="predictions", metavar="DIR", help="folder to write (predictions/)")
    add(
        "--exif",
        choices=("stored", "apply"),
        default="stored",
        help="apply: rotate images as their EXIF says; boxes are then in the rotated image",
    )
    add(
        "--threshold",
        type=float,
        metavar="S",
        help="minimum score of a drawn box (the model's own)",
    )
    add_shard_arguments(parser)
    add_pass_arguments(parser)


def run(args: Namespace) -> int:
    """Write a drawn copy of each image and video, and the detections as JSON and CSV."""
    if shard_flag(args):
        return run_sharded(args, run)
    paths, out = find_pictures(args.images), Path(args.out)
    targets = dict(zip(paths, drawing_paths(paths, out), strict=True))
    if not all(map(is_video, paths)):
        for name, kind in ROWS.items():
            check_target(out / name, kind, flag="--out")
    check_passes(args)
    model_path = find_any_model(args.model)
    if args.model is None:
        introduce(model_path)
    config = run_config(model_path) or Config()
    if args.threshold is not None:
        config = with_overrides(config, {"predict.draw_threshold": args.threshold})

    import_tensorflow()
    from keras_retinanet.exporting.exported import load_detector
    from keras_retinanet.modeling.draw_threshold import draw_threshold

    model = with_passes(load_detector(model_path, trust=args.trust), args)
    threshold = draw_threshold(model.metadata, config.predict.draw_threshold)
    options: dict[str, Any] = {"threshold": threshold, "batch_size": config.predict.batch_size}
    videos = [path for path in paths if is_video(path)]
    pictures = [path for path in paths if not is_video(path)]
    done = [_predict_pictures(model, pictures, targets, exif=args.exif, **options)]
    done += [_predict_video(model, path, targets[path], **options) for path in videos]
    count, rows, drawn = (sum(figures) for figures in zip(*done, strict=True))
    if not count:
        raise UserError(f"None of {len(paths)} {_kinds(pictures, videos)} could be read.")
    print(
        f"{counted(rows, 'detection')} in {count} of {len(paths)} {_kinds(pictures, videos)} by "
        f"{shown_name(model_path)}"
    )
    print(f"{counted(drawn, 'box')} of score {threshold:.3f} or more drawn, all in JSON and CSV")
    names = ["Drawn copies", *(ROWS if pictures else ["JSON and CSV of each video"])]
    print(f"{', '.join(names[:-1])} and {names[-1]} are in {out}/")
    return 0


def _kinds(pictures: list[Path], videos: list[Path]) -> str:
    kinds = [("images", pictures), ("videos", videos)]
    return " and ".join(name for name, paths in kinds if paths)


def _predict_pictures(
    model: Any,
    paths: list[Path],
    targets: dict[Path, Path],
    *,
    exif: str,
    threshold: float,
    batch_size: int,
) -> Done:
    from keras_retinanet.drawing.pictures import draw_detections, readable, save_picture
    from keras_retinanet.evaluation.results import write_coco_json, write_csv
    from keras_retinanet.inference.rasters import as_drawn, detect_each, pixels
    from keras_retinanet.modeling.tiling import Tiled

    rows: list[dict[str, Any]] = []
    found: list[tuple[Path, Detections]] = []
    with progress(total=len(paths), desc="predict", unit="image", disable=not paths) as bar:
        readable_files = _readable(paths, exif, in_parts=isinstance(model, Tiled))
        for batch in bounded_batches(readable_files, batch_size, lambda item: pixels(item[1])):
            results = detect_each(model, [image for _, image in batch], batch_size=batch_size)
            for place, detections in enumerate(results):
                number = batch[place][0]
                if isinstance(detections, UserError):  # met in the middle of a raster
                    _say(f"skipped {paths[number]}: {detections}")
                    continue
                shown = readable(*as_drawn(batch[place][1], detections))
                drawn = draw_detections(*shown, threshold=threshold)
                save_picture(drawn, targets[paths[number]])
                del shown, drawn
                for row in detections.to_coco(number + 1, model.class_ids):
                    rows.append({**row, "file_name": str(paths[number])})
                found.append((paths[number], detections))
            bar.update(number + 1 - bar.n)
    if found:
        folder = next(iter(targets.values())).parent
        json_name, csv_name = ROWS
        write_coco_json(rows, folder / json_name)
        write_csv(found, folder / csv_name)
    kept = sum(len(detections.with_score(threshold)) for _, detections in found)
    return Done(len(found), len(rows), kept)


def _predict_video(
    model: Any, path: Path, target: Path, *, threshold: float, batch_size: int
) -> Done:
    from keras_retinanet.inference.videos import annotate_video

    try:
        figures = annotate_video(model, path, target, threshold=threshold, batch_size=batch_size)
    except (UserError, OSError) as error:
        _say(f"skipped {path}: {error}")
        return Done(0, 0, 0)
    if figures.frames + FRAMES_MISSED < figures.stated:
        _say(f"{path}: {figures.frames} of {figures.stated} frames could be read.")
    return Done(1, figures.detections, figures.drawn)


def _say(line: str) -> None:
    tqdm.write(printable(line), file=sys.stderr)  # above a bar, not across it


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
            cut: list[str] = []
            image = decode_image(encoded, on_cut=lambda: cut.append("cut off"))  # noqa: B023
            turned = orientation(encoded)
        except (UserError, OSError) as error:
            _say(f"skipped {path}: {error}{'' if in_parts else parts_advice(error)}")
            continue
        for problem in cut:
            _say(f"{path}: {problem}; used as far as it goes.")
        if turned != 1 and exif == "stored":
            _say(
                f"{path}: EXIF says to turn it (orientation {turned}); detected in the pixels as "
                "stored. --exif apply turns it."
            )
        del encoded
        yield number, turn_image(image, turned) if exif == "apply" else image
        del image  # before the next one is decoded
