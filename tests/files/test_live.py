"""Live sources, from an HTTP server on this machine: order, dropped frames, interruptions."""

import itertools
import time

import numpy as np
import pytest
from rtsp_server import rtsp_camera
from stream_server import Camera, number_of, numbered, serving

from keras_retinanet.errors import UserError
from keras_retinanet.files import live
from keras_retinanet.files.addresses import video_name
from keras_retinanet.files.live import WAITING, Live, every
from keras_retinanet.files.videos import Frame

pytest.importorskip("cv2", reason="needs OpenCV, the extra `video`")


def opened(address, **options):
    return Live(address, **{"retries": 1, "pause": 0.01, **options})


def test_frames_of_a_camera_come_in_order_and_over_an_interruption():
    lines = []
    camera = Camera(range(6), range(6, 9))
    with serving(camera) as address:
        source = opened(address, report=lines.append)
        assert (source.is_live, source.stated) == (True, 0)
        frames = list(source.frames())
        source.close()
    numbers = [frame.number for frame in frames]
    assert [number_of(frame.image) for frame in frames] == numbers == sorted(numbers)
    # On a busy machine some may be dropped; the newest never are.
    assert len(frames) + source.dropped == 9 and numbers[-1] == 8
    times = [frame.seconds for frame in frames]
    assert times == sorted(times) and times[0] >= 0
    # Opened twice, and once in vain.
    assert camera.asked == 3
    assert lines == [
        *[f"{address} broke off; trying again."] * 2,
        f"{address} is gone after 1 attempt to open it again.",
    ]


def test_frames_of_an_rtsp_camera():
    lines = []
    with rtsp_camera(range(20)) as address:
        source = opened(address, retries=0, report=lines.append)
        frames = list(source.frames())
        source.close()
    assert (source.is_live, source.frames_per_second) == (True, 25)
    assert [number_of(frame.image) for frame in frames] == [frame.number for frame in frames]
    assert len(frames) + source.dropped == 20
    assert lines == [f"{address} has ended."]


def test_a_slow_reader_gets_the_newest_frames():
    with serving(Camera(range(30), pause=0.001)) as address:
        source = opened(address, retries=0)
        frames = iter(source.frames())
        got = [next(frames)]
        source._thread.join()  # as if the detector took so long that all others came
        got += frames
        source.close()
    assert len(got) == 1 + WAITING
    assert [number_of(frame.image) for frame in got[1:]] == [26, 27, 28, 29]
    assert [frame.number for frame in got[1:]] == [26, 27, 28, 29]
    assert source.dropped == 30 - len(got)


def test_a_file_behind_an_address_waits_for_its_reader(tmp_path):
    import cv2

    path = tmp_path / "yard.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 96))
    for number in range(12):
        writer.write(numbered(number))
    writer.release()
    with serving(Camera(file=path.read_bytes())) as address:
        source = opened(address)
        assert (source.is_live, source.stated, source.frames_per_second) == (False, 12, 10)
        frames = []
        for frame in source.frames():
            frames.append(frame)
            assert len(source._waiting) <= WAITING
        source.close()
    assert [number_of(frame.image) for frame in frames] == list(range(12))
    assert [frame.seconds for frame in frames] == [number / 10 for number in range(12)]
    assert source.dropped == 0


def test_closing_stops_the_thread_before_the_source_ends():
    with serving(Camera(itertools.cycle(range(30)))) as address:
        source = opened(address)
        next(iter(source.frames()))
        source.close()
        assert not source._thread.is_alive()


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("http://127.0.0.1:9/yard.mjpg", "http://127.0.0.1:9/yard.mjpg"),
        ("rtsp://me:secret@127.0.0.1:9/live?token=secret", "rtsp://127.0.0.1:9/live"),
        (97, "camera 97"),
    ],
)
def test_what_cannot_be_reached_is_one_line_without_passwords(source, shown):
    with pytest.raises(UserError) as error:
        Live(source)
    assert f"Received: {shown}, which cannot be reached" in str(error.value)
    assert "secret" not in str(error.value) and "\n" not in str(error.value)


def test_a_refused_frame_size_is_the_users_error(monkeypatch):
    monkeypatch.setattr("keras_retinanet.files.videos.MAX_PIXELS", 1000)
    with (
        serving(Camera(range(3))) as address,
        pytest.raises(UserError, match="frames of at most 1000 pixels"),
    ):
        opened(address)


def test_pauses_grow_and_end_with_the_source(monkeypatch):
    with serving(Camera(range(6))) as address:
        source = opened(address, retries=3, pause=0.02)
        begin = time.monotonic()
        list(source.frames())
        # .02 + .04 + .08 seconds of waiting for a camera that is gone.
        assert time.monotonic() - begin >= 0.14
        source.close()


def test_every_nth_frame_also_of_those_that_are_left():
    image = np.zeros((1, 1, 3), np.uint8)
    frames = [Frame(number, 0.0, image) for number in (0, 1, 2, 5, 6, 7, 8, 9)]
    assert [frame.number for frame in every(frames, 3)] == [0, 5, 8]
    assert [frame.number for frame in every(frames, 1)] == [0, 1, 2, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (0, "camera_0"),
        ("street.mp4", "street"),
        ("rtsp://me:secret@camera.local/live", "live"),
        ("http://camera.local:8080", "camera.local"),
        ("http://a.b/x%2F..?c=1", "x_2F"),
    ],
)
def test_files_of_a_source_have_its_name(source, name):
    assert video_name(source) == name


def test_a_source_is_a_video_file_or_live(tmp_path):
    with pytest.raises(FileNotFoundError):
        live.open_frames(tmp_path / "none.mp4")
    with pytest.raises(UserError, match="camera 96"):
        live.open_frames(96)
