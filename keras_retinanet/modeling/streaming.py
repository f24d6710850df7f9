"""Detections in the frames of a video, a camera or a network stream, one after the other."""

import contextlib
from collections.abc import Iterator
from typing import Any

from keras_retinanet.files.addresses import RETRIES
from keras_retinanet.files.live import Live, Source, every, open_frames
from keras_retinanet.files.videos import Frame, Video
from keras_retinanet.modeling.detections import Detections


class Streaming:
    """The `stream` of all detectors."""

    def stream(
        self, source: Source, *, stride: int = 1, batch_size: int = 1, retries: int = RETRIES
    ) -> Iterator[tuple[Frame, Detections]]:
        """Detect in the frames of a video or a live source, with bounded memory.

        Args:
            source: a video file, a binary stream with a video, the number of a camera, or an
                address as rtsp:// and http://. Of a live source the frames that come while the
                detector works are dropped but for the newest.
            stride: detect in every `stride`th frame.
            batch_size: frames at a time; more than 1 is faster, and late.
            retries: how often in a row a live source that breaks off is opened again.

        Yields:
            A `Frame` (`number`, `seconds`, and `image`, uint8 RGB) and its detections.

        Raises:
            UserError: OpenCV is missing, or the source cannot be opened or read.
        """
        return _detect(self, open_frames(source, retries=retries), stride, batch_size)


def _detect(
    detector: Any, source: Video | Live, stride: int, batch_size: int
) -> Iterator[tuple[Frame, Detections]]:
    with contextlib.closing(source):
        batch: list[Frame] = []
        for frame in every(source.frames(), stride):
            batch.append(frame)
            if len(batch) == batch_size:
                yield from _detected(detector, batch)
                batch = []
        yield from _detected(detector, batch)


def _detected(detector: Any, batch: list[Frame]) -> Iterator[tuple[Frame, Detections]]:
    images = [frame.image for frame in batch]
    found = detector.detect(images, batch_size=len(images)) if images else []
    return zip(batch, found, strict=True)
