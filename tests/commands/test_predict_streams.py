"""`predict` and `stream` of cameras, addresses and standard input, and their flags."""

import io
import json
import os
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from drawn_scenes import FRAMES, NAMES, ColorDetector, scene, write_scene
from in_process import command
from PIL import Image
from stream_server import Camera, serving

from keras_retinanet.exporting import exported
from keras_retinanet.inference import windows
from keras_retinanet.inference.videos import VideoOptions, annotate_video
from keras_retinanet.modeling.streaming import Streaming

pytest.importorskip("cv2", reason="needs OpenCV, the extra `video`")
BRIGHT = range(20, 28)


class Streamed(ColorDetector, Streaming):
    """A detector with `stream`."""


@pytest.fixture
def predict(tmp_path, monkeypatch):
    monkeypatch.setattr(exported, "load_detector", lambda path, **_: Streamed())
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    (tmp_path / "model.keras").touch()
    words = ["--model", tmp_path / "model.keras", "--out", tmp_path / "out"]
    return lambda *given: command("predict", *words, *given)


def piped(monkeypatch, content):
    """Have `content` come on standard input."""
    buffer = io.BufferedReader(io.BytesIO(content))
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=buffer))


@pytest.fixture(scope="module")
def video_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "scene.avi"
    write_scene(path)
    return path


def test_a_stream_is_drawn_and_has_its_rows(predict, tmp_path, capsys):
    with serving(Camera(BRIGHT)) as address:
        assert predict(address, "--stride", "2", "--reconnect", "0") == 0
    printed = capsys.readouterr()
    # On a busy machine some may be dropped.
    assert re.search(r"yard\.mp4: [1-4] frames.*, \d+ ms a frame to detect", printed.out)
    assert "in 1 of 1 videos" in printed.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("yard.csv", "yard.json", "yard.mp4")
    ]


@pytest.mark.parametrize("source", ["http://127.0.0.1:9/yard", "95"])
def test_an_unreachable_source_is_one_line_and_leaves_nothing(predict, tmp_path, capsys, source):
    assert predict(source) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len([line for line in errors if "cannot be reached" in line]) == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.long
def test_flags_of_videos_do_not_let_tensorflow_print_its_start(monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    words = "predict http://127.0.0.1:9/yard --track --line 0,0,9,9 --out missing".split()
    done = subprocess.run(
        [sys.executable, "-m", "keras_retinanet", *words], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_an_image_on_standard_input(predict, tmp_path, monkeypatch, capsys):
    stream = io.BytesIO()
    Image.fromarray(scene(20)).save(stream, "PNG")
    piped(monkeypatch, stream.getvalue())
    assert predict("-", "--write", "coco") == 0
    assert "in 1 of 1 images" in capsys.readouterr().out
    with Image.open(tmp_path / "out/stdin.jpg") as drawn:
        assert drawn.size == (400, 240)
    rows = json.loads((tmp_path / "out/detections.json").read_text())
    assert {os.path.basename(row["file_name"]) for row in rows} == {"stdin.png"}
    assert (tmp_path / "out/coco/train/stdin.png").read_bytes() == stream.getvalue()
    assert not os.path.exists(rows[0]["file_name"])  # the copy is gone


def test_a_video_on_standard_input(predict, tmp_path, monkeypatch, video_file, capsys):
    piped(monkeypatch, video_file.read_bytes())
    assert predict("-", "--stride", "10") == 0
    assert "stdin.mp4: 6 frames" in capsys.readouterr().out
    rows = json.loads((tmp_path / "out/stdin.json").read_text())
    assert {row["frame"] for row in rows} == set(range(0, FRAMES, 10))


def test_nothing_on_standard_input_is_the_users_error(predict, monkeypatch, capsys):
    piped(monkeypatch, b"")
    assert predict("-") == 2
    assert "on standard input. Received: nothing." in capsys.readouterr().err


def test_a_file_that_is_called_by_a_number_is_no_camera(predict, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene(20)).save("0", "PNG")
    assert predict("0") == 0
    assert "in 1 of 1 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--track"], "Expected a video or a stream for --track. Received: images alone."),
        (["--stride=3"], "Expected a video or a stream for --stride."),
        (["--show", "street.mp4"], "Expected a display for --show."),
    ],
)
def test_flags_of_videos_that_mean_nothing_are_refused(
    predict, tmp_path, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene(20)).save("a.png")
    (tmp_path / "street.mp4").touch()
    assert predict(*words[1:], "a.png", words[0]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        *(["--line", text] for text in ("1,2,3", "1,2,1,2", "a,b,c,d", "1,2,3,4,5,6", "1,2,3,inf")),
        *(["--zone", text] for text in ("1,2,3,4", "1,2,1,2,1,2", "1,2,3,4,5")),
        *(["--stride", text] for text in ("0", "-1", "x")),
    ],
)
def test_points_and_counts_are_checked(predict, capsys, words):
    with pytest.raises(SystemExit) as exit_:
        predict("a.mp4", *words)
    assert exit_.value.code == 2 and "expected" in capsys.readouterr().err


def test_tracks_of_others_are_not_replaced(predict, tmp_path, video_file, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/scene.txt").write_text("mine")
    assert predict(video_file, "--track") == 2
    assert "out/scene.txt, which holds something else" in capsys.readouterr().err
    assert (tmp_path / "out/scene.txt").read_text() == "mine"


def test_who_stops_a_camera_has_what_it_saw(tmp_path):
    class Stopped(ColorDetector):
        def detect(self, images, *, batch_size):
            if self.frames == 3:
                raise KeyboardInterrupt
            return super().detect(images, batch_size=batch_size)

    with serving(Camera(BRIGHT, pause=0.05)) as address:
        figures = annotate_video(
            Stopped(), address, tmp_path / "yard.mp4", batch_size=8, progress=False
        )
    assert figures.frames == 3
    assert json.loads((tmp_path / "yard.json").read_text()) == []
    assert (tmp_path / "yard.mp4").stat().st_size > 0


def test_the_window_shows_each_frame_and_its_reader_can_end_it(tmp_path, monkeypatch, video_file):
    shown, closed = [], []
    fake = types.SimpleNamespace(
        WINDOW_NORMAL=0,
        error=RuntimeError,
        namedWindow=lambda *_: None,
        imshow=lambda title, image: shown.append(image),
        waitKey=lambda _: ord("q") if len(shown) == 8 else -1,
        destroyWindow=closed.append,
    )
    monkeypatch.setattr(windows, "opencv", lambda: fake)
    monkeypatch.setenv("DISPLAY", ":9")
    figures = annotate_video(
        *(Streamed(), video_file, tmp_path / "scene.mp4"),
        batch_size=4,
        options=VideoOptions(show=True),
        progress=False,
    )
    assert figures.frames == len(shown) == 8 and closed == ["scene"]
    assert np.abs(shown[0][..., ::-1].astype(int) - scene(0)).mean() < 6  # BGR

    def fail(*_):
        raise RuntimeError

    fake.namedWindow = fail
    with pytest.raises(ValueError, match="pip install opencv-python"):
        windows.Window("x")


def test_stream_yields_frames_and_detections(video_file):
    model = Streamed()
    pairs = list(model.stream(video_file, stride=7, batch_size=4))
    assert [frame.number for frame, _ in pairs] == list(range(0, FRAMES, 7))
    for frame, found in pairs:
        assert np.abs(frame.image.astype(int) - scene(frame.number)).mean() < 3
        assert set(found.names) <= set(NAMES)
        assert frame.seconds == pytest.approx(frame.number / 30)
    with serving(Camera(BRIGHT)) as address:
        numbers = [frame.number for frame, _ in model.stream(address, retries=0)]
    assert numbers == sorted(set(numbers)) and numbers[-1] == len(BRIGHT) - 1


def test_all_detectors_stream():
    from keras_retinanet.exporting.detectors import ExportedDetector
    from keras_retinanet.modeling.composed import ComposedDetector
    from keras_retinanet.modeling.retinanet import RetinaNet

    for kind in (RetinaNet, ComposedDetector, ExportedDetector):
        assert kind.stream is Streaming.stream
