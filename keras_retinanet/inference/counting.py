"""Tracked objects that cross a line or are in a zone, counted by class.

Boxes and points are in pixels of the frame; an object is where the middle of its box is. Counts
need no frame in a row: an object that is hidden while it crosses a line is counted when its track
resumes. Shape letters: N detections, P points.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_retinanet.modeling.detections import Detections

Point = tuple[float, float]


def centers(found: Detections) -> list[tuple[int, str, Point]]:
    """Return track, class name and the middle of the box of each detection that has a track."""
    if found.tracks is None:
        return []
    middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    return [
        (int(track), name, (float(x), float(y)))
        for track, name, (x, y) in zip(found.tracks, found.names, middles, strict=True)
        if track >= 0
    ]


def side(point: Point, start: Point, end: Point) -> bool:
    """Return whether `point` lies right of the line from `start` to `end`, or on it.

    Right as seen on the screen, whose y axis points down.
    """
    across = (end[0] - start[0]) * (point[1] - start[1])
    return across - (end[1] - start[1]) * (point[0] - start[0]) >= 0


class Line:
    """Counts objects that cross the line between two points.

    Args:
        points: start and end. Looking from start to end, an object that moves from the left to
            the right comes in; one that moves back goes out.
    """

    def __init__(self, points: Sequence[Point]):
        self.points = list(points)
        self.counts: dict[str, Counter[str]] = {"in": Counter(), "out": Counter()}
        self._last: dict[int, Point] = {}

    def update(self, found: Detections) -> None:
        """Count the objects that crossed since they were seen last."""
        start, end = self.points
        for track, name, center in centers(found):
            last = self._last.get(track, center)
            self._last[track] = center
            is_right = side(center, start, end)
            # The movement crosses the endless line, and its own line has both ends beside it.
            if side(last, start, end) != is_right and side(start, last, center) != side(
                end, last, center
            ):
                self.counts["in" if is_right else "out"][name] += 1

    def summary(self) -> dict[str, Any]:
        """Return the points and the counts by class, as plain values."""
        return {"points": self.points} | {way: dict(count) for way, count in self.counts.items()}

    def text(self) -> str:
        """Return the counts in words."""
        return ", ".join(f"{way}: {_words(count)}" for way, count in self.counts.items())


class Zone:
    """Counts objects in a polygon.

    Args:
        points: P corners in order, at least three; edges may not cross.
    """

    def __init__(self, points: Sequence[Point]):
        self.points = list(points)
        self.inside: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.entered: Counter[str] = Counter()
        self._seen: set[int] = set()

    def update(self, found: Detections) -> None:
        """Count the objects that are in the zone now."""
        here = [(track, name) for track, name, center in centers(found) if self.holds(center)]
        self.inside = Counter(name for _, name in here)
        self.most |= self.inside
        self.entered += Counter(name for track, name in here if track not in self._seen)
        self._seen.update(track for track, _ in here)

    def holds(self, point: Point) -> bool:
        """Return whether a ray from `point` crosses an odd number of edges: it is inside."""
        x, y = point
        odd = False
        for (x1, y1), (x2, y2) in zip(self.points, [*self.points[1:], self.points[0]], strict=True):
            if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
                odd = not odd
        return odd

    def summary(self) -> dict[str, Any]:
        """Return the points and counts by class: different objects, most at once, the last."""
        counts = {"entered": self.entered, "most": self.most, "inside": self.inside}
        return {"points": self.points} | {key: dict(count) for key, count in counts.items()}

    def text(self) -> str:
        """Return the counts in words."""
        return f"inside: {_words(self.inside)}, in all: {_words(self.entered)}"


def _words(count: Counter[str]) -> str:
    return " ".join(f"{number} {name}" for name, number in sorted(count.items())) or "0"


def as_points(numbers: Sequence[float]) -> list[Point]:
    """Return x, y, x, y, ... as points."""
    array = np.asarray(numbers, float).reshape(-1, 2)
    return [(float(x), float(y)) for x, y in array]
