"""Cameras and network streams: the newest frames, in bounded memory, over interruptions.

A thread reads all the time, since what a camera sends waits nowhere. It keeps few frames: the
oldest is dropped when a new one comes, unless the source is a file behind an address, which
waits. A source that breaks off is opened again a few times.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from keras_retinanet.errors import UserError, counted
from keras_retinanet.files.addresses import RETRIES, is_address
from keras_retinanet.files.videos import (
    Frame,
    Video,
    check_size,
    frame_count,
    frame_rate,
    opencv,
)

# Frames that wait for the detector.
WAITING = 4
# How long a source may be silent, in milliseconds.
TIMEOUT = 10_000
# Seconds before it is opened again for the first time; twice as long before each next one.
PAUSE = 0.5


class Live:
    """An open camera or network stream.

    Args:
        source: the number of a camera, or an address: rtsp://, http://, ...
        retries: how often in a row it is opened again when it breaks off.
        pause: seconds before the first of these.
        report: is given a line when the source breaks off.

    Attributes:
        frames_per_second: of the source, or a usual rate.
        stated: how many frames the source says it has; 0: it has no end.
        is_live: whether frames are dropped when the detector is slower than the source.
        dropped: how many were so far.

    Raises:
        UserError: OpenCV is missing, or cannot open the source.
    """

    def __init__(
        self,
        source: int | str,
        *,
        retries: int = RETRIES,
        pause: float = PAUSE,
        report: Callable[[str], object] = lambda line: None,
    ):
        self._source, self._retries, self._pause, self._report = source, retries, pause, report
        self._capture = self._open()
        if self._capture is None:
            raise UserError(
                "Expected a camera or a stream that can be opened. Received: "
                f"{self.shown}, which cannot be reached. Check that it is there and sends video."
            )
        check_size(self._capture, self.shown)
        self.frames_per_second = frame_rate(self._capture)
        self.stated = frame_count(self._capture)
        self.is_live, self.dropped = not self.stated, 0
        self._waiting: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._thread = threading.Thread(target=self._read, daemon=True, name="stream")

    @property
    def shown(self) -> str:
        """The source for messages, without the password that an address may have."""
        if isinstance(self._source, int):
            return f"camera {self._source}"
        scheme, _, rest = self._source.partition("://")
        place, slash, path = rest.partition("/")
        return f"{scheme}://{place.rpartition('@')[2]}{slash}{path.partition('?')[0]}"

    def frames(self) -> Iterator[Frame]:
        """Yield frames in order, a live one soon after it was sent, until the source ends."""
        self._thread.start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    return
                frame = self._waiting.popleft()
                self._changed.notify_all()
            yield frame

    def close(self) -> None:
        """Stop reading and release the source."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(TIMEOUT / 1000)
        # A driver that hangs keeps its thread, which goes with the process.
        if self._capture is not None and not self._thread.is_alive():
            self._capture.release()

    # -------------------------------------------------------------------- in the reader's thread

    def _read(self) -> None:
        try:
            begin, number = time.monotonic(), 0
            while (image := self._next()) is not None:
                seconds = number / self.frames_per_second
                if self.is_live:
                    seconds = time.monotonic() - begin
                if not self._keep(Frame(number, seconds, image)):
                    return
                number += 1
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _keep(self, frame: Frame) -> bool:
        """Have a frame wait; return whether more are wanted."""
        with self._changed:
            if self.is_live:
                if len(self._waiting) == WAITING:
                    self._waiting.popleft()
                    self.dropped += 1
            else:
                self._changed.wait_for(lambda: len(self._waiting) < WAITING or self._closed)
            if not self._closed:
                self._waiting.append(frame)
            self._changed.notify_all()
            return not self._closed

    def _next(self) -> np.ndarray | None:
        """Return the next frame, from the source opened again if need be; None: there is none."""
        for retry in range(self._retries + 1):
            if self._capture is not None:
                read, frame = self._capture.read()
                if read:
                    return np.ascontiguousarray(frame[..., ::-1])
                self._capture.release()
                self._capture = None
            if not self.is_live or retry == self._retries or self._closed:
                break
            if retry == 0:
                self._report(f"{self.shown} broke off; trying again.")
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, self._pause * 2**retry):
                    break
            self._capture = self._open()
        if self.is_live and not self._closed:
            tries = f" is gone after {counted(self._retries, 'attempt')} to open it again."
            self._report(self.shown + (tries if self._retries else " has ended."))
        return None

    def _open(self) -> Any:
        cv2 = opencv()
        if isinstance(self._source, int):
            capture = cv2.VideoCapture(self._source)
        else:
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT]
            limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT]
            capture = cv2.VideoCapture(self._source, cv2.CAP_FFMPEG, limits)
        if capture.isOpened():
            return capture
        capture.release()
        return None


# What frames come from.
Source = int | str | os.PathLike[str] | BinaryIO


def every(frames: Iterable[Frame], stride: int) -> Iterator[Frame]:
    """Yield the first frame, and each that comes `stride` or more after the last."""
    following = 0
    for frame in frames:
        if frame.number >= following:
            following = frame.number + stride
            yield frame


def open_frames(source: Source, **options: Any) -> Video | Live:
    """Return an open `Video` or `Live` of a source.

    Args:
        source: a video file, a binary stream, the number of a camera or an address.
        options: of `Live`.
    """
    if isinstance(source, int) or is_address(source):
        return Live(source, **options)  # type: ignore[arg-type]
    return Video(source)
