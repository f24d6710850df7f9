"""Tracks and counts on a drawn scene whose truth is known."""

import csv
import json
import sys

import numpy as np
import pytest
from drawn_scenes import FRAMES, NAMES, ColorDetector, boxes_at, write_scene

from keras_retinanet.errors import UserError
from keras_retinanet.files.targets import KINDS
from keras_retinanet.inference import tracking
from keras_retinanet.inference.videos import VideoOptions, annotate_video
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.numpy_boxes import corner_overlaps

# From its top to its bottom: objects that walk to the left come in, to its right-hand side.
LINE = [(200.0, 0.0), (200.0, 240.0)]
ZONE = [(50.0, 150.0), (250.0, 150.0), (250.0, 230.0), (50.0, 230.0)]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The folder of the files that are made of the scene."""
    pytest.importorskip("cv2", reason="needs OpenCV, the extra `video`")
    pytest.importorskip("trackers", reason="needs trackers, the extra `track`")
    folder = tmp_path_factory.mktemp("scene")
    write_scene(folder / "scene.avi")
    options = VideoOptions(lines=[LINE], zones=[ZONE])
    figures = annotate_video(
        ColorDetector(), folder / "scene.avi", folder / "out.mp4", options=options, progress=False
    )
    assert figures.counts == (
        "line 1: in: 1 car, out: 1 car",
        "zone 1: inside: 0, in all: 1 person",
    )
    return folder


def mot_boxes(path):
    """Return frame (from 0) -> [(track, xyxy)] of a file of MOTChallenge."""
    found = {number: [] for number in range(FRAMES)}
    for line in path.read_text().splitlines():
        frame, track, left, top, width, height, *_ = map(float, line.split(","))
        found[int(frame) - 1].append((int(track), [left, top, left + width, top + height]))
    return found


def test_each_object_keeps_one_number_through_low_scores_and_behind_a_wall(out):
    pairs, missed, wrong = set(), [], 0
    for number, tracked in mot_boxes(out / "out.txt").items():
        truth = boxes_at(number)
        boxes = np.array([box for _, box in tracked]).reshape(-1, 4)
        for walker, box in truth.items():
            iou = corner_overlaps(box[None].astype(float), boxes)[0][0]
            if len(iou) and iou.max() > 0.5:
                pairs.add((walker, tracked[int(iou.argmax())][0]))
            else:
                missed.append((number, walker))
        wrong += max(0, len(tracked) - len(truth))
    # One number a walker, four in all: no switch. Each is missed in its first frame alone.
    assert sorted(walker for walker, _ in pairs) == [0, 1, 2, 3]
    assert sorted(track for _, track in pairs) == [1, 2, 3, 4]
    first = {walker: number for number in reversed(range(FRAMES)) for walker in boxes_at(number)}
    assert sorted(missed) == sorted((number, walker) for walker, number in first.items())
    assert wrong == 0


def test_mota_and_idf1_of_the_scene(out):
    """MOTA 1 - 4 / 222 and IDF1 2 * 218 / (222 + 218), by the package's own metrics."""
    evaluation = pytest.importorskip("trackers.eval")
    truth = "".join(
        f"{number + 1},{walker + 1},{x1},{y1},{x2 - x1},{y2 - y1},1,1,1\n"
        for number in range(FRAMES)
        for walker, (x1, y1, x2, y2) in boxes_at(number).items()
    )
    assert truth.count("\n") == 222
    (out / "truth.txt").write_text(truth)
    result = evaluation.evaluate_mot_sequence(
        out / "truth.txt", out / "out.txt", metrics=["CLEAR", "Identity"]
    )
    assert result.CLEAR.MOTA == pytest.approx(1 - 4 / 222)
    assert result.CLEAR.IDSW == 0
    assert result.Identity.IDF1 == pytest.approx(2 * 218 / (222 + 218))


def test_tracks_are_in_all_files(out):
    rows = json.loads((out / "out.json").read_text())
    with open(out / "out.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(rows) == len(lines) == 222
    assert [row["track_id"] for row in rows] == [
        int(line["track"]) if line["track"] else None for line in lines
    ]
    numbers = [row["track_id"] for row in rows if row["track_id"] is not None]
    assert sorted(set(numbers)) == [1, 2, 3, 4] and len(numbers) == 218
    of_class = {(row["track_id"], row["category_id"]) for row in rows if row["track_id"]}
    assert len(of_class) == 4  # an object stays in its class
    assert KINDS["tracks"](out / "out.txt") and KINDS["counts"](out / "out_counts.json")
    assert KINDS["video rows"](out / "out.csv")


def test_counts_by_class_are_written(out):
    counts = json.loads((out / "out_counts.json").read_text())
    assert counts == {
        "lines": [{"points": [[200, 0], [200, 240]], "in": {"car": 1}, "out": {"car": 1}}],
        "zones": [
            {
                "points": [list(point) for point in ZONE],
                "entered": {"person": 1},
                "most": {"person": 1},
                "inside": {},
            }
        ],
    }


def test_of_a_stride_every_nth_frame_is_tracked(out):
    options = VideoOptions(stride=2, track=True)
    figures = annotate_video(
        ColorDetector(), out / "scene.avi", out / "half.mp4", options=options, progress=False
    )
    assert (figures.frames, figures.stated) == (30, 30)
    rows = json.loads((out / "half.json").read_text())
    assert {row["frame"] for row in rows} == set(range(0, FRAMES, 2))
    assert {row["track_id"] for row in rows} == {None, 1, 2, 3, 4}
    assert rows[-1]["seconds"] == round(58 / 30, 3)
    assert not (out / "half_counts.json").exists()


def test_a_detection_below_the_lowest_score_is_no_part_of_a_track():
    pytest.importorskip("trackers", reason="needs trackers, the extra `track`")
    tracker = tracking.Tracker(NAMES, threshold=0.5)
    box, classes = np.float32([[10, 10, 40, 40]]), np.array([1])
    found = [
        tracker.update(Detections(box, np.float32([score]), classes, NAMES)).tracks.tolist()
        for score in (0.9, 0.9, 0.3, 0.09, 0.9)
    ]
    assert found == [[-1], [1], [1], [-1], [1]]


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(UserError, match="pip install trackers"):
        tracking.Tracker(NAMES)
