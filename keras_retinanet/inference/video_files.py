"""The files that are made of a video: the drawn copy, its rows, tracks and counts."""

import contextlib
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_write
from keras_retinanet.files.videos import TRACKS_SUFFIX, Frame, counts_file, opencv
from keras_retinanet.inference.tracking import Tracking, mot_rows
from keras_retinanet.modeling.detections import CSV_COLUMNS, TRACK_COLUMN, Detections

# MPEG-4 part 2: OpenCV's wheels, unlike H.264's encoders, have it everywhere.
CODEC = "mp4v"
CSV_HEADER = ("frame", "seconds", *CSV_COLUMNS)


class DrawnVideo:
    """A video being written; its size is that of the first frame."""

    def __init__(self, path: Path, frames_per_second: float):
        self._cv2, self._path, self._rate = opencv(), path, frames_per_second
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


class VideoRows:
    """JSON and CSV rows beside a video, and its tracks, written as they come."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        target: Path,
        class_ids: list[int],
        tracking: Tracking | None,
    ):
        def open_beside(suffix: str) -> Any:
            return stack.enter_context(atomic_write(target.with_suffix(suffix)))

        self._class_ids, self._tracking, self.count = class_ids, tracking, 0
        self._json = open_beside(".json")
        self._json.write("[")
        self._csv = csv.writer(open_beside(".csv"), lineterminator="\n")
        self._csv.writerow(CSV_HEADER if tracking is None else (*CSV_HEADER, TRACK_COLUMN))
        self._tracks = None if tracking is None else open_beside(TRACKS_SUFFIX)
        self._counts: Any = None
        if tracking is not None and (tracking.lines or tracking.zones):
            self._counts = stack.enter_context(atomic_write(counts_file(target)))
        stack.callback(self._close)  # before the files are

    def write(self, frame: Frame, found: Detections) -> None:
        """Append the detections of a frame."""
        place = {"frame": frame.number, "seconds": round(frame.seconds, 3)}
        for row in found.to_coco(frame.number, self._class_ids):
            self._json.write(",\n" if self.count else "\n")
            json.dump(row | place, self._json)
            self.count += 1
        self._csv.writerows([*place.values(), *cells] for cells in found.csv_cells())
        if self._tracks is not None:
            self._tracks.writelines(f"{row}\n" for row in mot_rows(frame.number, found))

    def _close(self) -> None:
        self._json.write("\n]\n")
        if self._counts is not None and self._tracking is not None:
            json.dump(self._tracking.summary(), self._counts, indent=2)
