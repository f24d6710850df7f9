"""Conversions and filters of the detections of one image."""

import sys
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keras_retinanet.errors import UserError
from keras_retinanet.modeling.detections import Detections

NAMES = ["cat", "=dog", "cow"]


@pytest.fixture
def found():
    boxes = np.array([[0.1, 2, 10.5, 22], [5, 5, 6, 7.25], [1, 1, 3, 4]], np.float32)
    scores = np.array([0.9, 0.5, 0.25], np.float32)
    return Detections(boxes, scores, np.array([1, 0, 1], np.int32), NAMES)


def same(one, other):
    for name in ("boxes", "scores", "classes"):
        column = getattr(one, name)
        np.testing.assert_array_equal(column, getattr(other, name))
        assert column.dtype == getattr(other, name).dtype
    assert one.class_names == other.class_names


def test_sides_give_back_the_corners(found):
    xywh = found.xywh
    assert xywh.dtype == np.float64
    np.testing.assert_array_equal(
        (xywh[:, :2] + xywh[:, 2:]).astype(np.float32), found.boxes[:, 2:]
    )
    assert xywh[1].tolist() == [5, 5, 1, 2.25]
    assert found.names == ["=dog", "cat", "=dog"]


def test_filters(found):
    assert found.with_score(0.5).scores.tolist() == [np.float32(0.9), 0.5]
    assert found.of_classes("=dog").scores.tolist() == [np.float32(0.9), 0.25]
    assert len(found.of_classes("cow")) == 0
    assert len(found.of_classes("cow", "cat", "=dog")) == 3
    assert found.select(np.array([2, 0])).names == ["=dog", "=dog"]
    with pytest.raises(ValueError, match=r"Expected names of cat, =dog, cow. Received: owl"):
        found.of_classes("cat", "owl")


def test_rows_of_coco(found):
    rows = found.to_coco("a", [17, 18, 90])
    assert [list(row) for row in rows] == [["image_id", "category_id", "bbox", "score"]] * 3
    assert rows[1] == {"image_id": "a", "category_id": 17, "bbox": [5, 5, 1, 2.25], "score": 0.5}
    assert {type(row["category_id"]) for row in rows} == {int}
    assert {type(side) for row in rows for side in row["bbox"]} == {float}
    assert found.with_score(1).to_coco(1, [17, 18, 90]) == []


def test_cells_are_no_formulas(found):
    assert found.csv_cells()[0] == ["0.10", "2.00", "10.50", "22.00", "'=dog", "0.90000"]


@dataclass
class Supervised:
    """Stands in for `supervision.Detections`, with its documented fields."""

    xyxy: Any
    confidence: Any = None
    class_id: Any = None
    tracker_id: Any = None
    data: dict = field(default_factory=dict)


@pytest.fixture
def supervision(monkeypatch):
    """The package if it is installed, else a stand-in."""
    try:
        import supervision
    except ImportError:
        supervision = SimpleNamespace(Detections=Supervised)
        monkeypatch.setitem(sys.modules, "supervision", supervision)
    return supervision


def test_supervision_both_ways(found, supervision):
    given = found.to_supervision()
    assert isinstance(given, supervision.Detections)
    np.testing.assert_array_equal(given.xyxy, found.boxes)
    assert given.class_id.tolist() == [1, 0, 1]
    assert given.data["class_name"].tolist() == found.names
    same(Detections.from_supervision(given, NAMES), found)
    nothing = found.with_score(1)
    same(Detections.from_supervision(nothing.to_supervision(), NAMES), nothing)


def test_names_of_supervision_count_more_than_its_ids(found, supervision):
    turned = Detections.from_supervision(found.to_supervision(), ["cow", "cat", "=dog"])
    assert turned.classes.tolist() == [2, 1, 2] and turned.names == found.names
    given = supervision.Detections(
        xyxy=found.boxes, confidence=found.scores, class_id=np.array([2, 0, 1])
    )
    assert Detections.from_supervision(given, NAMES).classes.tolist() == [2, 0, 1]


def test_what_supervision_lacks_is_named(found, supervision):
    given = supervision.Detections(xyxy=found.boxes, class_id=found.classes)
    with pytest.raises(ValueError, match=r"with `confidence`, and `class_id`"):
        Detections.from_supervision(given, NAMES)
    given = supervision.Detections(
        xyxy=found.boxes, confidence=found.scores, class_id=found.classes
    )
    with pytest.raises(ValueError, match=r"class ids of 0 to 0.*Received: 0 to 1"):
        Detections.from_supervision(given, ["cat"])
    with pytest.raises(ValueError, match="Received: =dog, =dog"):
        Detections.from_supervision(found.to_supervision(), ["cat"])


def test_supervision_is_not_needed_until_asked(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(UserError, match="pip install supervision"):
        found.to_supervision()


def test_a_threshold_of_each_class(found):
    kept = found.with_score(np.array([0.6, 0.25, 0.0]))
    assert kept.names == ["=dog", "=dog"]
    # As float32 too, which .9 is not exactly.
    assert len(found.with_score(0.9)) == 1
    assert len(found.with_score(np.array([0.9, 0.9, 0.9]))) == 1


def test_tracks_go_along(found, supervision):
    tracked = replace(found, tracks=np.array([3, -1, 7]))
    assert tracked.select([2, 0]).tracks.tolist() == [7, 3]
    assert tracked.of_classes("cat").tracks.tolist() == [-1]
    assert [row["track_id"] for row in tracked.to_coco(1, [1, 2, 3])] == [3, None, 7]
    assert [cells[-1] for cells in tracked.csv_cells()] == ["3", "", "7"]
    assert "track_id" not in found.to_coco(1, [1, 2, 3])[0]
    back = Detections.from_supervision(tracked.to_supervision(), NAMES)
    assert back.tracks.tolist() == [3, -1, 7]
    assert Detections.from_supervision(found.to_supervision(), NAMES).tracks is None
    # A track is drawn whatever its score.
    assert tracked.drawn(0.8).scores.tolist() == [pytest.approx(0.9), 0.25]
    assert found.drawn(0.8).scores.tolist() == [pytest.approx(0.9)]
