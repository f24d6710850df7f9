"""Detections in videos, a batch of frames at a time: drawn into a copy, and as rows.

Shape letters: N detections.
"""

import contextlib
import csv
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from keras_retinanet.drawing.pictures import draw_detections, readable
from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_path, atomic_write, open_regular
from keras_retinanet.files.images.headers import MAX_PIXELS
from keras_retinanet.inference.batching import bounded_batches
from keras_retinanet.modeling.detections import CSV_COLUMNS, Detections
from keras_retinanet.terminal import printable
from keras_retinanet.terminal import progress as progress_bar

# MPEG-4 part 2: OpenCV's wheels, unlike H.264's encoders, have it everywhere.
CODEC = "mp4v"
# Of a video that does not tell its own.
FRAMES_PER_SECOND = 25.0
CSV_HEADER = ("frame", "seconds", *CSV_COLUMNS)


class VideoFigures(NamedTuple):
    """What one pass over a video gave."""

    frames: int  # read
    stated: int  # how many the file says it has; 0: it does not
    detections: int  # rows written
    drawn: int  # of them, those of the threshold or more


def _opencv() -> Any:
    # FFmpeg would report damaged files on standard error itself; we say so in one line.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            "Expected OpenCV, which reads and writes videos. Received: none. "
            "Install it: pip install opencv-python-headless."
        ) from error
    return cv2


class Video:
    """An open video file.

    Attributes:
        frames_per_second: of the file, or `FRAMES_PER_SECOND`.
        stated: how many frames the file says it has; 0: it does not.

    Raises:
        UserError: OpenCV is missing, or cannot read the file.
    """

    def __init__(self, path: str | Path):
        self._cv2 = _opencv()
        self._path = path
        # A file that is not there, or none that ends, is an OSError, as for images.
        with open_regular(path):
            self._capture = self._cv2.VideoCapture(str(path))
        rate = self._capture.get(self._cv2.CAP_PROP_FPS)
        known = math.isfinite(rate) and rate > 0
        self.frames_per_second = float(rate) if known else FRAMES_PER_SECOND
        stated = self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT)
        self.stated = max(0, int(stated)) if math.isfinite(stated) else 0
        sides = [
            self._capture.get(side)
            for side in (self._cv2.CAP_PROP_FRAME_WIDTH, self._cv2.CAP_PROP_FRAME_HEIGHT)
        ]
        if not math.prod(sides) <= MAX_PIXELS:
            self.close()
            raise UserError(
                f"Expected frames of at most {MAX_PIXELS} pixels. Received: {path}, "
                f"{sides[0]:g}x{sides[1]:g}. Make the video smaller."
            )

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield each frame as uint8 RGB (H, W, 3), turned as the file says."""
        read, frame = self._capture.read()
        if not read:
            raise UserError(f"Expected a video that OpenCV can read. Received: {self._path}.")
        while read:
            yield np.ascontiguousarray(frame[..., ::-1])
            read, frame = self._capture.read()

    def close(self) -> None:
        """Release the file."""
        self._capture.release()


class _Drawn:
    """A video being written; its size is that of the first frame."""

    def __init__(self, path: Path, frames_per_second: float):
        self._cv2, self._path, self._rate = _opencv(), path, frames_per_second
        self._writer: Any = None

    def write(self, frame: np.ndarray) -> None:
        """Append a uint8 RGB frame (H, W, 3)."""
        if self._writer is None:
            code, size = self._cv2.VideoWriter_fourcc(*CODEC), frame.shape[1::-1]
            self._writer = self._cv2.VideoWriter(str(self._path), code, self._rate, size)
            if not self._writer.isOpened():
                raise UserError(
                    f"Expected OpenCV to write MPEG-4 video. Received: {size[0]}x{size[1]} "
                    f"pixels, {self._rate:g} frames a second, which it refuses."
                )
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()


class _Rows:
    """JSON and CSV rows, written as they come."""

    def __init__(self, json_file: IO[str], csv_file: IO[str], class_ids: list[int]):
        self._json, self._class_ids, self.count = json_file, class_ids, 0
        self._csv = csv.writer(csv_file, lineterminator="\n")
        self._csv.writerow(CSV_HEADER)
        self._json.write("[")

    def write(self, frame: int, seconds: float, found: Detections) -> None:
        """Append the detections of a frame."""
        place = {"frame": frame, "seconds": round(seconds, 3)}
        for row in found.to_coco(frame, self._class_ids):
            self._json.write(",\n" if self.count else "\n")
            json.dump(row | place, self._json)
            self.count += 1
        self._csv.writerows([*place.values(), *cells] for cells in found.csv_cells())

    def close(self) -> None:
        """End the JSON list."""
        self._json.write("\n]\n")


def annotate_video(
    model: Any,
    path: str | Path,
    target: str | Path,
    *,
    threshold: float | np.ndarray = 0.5,
    classes: Sequence[str] | None = None,
    batch_size: int = 8,
    progress: bool = True,
) -> VideoFigures:
    """Detect in every frame of a video, at most `batch_size` of which are in memory at a time.

    Args:
        model: has `detect` and `class_ids`: a RetinaNet, an exported file, a composed detector.
        path: the video.
        target: the drawn copy, .mp4, without sound. Beside it, under its name, are written a .json
            of COCO's results form, with the frame, from 0, as `image_id` and `frame`, and
            `seconds`; and a .csv of the same rows with corners and class names. Each file is made
            or replaced in one step, when the video is done.
        threshold: least score of a drawn box, or (K,) one for each class; the rows hold all.
        classes: names of those whose detections are kept; None: all.
        batch_size: frames at a time.
        progress: show a bar with rate and time left, on standard error.

    Raises:
        UserError: OpenCV is missing, cannot read the video, or cannot write one of this size.
    """
    target, video = Path(target), Video(path)
    with contextlib.ExitStack() as stack:
        stack.callback(video.close)
        json_file, csv_file = (
            stack.enter_context(atomic_write(target.with_suffix(suffix)))
            for suffix in (".json", ".csv")
        )
        temporary = stack.enter_context(atomic_path(target))
        drawn = stack.enter_context(contextlib.closing(_Drawn(temporary, video.frames_per_second)))
        rows = stack.enter_context(contextlib.closing(_Rows(json_file, csv_file, model.class_ids)))
        bar = stack.enter_context(
            progress_bar(
                total=video.stated or None,
                desc=printable(Path(path).name),
                unit="frame",
                disable=not progress,
            )
        )
        number = shown = 0
        for frames in bounded_batches(iter(video), batch_size, lambda frame: frame.size // 3):
            for frame, found in zip(
                frames, model.detect(frames, batch_size=batch_size), strict=True
            ):
                found = found if classes is None else found.of_classes(*classes)
                rows.write(number, number / video.frames_per_second, found)
                drawn.write(draw_detections(*readable(frame, found), threshold=threshold))
                shown += len(found.with_score(threshold))
                number += 1
            bar.update(len(frames))
    return VideoFigures(number, video.stated, rows.count, shown)
