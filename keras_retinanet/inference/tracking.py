"""Tracks: which detections of consecutive frames are one object.

By ByteTrack (Zhang et al. 2022, "ByteTrack: Multi-object tracking by associating every detection
box") of the package trackers, for each class on its own. Shape letters: N detections, K classes.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.inference.counting import Line, Zone
from keras_retinanet.modeling.detections import Detections

# Detections below are not even of an object that is hard to see: section 4.1 of the paper.
LOWEST_SCORE = 0.1
# How long a track waits for its object, in seconds: section 4.1, 30 frames of 30 a second.
PATIENCE = 1.0
# Frames a second to which trackers' own buffer refers.
_REFERENCE_RATE = 30.0
NO_TRACK = -1


def _byte_track() -> Any:
    try:
        from trackers import ByteTrackTracker
    except ImportError as error:
        raise UserError(
            "Expected the package trackers, which follows objects. Received: a Python without "
            "it. Install it: pip install trackers."
        ) from error
    return ByteTrackTracker


class Tracker:
    """Gives detections of one frame after the other the numbers of their tracks.

    A track begins with the second of two frames in which an object scores at least the
    threshold, and follows it through lower scores.

    Args:
        class_names: of the model. An object stays in its class.
        threshold: least score of a new track, or (K,) one for each class.
        frames_per_second: of the frames that `update` is given.

    Raises:
        UserError: the package trackers is missing.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        threshold: float | np.ndarray = 0.5,
        frames_per_second: float = _REFERENCE_RATE,
    ):
        make = _byte_track()
        scores = np.broadcast_to(threshold, len(class_names))
        self._trackers = [
            make(
                lost_track_buffer=round(PATIENCE * _REFERENCE_RATE),
                frame_rate=frames_per_second,
                track_activation_threshold=float(score),
                high_conf_det_threshold=float(score),
            )
            for score in scores
        ]
        self._numbers: dict[tuple[int, int], int] = {}

    def update(self, found: Detections) -> Detections:
        """Return the detections of the next frame with `tracks`, which count from 1; -1: none."""
        tracks = np.full(len(found), NO_TRACK, np.int64)
        for index, tracker in enumerate(self._trackers):
            rows = np.flatnonzero((found.classes == index) & (found.scores >= LOWEST_SCORE))
            given = found.select(rows).to_supervision()
            given.data["row"] = rows
            followed = tracker.update(given)
            for row, own in zip(followed.data.get("row", ()), followed.tracker_id, strict=True):
                if own >= 0:
                    key = index, int(own)
                    tracks[row] = self._numbers.setdefault(key, len(self._numbers) + 1)
        return dataclasses.replace(found, tracks=tracks)


class Tracking:
    """Tracks, and the lines and zones that count them.

    Args:
        tracker: of the video.
        lines, zones: are updated with each frame.
    """

    def __init__(self, tracker: Tracker, lines: Sequence[Line] = (), zones: Sequence[Zone] = ()):
        self.tracker, self.lines, self.zones = tracker, list(lines), list(zones)

    @property
    def counters(self) -> list[Line | Zone]:
        """Return the lines and the zones."""
        return [*self.lines, *self.zones]

    def update(self, found: Detections) -> Detections:
        """Return the detections of the next frame with their tracks, which are counted."""
        found = self.tracker.update(found)
        for counter in self.counters:
            counter.update(found)
        return found

    def summary(self) -> dict[str, Any]:
        """Return all counts as plain values."""
        return {
            "lines": [line.summary() for line in self.lines],
            "zones": [zone.summary() for zone in self.zones],
        }

    def sentences(self) -> list[str]:
        """Return the counts of each line and zone."""
        lines = [f"line {number}: {line.text()}" for number, line in enumerate(self.lines, 1)]
        zones = [f"zone {number}: {zone.text()}" for number, zone in enumerate(self.zones, 1)]
        return lines + zones


def mot_rows(frame: int, found: Detections) -> list[str]:
    """Return the tracked detections of a frame as lines of MOTChallenge's results.

    Each is `frame,track,left,top,width,height,score,-1,-1,-1`; frames count from 1.

    Args:
        frame: its number, from 0.
        found: with `tracks`.

    Source: https://motchallenge.net/instructions/
    """
    tracks = np.full(len(found), NO_TRACK) if found.tracks is None else found.tracks
    return [
        f"{frame + 1},{track},{left:.2f},{top:.2f},{width:.2f},{height:.2f},{score:.5f},-1,-1,-1"
        for track, (left, top, width, height), score in zip(
            tracks, found.xywh, found.scores, strict=True
        )
        if track != NO_TRACK
    ]
