"""Crossings of a line and objects in a zone, on movements drawn by hand."""

import numpy as np
import pytest

from keras_retinanet.inference.counting import Line, Zone
from keras_retinanet.modeling.detections import Detections

NAMES = ["car", "dog"]


def at(*objects):
    """Return detections of (track, class, x, y), x and y of the middle of the box."""
    middles = np.array([(x, y) for _, _, x, y in objects], np.float32).reshape(-1, 2)
    return Detections(
        np.concatenate([middles - 4, middles + 4], axis=1),
        np.ones(len(objects), np.float32),
        np.array([index for _, index, *_ in objects], np.int32),
        NAMES,
        np.array([track for track, *_ in objects], np.int64),
    )


def counts(line, *steps):
    for step in steps:
        line.update(at(*step))
    return {way: dict(count) for way, count in line.counts.items()}


# From left to right: its right-hand side is below.
LINE = [(10, 50), (90, 50)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([(50, 20), (50, 80)], {"in": {"car": 1}, "out": {}}),
        ([(50, 80), (50, 20)], {"in": {}, "out": {"car": 1}}),
        ([(50, 20), (50, 80), (50, 20)], {"in": {"car": 1}, "out": {"car": 1}}),
        ([(50, 20), (50, 49), (50, 20)], {"in": {}, "out": {}}),
        ([(50, 20), (50, 50), (50, 51), (50, 80)], {"in": {"car": 1}, "out": {}}),  # on it
        ([(95, 20), (95, 80)], {"in": {}, "out": {}}),  # past its end
        ([(5, 45), (20, 55)], {"in": {"car": 1}, "out": {}}),
        ([(0, 45), (12, 57)], {"in": {}, "out": {}}),  # around its end
        ([(50, 80)], {"in": {}, "out": {}}),  # a track that begins behind it
    ],
)
def test_crossings_of_a_line(path, expected):
    assert counts(Line(LINE), *([(1, 0, x, y)] for x, y in path)) == expected


def test_the_other_way_round_a_line_counts_the_other_way():
    steps = [[(1, 1, 50, 20)], [(1, 1, 50, 80)]]
    assert counts(Line(LINE[::-1]), *steps) == {"in": {}, "out": {"dog": 1}}


def test_a_crossing_while_hidden_is_counted_and_no_track_is_not():
    hidden = [[(1, 0, 50, 20)], [], [], [], [(1, 0, 60, 80)]]
    assert counts(Line(LINE), *hidden)["in"] == {"car": 1}
    nameless = [[(-1, 0, 50, 20)], [(-1, 0, 50, 80)]]
    assert counts(Line(LINE), *nameless) == {"in": {}, "out": {}}
    untracked = Detections(*vars(at((1, 0, 50, 20))).values())
    line = Line(LINE)
    line.update(Detections(untracked.boxes, untracked.scores, untracked.classes, NAMES))
    assert line.text() == "in: 0, out: 0"


def test_a_zone_counts_different_objects_the_most_at_once_and_the_last():
    zone = Zone([(0, 0), (60, 0), (60, 60), (30, 20), (0, 60)])  # a notch from below
    assert zone.holds((10, 30)) and zone.holds((50, 30)) and not zone.holds((30, 40))
    for step in (
        [(1, 0, 10, 10), (2, 1, 50, 30), (3, 0, 30, 40)],
        [(1, 0, 12, 10), (2, 1, 90, 30), (4, 0, 50, 10)],
        [(1, 0, 14, 10), (2, 1, 50, 30), (-1, 1, 50, 10)],
    ):
        zone.update(at(*step))
    summary = zone.summary()
    assert summary["entered"] == {"car": 2, "dog": 1}
    assert summary["most"] == {"car": 2, "dog": 1}
    assert summary["inside"] == {"car": 1, "dog": 1}
    assert zone.text() == "inside: 1 car 1 dog, in all: 2 car 1 dog"
