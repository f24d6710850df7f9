"""Videos, cameras and streams of `predict`: their flags, and one after the other detected in."""

import argparse
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm import tqdm

from keras_retinanet.commands.choosing import Choice
from keras_retinanet.errors import UserError
from keras_retinanet.files.addresses import RETRIES
from keras_retinanet.files.targets import check_target
from keras_retinanet.terminal import printable

if TYPE_CHECKING:
    from keras_retinanet.inference.videos import VideoOptions

# Frame counts are often estimates: report only a larger gap.
FRAMES_MISSED = 2
FEWEST_CORNERS = 3


class Done(NamedTuple):
    """How many files were read, rows written for them, and boxes drawn."""

    files: int
    rows: int
    drawn: int


def add_video_arguments(parser: ArgumentParser) -> None:
    """Add the flags of videos and streams."""
    add = parser.add_argument_group("videos and streams").add_argument
    add("--stride", type=_count, default=1, metavar="N", help="detect in every Nth frame (1)")
    add("--show", action="store_true", help="show the drawn frames in a window; q ends")
    add(
        "--reconnect",
        type=_count_or_0,
        default=RETRIES,
        metavar="N",
        help=f"open a camera or stream that breaks off again, up to N times in a row ({RETRIES})",
    )
    add(
        "--track",
        action="store_true",
        help="number the objects, by ByteTrack: in JSON, CSV, the drawn video, and in "
        "MOTChallenge's text (pip install trackers)",
    )
    add(
        "--line",
        action="append",
        type=_points(2),
        default=[],
        metavar="X1,Y1,X2,Y2",
        help="count the objects that cross this line, by class and direction; may be repeated",
    )
    add(
        "--zone",
        action="append",
        type=_points(FEWEST_CORNERS),
        default=[],
        metavar="X,Y,X,Y,...",
        help="count the objects in this polygon, by class; may be repeated",
    )


def _count(text: str, least: int = 1) -> int:
    number = int(text) if text.isdecimal() else -1
    if number < least:
        raise argparse.ArgumentTypeError(f"expected {least} or more. Received: {text!r}")
    return number


def _count_or_0(text: str) -> int:
    return _count(text, 0)


def _points(fewest: int) -> Callable[[str], list[tuple[float, float]]]:
    """Return a parser of "X,Y,X,Y,..." in pixels: two points, or `fewest` and more."""

    def parse(text: str) -> list[tuple[float, float]]:
        try:
            numbers = [float(word) for word in text.split(",")]
        except ValueError:
            numbers = []
        count = len(numbers) // 2
        is_wrong = len(numbers) % 2 or count < fewest or (fewest == 2 and count > 2)
        points = list(zip(numbers[::2], numbers[1::2], strict=False))
        if is_wrong or len(set(points)) < fewest or not all(abs(n) < 1e6 for n in numbers):
            wanted = "two points X1,Y1,X2,Y2" if fewest == 2 else f"{fewest} or more points X,Y,..."
            raise argparse.ArgumentTypeError(f"expected {wanted} in pixels. Received: {text!r}")
        return points

    return parse


def check_videos(args: Namespace, targets: Sequence[Path]) -> None:
    """Raise a UserError for flags of videos that mean nothing here, before any slow work.

    Args:
        targets: the drawn copies of all videos and streams.
    """
    tracks = bool(args.track or args.line or args.zone)
    given = [name for name in ("track", "line", "zone", "show") if getattr(args, name)]
    given += ["stride"] if args.stride > 1 else []
    if given and not targets:
        raise UserError(f"Expected a video or a stream for --{given[0]}. Received: images alone.")
    if args.show:
        from keras_retinanet.inference.windows import check_display

        check_display()
    for target in targets if tracks else ():
        from keras_retinanet.files.videos import TRACKS_SUFFIX, counts_file

        check_target(target.with_suffix(TRACKS_SUFFIX), "tracks", flag="--out")
        if args.line or args.zone:
            check_target(counts_file(target), "counts", flag="--out")


def video_options(args: Namespace) -> "VideoOptions":
    """Return what the flags ask of videos."""
    from keras_retinanet.inference.videos import VideoOptions

    return VideoOptions(
        stride=args.stride,
        track=args.track,
        lines=args.line,
        zones=args.zone,
        show=args.show,
        retries=args.reconnect,
    )


def predict_video(
    model: Any,
    source: Any,
    target: Path,
    *,
    choice: Choice,
    batch_size: int,
    options: "VideoOptions",
) -> Done:
    """Detect in a video; report one that cannot be read, frames that are missing, and counts."""
    from keras_retinanet.inference.videos import annotate_video

    try:
        figures = annotate_video(
            model,
            source,
            target,
            threshold=choice.threshold,
            classes=choice.classes,
            batch_size=batch_size,
            options=options,
        )
    except (UserError, OSError) as error:
        if not isinstance(source, Path):
            raise
        say(f"skipped {source}: {error}")
        return Done(0, 0, 0)
    if figures.frames + FRAMES_MISSED < figures.stated:
        say(f"{source}: {figures.frames} of {figures.stated} frames could be read.")
    dropped = f", {figures.dropped:,} dropped" if figures.dropped else ""
    print(
        printable(
            f"{target.name}: {figures.frames:,} frames{dropped}, "
            f"{figures.milliseconds:.0f} ms a frame to detect"
        )
    )
    for sentence in figures.counts:
        print(f"  {sentence}")
    return Done(1, figures.detections, figures.drawn)


def video_files(source: Any, target: Path) -> dict[str, Any]:
    """Return what `--json` says of a video: where its drawn copy and its rows are, if it was read.

    Args:
        target: the drawn copy.
    """
    is_named = isinstance(source, str | int | Path)
    named = {
        "drawn": target,
        "json": target.with_suffix(".json"),
        "csv": target.with_suffix(".csv"),
    }
    return {"source": source if is_named else "-"} | {
        key: path if path.is_file() else None for key, path in named.items()
    }


def say(line: str) -> None:
    """Print a line on standard error, above a bar and not across it."""
    tqdm.write(printable(line), file=sys.stderr)
