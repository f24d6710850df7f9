"""Detections in videos and streams, a batch of frames at a time: drawn into a copy, and as rows.

Shape letters: N detections, K classes.
"""

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from keras_retinanet.drawing.counters import draw_shape, draw_text
from keras_retinanet.drawing.pictures import draw_detections, readable
from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_path
from keras_retinanet.files.addresses import RETRIES, is_address, video_name
from keras_retinanet.files.live import Live, Source, every, open_frames
from keras_retinanet.files.videos import Frame, Video
from keras_retinanet.inference.batching import bounded_batches
from keras_retinanet.inference.counting import Line, Point, Zone
from keras_retinanet.inference.tracking import Tracker, Tracking
from keras_retinanet.inference.video_files import DrawnVideo, VideoRows
from keras_retinanet.inference.windows import Window
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.terminal import printable
from keras_retinanet.terminal import progress as progress_bar


@dataclasses.dataclass(frozen=True)
class VideoOptions:
    """How a video is read and what is done with its frames.

    Attributes:
        stride: every `stride`th frame is taken.
        track: number the objects, and write their tracks.
        lines: of each the start and the end, in pixels of the frame: crossings are counted.
        zones: of each the corners: objects inside are counted.
        show: show the drawn frames in a window too; its reader can end the video.
        retries: how often in a row a live source that breaks off is opened again.
    """

    stride: int = 1
    track: bool = False
    lines: Sequence[Sequence[Point]] = ()
    zones: Sequence[Sequence[Point]] = ()
    show: bool = False
    retries: int = RETRIES

    def tracking(
        self, class_names: Sequence[str], threshold: float | np.ndarray, *, rate: float
    ) -> Tracking | None:
        """Return what follows and counts objects in frames of this rate; None: nothing does."""
        if not (self.track or self.lines or self.zones):
            return None
        tracker = Tracker(class_names, threshold=threshold, frames_per_second=rate)
        return Tracking(tracker, list(map(Line, self.lines)), list(map(Zone, self.zones)))


class VideoFigures(NamedTuple):
    """What one pass over a video gave."""

    frames: int  # detected in
    stated: int  # how many of the file's would be taken; 0: it does not say
    detections: int  # rows written
    drawn: int  # of them, those of the threshold or more
    milliseconds: float = 0.0  # of detection, a frame
    dropped: int = 0  # frames of a live source that came too fast
    counts: tuple[str, ...] = ()  # sentences


def annotate_video(
    model: Any,
    source: Source,
    target: str | Path,
    *,
    threshold: float | np.ndarray = 0.5,
    classes: Sequence[str] | None = None,
    batch_size: int = 8,
    options: VideoOptions | None = None,
    progress: bool = True,
) -> VideoFigures:
    """Detect in the frames of a video, at most `batch_size` of which are in memory at a time.

    Args:
        model: has `detect`, `class_names` and `class_ids`: a RetinaNet, an exported file, a
            composed detector.
        source: a video file, a binary stream, the number of a camera or an address. A live one
            ends with Ctrl-C, and its frames are taken one at a time.
        target: the drawn copy, .mp4, without sound. Beside it, under its name, are written a .json
            of COCO's results form, with the frame, from 0, as `image_id` and `frame`, and
            `seconds`; a .csv of the same rows with corners and class names; the tracks in
            MOTChallenge's form as .txt, and the counts, if `options` ask for them. Each file is
            made or replaced in one step, when the video is done.
        threshold: least score of a drawn box, or (K,) one for each class; the rows hold all.
        classes: names of those whose detections are kept; None: all.
        batch_size: frames at a time.
        options: stride, tracks, counts, window.
        progress: show a bar with rate and time left, on standard error.

    Raises:
        UserError: OpenCV is missing, cannot read the source, or cannot write a video of its size.
    """
    options, target = options or VideoOptions(), Path(target)
    with contextlib.ExitStack() as stack:
        video = stack.enter_context(contextlib.closing(open_source(source, options)))
        stated = -(-video.stated // options.stride)
        bar = stack.enter_context(_bar(source, stated, disable=not progress))
        rate = video.frames_per_second / options.stride
        copy = _Copy(stack, target, model, options, rate=rate, threshold=threshold)
        # Who stops a camera wants what it saw.
        stops = (KeyboardInterrupt,) if video.is_live else ()
        with contextlib.suppress(*stops):
            for batch, found, spent in _detected(model, video, options.stride, batch_size):
                if classes is not None:
                    found = [each.of_classes(*classes) for each in found]
                wanted = copy.write(batch, found, seconds=spent)
                bar.set_postfix({"ms a frame": f"{copy.milliseconds:.0f}"})
                bar.update(len(batch))
                if not wanted:
                    break
        if not copy.frames:
            raise UserError(f"Expected a source that sends frames. Received: {video.shown}.")
    return copy.figures(stated, video.dropped)


def open_source(source: Source, options: VideoOptions) -> Video | Live:
    """Open a source; what happens to a live one is printed above the bar."""
    return open_frames(
        source,
        retries=options.retries,
        report=lambda line: tqdm.write(printable(line), file=sys.stderr),
    )


def _bar(source: Source, stated: int, *, disable: bool) -> Any:
    if isinstance(source, os.PathLike) or (isinstance(source, str) and not is_address(source)):
        name = Path(source).name
    else:
        name = video_name(source) if isinstance(source, int | str) else "video"
    return progress_bar(total=stated or None, desc=printable(name), unit="frame", disable=disable)


def _detected(
    model: Any, video: Video | Live, stride: int, batch_size: int
) -> Iterator[tuple[list[Frame], list[Detections], float]]:
    """Yield the frames of each batch, their detections, and the seconds that these took."""
    size = 1 if video.is_live else batch_size
    wanted = every(video.frames(), stride)
    for batch in bounded_batches(wanted, size, lambda frame: frame.image.size // 3):
        begin = time.perf_counter()
        found = model.detect([frame.image for frame in batch], batch_size=size)
        yield batch, found, time.perf_counter() - begin


class _Copy:
    """Everything that is made of a video."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        target: Path,
        model: Any,
        options: VideoOptions,
        *,
        rate: float,
        threshold: float | np.ndarray,
    ):
        self.frames = self._drawn = 0
        self._seconds = 0.0
        self._threshold = threshold
        self._tracking = options.tracking(model.class_names, threshold, rate=rate)
        self._window = None
        if options.show:
            self._window = stack.enter_context(contextlib.closing(Window(target.stem)))
        self.rows = VideoRows(stack, target, model.class_ids, self._tracking)
        temporary = stack.enter_context(atomic_path(target))
        self._video = stack.enter_context(contextlib.closing(DrawnVideo(temporary, rate)))

    def write(
        self, frames: Sequence[Frame], found: Sequence[Detections], *, seconds: float
    ) -> bool:
        """Append frames and their detections, which took `seconds`; return whether to continue."""
        self.frames += len(frames)
        self._seconds += seconds
        wanted = [self._write(*pair) for pair in zip(frames, found, strict=True)]
        return all(wanted)

    @property
    def milliseconds(self) -> float:
        """The time of the detection of a frame."""
        return 1000 * self._seconds / max(1, self.frames)

    def _write(self, frame: Frame, found: Detections) -> bool:
        if self._tracking is not None:
            found = self._tracking.update(found)
        self.rows.write(frame, found)
        self._drawn += len(found.drawn(self._threshold))
        image = self._picture(frame.image, found)
        self._video.write(image)
        return self._window is None or self._window.show(image)

    def _picture(self, image: np.ndarray, found: Detections) -> np.ndarray:
        height = image.shape[0]
        image, found = readable(image, found)
        factor = image.shape[0] / height
        counters = () if self._tracking is None else self._tracking.counters
        places = [[(factor * x, factor * y) for x, y in counter.points] for counter in counters]
        for points in places:  # below the boxes, and the counts above them
            image = draw_shape(image, points)
        image = draw_detections(image, found, threshold=self._threshold)
        for counter, points in zip(counters, places, strict=True):
            image = draw_text(image, points[0], counter.text())
        return image

    def figures(self, stated: int, dropped: int) -> VideoFigures:
        """Return what was written."""
        counts = () if self._tracking is None else tuple(self._tracking.sentences())
        return VideoFigures(
            self.frames, stated, self.rows.count, self._drawn, self.milliseconds, dropped, counts
        )
