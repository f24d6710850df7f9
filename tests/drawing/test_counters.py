"""Lines, zones and track numbers on frames."""

import numpy as np
import pytest

from keras_retinanet.drawing import pictures
from keras_retinanet.drawing.counters import draw_shape, draw_text

GRAY = np.full((120, 200, 3), 128, np.uint8)


def test_a_line_is_drawn_with_its_text_and_the_frame_stays():
    drawn = draw_text(draw_shape(GRAY, [(100, 0), (100, 119)]), (100, 0), "in: 2 cars")
    assert (GRAY == 128).all()
    assert drawn[60, 100].tolist() == [255, 255, 255]
    assert drawn[60, 90].tolist() == [128, 128, 128]
    # The text is white on black at the first point.
    corner = drawn[:12, 101:130].reshape(-1, 3)
    assert (corner == 0).all(axis=1).any() and (corner > 200).all(axis=1).any()


def test_a_polygon_is_closed():
    drawn = draw_shape(GRAY, [(40, 40), (160, 40), (160, 100), (40, 100)])
    for x, y in ((100, 40), (160, 70), (100, 100), (40, 90)):
        assert drawn[y, x].tolist() == [255, 255, 255]
    assert drawn[70, 100].tolist() == [128, 128, 128]


@pytest.mark.parametrize("start", [(-50, -50), (500, 500)])
def test_the_text_at_a_point_outside_is_inside(start):
    drawn = draw_text(GRAY, start, "inside")
    assert ((drawn == 0).all(axis=2)).sum() > 100


def test_the_number_of_a_track_stands_before_its_class(monkeypatch):
    texts = []
    monkeypatch.setattr(
        pictures, "draw_marks", lambda image, marks: texts.extend(mark.text for mark in marks)
    )
    pictures.draw_boxes(
        GRAY,
        np.array([[10, 10, 50, 50], [60, 60, 90, 90]]),
        classes=np.array([0, 1]),
        class_names=["car", "dog"],
        scores=np.array([0.5, 0.25]),
        tracks=np.array([12, -1]),
    )
    assert texts == ["dog 0.25", "#12 car 0.50"]
