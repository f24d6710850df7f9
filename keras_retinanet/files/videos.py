"""Video files and piped video, a frame at a time, by OpenCV."""

import contextlib
import math
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.files import open_regular
from keras_retinanet.files.images.headers import MAX_PIXELS

# Of a video that does not tell its own.
FRAMES_PER_SECOND = 25.0
# The files beside a tracked video: its tracks, and its counts.
TRACKS_SUFFIX, COUNTS_ENDING = ".txt", "_counts.json"


class Frame(NamedTuple):
    """One frame of a video or stream."""

    number: int  # from 0, those that were skipped or dropped counted
    seconds: float  # since the first frame
    image: np.ndarray  # uint8 RGB (H, W, 3)


def opencv() -> Any:
    """Return the module of OpenCV, which is told to print nothing.

    Raises:
        UserError: it is missing.
    """
    # FFmpeg would report damaged files on standard error itself; we say so in one line.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            "Expected OpenCV, which reads and writes videos. Received: none. "
            "Install it: pip install opencv-python-headless."
        ) from error
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def frame_rate(capture: Any) -> float:
    """Return the frames per second of an open capture, or `FRAMES_PER_SECOND`."""
    rate = capture.get(opencv().CAP_PROP_FPS)
    # A stream without a rate may tell that of its clock.
    return float(rate) if math.isfinite(rate) and 0 < rate <= 1000 else FRAMES_PER_SECOND


def frame_count(capture: Any) -> int:
    """Return how many frames an open capture says it has; 0: it does not."""
    stated = capture.get(opencv().CAP_PROP_FRAME_COUNT)
    return max(0, int(stated)) if math.isfinite(stated) else 0


def check_size(capture: Any, name: object) -> None:
    """Raise a UserError for frames that are too large, and release the capture."""
    cv2 = opencv()
    sides = [capture.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
    if not math.prod(sides) <= MAX_PIXELS:
        capture.release()
        raise UserError(
            f"Expected frames of at most {MAX_PIXELS} pixels. Received: {name}, "
            f"{sides[0]:g}x{sides[1]:g}. Make the video smaller."
        )


class Video:
    """An open video.

    Args:
        source: the file, or a binary stream such as standard input.

    Attributes:
        frames_per_second: of the video, or `FRAMES_PER_SECOND`.
        stated: how many frames it says it has; 0: it does not.
        shown: the source for messages.
        is_live, dropped: False and 0: no frame is lost, however long each takes.

    Raises:
        UserError: OpenCV is missing, or cannot read the video.
    """

    is_live, dropped = False, 0

    def __init__(self, source: str | os.PathLike[str] | BinaryIO):
        cv2 = opencv()
        if isinstance(source, str | os.PathLike):
            self.shown = str(source)
            # A file that is not there, or none that ends, is an OSError, as for images.
            with open_regular(source):
                self._capture = cv2.VideoCapture(str(source))
        else:
            self.shown = "standard input"
            self._capture = cv2.VideoCapture(f"pipe:{_piped(source)}", cv2.CAP_FFMPEG)
        self.frames_per_second = frame_rate(self._capture)
        self.stated = frame_count(self._capture)
        check_size(self._capture, self.shown)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield each frame as uint8 RGB (H, W, 3), turned as the file says."""
        read, frame = self._capture.read()
        if not read:
            raise UserError(f"Expected a video that OpenCV can read. Received: {self.shown}.")
        while read:
            yield np.ascontiguousarray(frame[..., ::-1])
            read, frame = self._capture.read()

    def frames(self) -> Iterator[Frame]:
        """Yield each frame with its number and time."""
        for number, image in enumerate(self):
            yield Frame(number, number / self.frames_per_second, image)

    def close(self) -> None:
        """Release the file."""
        self._capture.release()


def _piped(stream: BinaryIO) -> int:
    """Return the end of a new pipe that a thread copies `stream` to."""
    end, start = os.pipe()

    def copy() -> None:
        # The reader may go first, when it has seen enough.
        with contextlib.suppress(OSError), os.fdopen(start, "wb") as target:
            shutil.copyfileobj(stream, target)

    threading.Thread(target=copy, daemon=True, name="standard input").start()
    return end


def counts_file(target: Path) -> Path:
    """Return the file of the counts of a video that is drawn into `target`."""
    return target.with_name(target.stem + COUNTS_ENDING)
