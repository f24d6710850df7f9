"""The upright box around what is no upright box: a turned rectangle, polygons, a mask."""

import math
from typing import Any

import numpy as np

Bounds = tuple[float, float, float, float]


def turned_bounds(x: float, y: float, width: float, height: float, *, degrees: float) -> Bounds:
    """Return x1, y1, x2, y2 around the rectangle (x, y, width, height) turned about its center."""
    if not degrees % 180:
        return x, y, x + width, y + height
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    half_x = (width * cosine + height * sine) / 2
    half_y = (width * sine + height * cosine) / 2
    center_x, center_y = x + width / 2, y + height / 2
    return center_x - half_x, center_y - half_y, center_x + half_x, center_y + half_y


def outline_bounds(outline: Any) -> Bounds | None:
    """Return x1, y1, x2, y2 around COCO's polygons or run lengths; None where it is empty.

    Raises:
        ValueError, TypeError, KeyError: it is neither.
    """
    if isinstance(outline, dict):
        return _mask_bounds(outline["counts"], outline["size"])
    rings = outline if isinstance(outline[0], list) else [outline]
    numbers = [float(value) for ring in rings for value in ring]
    x, y = numbers[::2], numbers[1::2]
    return (min(x), min(y), max(x), max(y)) if y else None


def _mask_bounds(counts: Any, size: Any) -> Bounds | None:
    """Return the bounds of a mask: runs of zeros and ones in turn, column by column."""
    height, width = (int(side) for side in size)
    runs = _runs(counts) if isinstance(counts, str) else [int(count) for count in counts]
    ends = np.cumsum([0, *runs])
    if min(runs, default=0) < 0 or height < 1 or ends[-1] > height * width:
        raise ValueError("no run lengths of that size")
    spans = [
        (start, end) for start, end in zip(ends[1::2], ends[2::2], strict=False) if end > start
    ]
    if not spans:
        return None
    # A run that passes the end of a column covers both of its ends.
    rows = [
        (0, height)
        if start // height < (end - 1) // height
        else (start % height, (end - 1) % height + 1)
        for start, end in spans
    ]
    return (
        float(spans[0][0] // height),
        float(min(top for top, _ in rows)),
        float((spans[-1][1] - 1) // height + 1),
        float(max(bottom for _, bottom in rows)),
    )


def _runs(text: str) -> list[int]:
    """Return the run lengths of COCO's compressed text: five bits a letter, differences of runs."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
