"""Videos: every frame detected once, drawn and written as rows; faults are one line."""

import csv
import json
import sys

import numpy as np
import pytest

from keras_retinanet import cli
from keras_retinanet.config import ModelConfig
from keras_retinanet.errors import UserError
from keras_retinanet.inference import videos
from keras_retinanet.modeling.detections import Detections

NAMES = ["cat", "dog"]


class Walker:
    """Finds the bright square that walks to the right, and remembers the batches it was given."""

    config, class_names = ModelConfig(), NAMES

    def __init__(self):
        self.class_ids, self.batches, self.metadata = [17, 18], [], {}

    def detect(self, images, *, batch_size):
        self.batches.append(len(images))
        return [self._find(image) for image in images]

    def _find(self, image):
        rows, columns = np.nonzero(image.min(axis=2) > 128)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        boxes = np.array([box, [0, 0, 20, 10]], np.float32)
        return Detections(boxes, np.float32([0.9, 0.1]), np.array([1, 0]), NAMES)


def frame(number):
    image = np.full((240, 400, 3), (20, 30, 60), np.uint8)
    image[100:160, 40 + 10 * number : 100 + 10 * number] = 255
    return image


@pytest.fixture(scope="module")
def video_file(tmp_path_factory):
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV, the extra `video`")
    path = tmp_path_factory.mktemp("video") / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12.5, (400, 240))
    for number in range(11):
        writer.write(frame(number)[..., ::-1].copy())
    writer.release()
    return path


def test_frames_are_rgb_and_in_order(video_file):
    video = videos.Video(video_file)
    assert (video.stated, video.frames_per_second) == (11, 12.5)
    frames = list(video)
    video.close()
    assert len(frames) == 11
    for number, image in enumerate(frames):
        assert np.abs(image.astype(int) - frame(number)).mean() < 3


def test_every_frame_is_drawn_and_has_its_rows(video_file, tmp_path):
    model = Walker()
    figures = videos.annotate_video(
        model, video_file, tmp_path / "out" / "walk.mp4", batch_size=4, progress=False
    )
    assert figures.milliseconds > 0
    expected = videos.VideoFigures(frames=11, stated=11, detections=22, drawn=11)
    assert figures._replace(milliseconds=0.0) == expected
    assert model.batches == [4, 4, 3]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "walk.csv",
        "walk.json",
        "walk.mp4",
    ]

    rows = json.loads((tmp_path / "out" / "walk.json").read_text())
    with open(tmp_path / "out" / "walk.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == [n for n in range(11) for _ in range(2)]
    assert [row["image_id"] for row in rows] == [row["frame"] for row in rows]
    assert [row["category_id"] for row in rows] == [18, 17] * 11
    for number in range(11):
        row, line = rows[2 * number], lines[2 * number]
        np.testing.assert_allclose(row["bbox"], [40 + 10 * number, 100, 60, 60], atol=1)
        assert row["seconds"] == number * 0.08
        assert (line["frame"], line["class"], line["score"]) == (str(number), "dog", "0.90000")
        x, y, width, height = row["bbox"]
        corners = [float(line[name]) for name in ("x1", "y1", "x2", "y2")]
        np.testing.assert_allclose(corners, [x, y, x + width, y + height], atol=0.006)

    copy = videos.Video(tmp_path / "out" / "walk.mp4")
    drawn = list(copy)
    copy.close()
    assert len(drawn) == 11 and copy.frames_per_second == 12.5
    # The lower edge of the first box is drawn, that of the weak one is not.
    changed = np.abs(drawn[0].astype(int) - frame(0)).mean(axis=2)
    assert changed[160, 50:90].mean() > 40
    assert changed[10, 2:18].mean() < 12


def test_a_small_video_is_drawn_enlarged(tmp_path, video_file):
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV, the extra `video`")
    path = tmp_path / "small.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (100, 60))
    for number in range(3):
        writer.write(frame(number)[::4, ::4].copy())
    writer.release()
    videos.annotate_video(Walker(), path, tmp_path / "drawn.mp4", progress=False)
    copy = videos.Video(tmp_path / "drawn.mp4")
    assert next(iter(copy)).shape == (240, 400, 3)
    copy.close()
    first = json.loads((tmp_path / "drawn.json").read_text())[0]
    np.testing.assert_allclose(first["bbox"], [10, 25, 15, 15], atol=1)


@pytest.mark.parametrize("content", [b"", b"not a video", b"\x00\x00\x00\x18ftypmp42" * 99])
def test_what_is_no_video_is_refused_and_leaves_nothing(content, tmp_path, video_file):
    path = tmp_path / "in" / "broken.mp4"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a video that OpenCV can read. Received: .*broken.mp4"):
        videos.annotate_video(Walker(), path, tmp_path / "out" / "x.mp4", progress=False)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupt_leaves_nothing(video_file, tmp_path):
    class Interrupted(Walker):
        def detect(self, images, *, batch_size):
            if self.batches:
                raise KeyboardInterrupt
            return super().detect(images, batch_size=batch_size)

    with pytest.raises(KeyboardInterrupt):
        videos.annotate_video(
            Interrupted(), video_file, tmp_path / "x.mp4", batch_size=4, progress=False
        )
    assert list(tmp_path.iterdir()) == []


def test_without_opencv_the_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match="pip install opencv-python-headless"):
        videos.Video(tmp_path / "x.mp4")


def test_predict_takes_pictures_and_videos(video_file, tmp_path, monkeypatch, capsys):
    from PIL import Image

    from keras_retinanet.exporting import exported

    model = Walker()
    monkeypatch.setattr(exported, "load_detector", lambda path, **_: model)
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    Image.fromarray(frame(0)).save(folder / "a.png")
    (folder / "detections.avi").write_bytes(video_file.read_bytes())
    (folder / "broken.mov").write_bytes(b"nothing")
    (folder / "model.keras").touch()
    words = ["predict", str(folder), "--model", str(folder / "model.keras"), "--out", str(out)]
    assert cli.run(cli.build_parser().parse_args(words)) == 0
    printed = capsys.readouterr()
    assert "24 detections in 2 of 3 images and videos" in printed.out
    # One of each image or frame is of score .9, the other of .1.
    assert "12 boxes of score 0.500 or more drawn, all in JSON and CSV" in printed.out
    assert [line for line in printed.err.splitlines() if line.startswith("skipped")] == [
        f"skipped {folder}/broken.mov: Expected a video that OpenCV can read. "
        f"Received: {folder}/broken.mov."
    ]
    # The rows of the pictures keep their names: the video's are numbered.
    assert sorted(path.name for path in out.iterdir()) == [
        *("a.jpg", "detections.csv", "detections.json"),
        *("detections_2.csv", "detections_2.json", "detections_2.mp4"),
    ]
    assert len(json.loads((out / "detections.json").read_text())) == 2
    assert json.loads((out / "detections_2.json").read_text())[-1]["frame"] == 10
