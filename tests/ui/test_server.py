"""What the page of `ui` shows and hands out, without a browser and without gradio."""

import json
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from exported_models import clear_threshold, spread_model, write_pictures
from PIL import Image

from keras_retinanet import cli
from keras_retinanet.commands.ui import model_title
from keras_retinanet.drawing.pictures import draw_detections
from keras_retinanet.errors import UserError
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.saving import save_model
from keras_retinanet.ui import shown_pictures as ui_pictures
from keras_retinanet.ui.server import bound_socket
from keras_retinanet.ui.shown_pictures import (
    Picture,
    Side,
    add_pictures,
    detections_json,
    same_objects,
    total_boxes,
)
from keras_retinanet.ui.views import picture_line, short_name, view_picture

NAMES = ["cat", "<dog>"]


def detections(*rows, names=NAMES) -> Detections:
    """Detections from rows (x1, y1, x2, y2, score, class)."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int32), names)


class Counting:
    """Finds the same in every picture, and counts how often it is asked."""

    class_names, class_ids = NAMES, [17, 18]
    config = SimpleNamespace(
        backbone=SimpleNamespace(name="resnet18"),
        preprocessing=SimpleNamespace(short_side=96),
        detections=SimpleNamespace(score_threshold=0.05),
    )

    def __init__(self, *rows):
        self.rows, self.calls = rows, 0

    def detect(self, images, *, batch_size=8):
        self.calls += len(images)
        return [detections(*self.rows)] * len(images)


LEFT = ((10, 20, 50, 60, 0.9, 0), (100, 20, 180, 90, 0.6, 1), (5, 5, 15, 15, 0.2, 0))
RIGHT = ((12, 20, 52, 60, 0.8, 0), (100, 20, 180, 90, 0.7, 0), (60, 60, 80, 80, 0.4, 1))


@pytest.fixture
def sides():
    return [Side("left", Counting(*LEFT)), Side("right", Counting(*RIGHT))]


def picture(*found, size=(100, 200), name="a.png") -> Picture:
    return Picture(name, size, np.full((*size, 3), 90, np.uint8), found)


def test_a_model_runs_once_a_picture_however_the_threshold_moves(sides, tmp_path, rng):
    image = rng.integers(0, 256, (1300, 2600, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "large.png")
    kept, notes = add_pictures([], [tmp_path / "large.png"], sides=sides)
    assert (notes, kept[0].size, kept[0].view.shape) == ([], (1300, 2600), (640, 1280, 3))
    assert kept[0].thumbnail.shape == (80, 160, 3)
    for threshold, counts in ((0.05, (3, 3)), (0.5, (2, 2)), (0.65, (1, 2)), (1.0, (0, 0))):
        views, _ = view_picture(kept[0], threshold)
        assert [int(v.counts.split("<b>")[1].split()[0]) for v in views] == list(counts)
        assert tuple(total_boxes(kept * 2, threshold, i) for i in (0, 1)) == (
            2 * counts[0], 2 * counts[1],
        )  # fmt: skip
    assert [side.detector.calls for side in sides] == [1, 1]


def test_boxes_are_drawn_where_they_are_in_the_shrunk_picture():
    large = Picture("a.png", (200, 400), np.full((100, 200, 3), 90, np.uint8), (detections(*LEFT),))
    drawn = view_picture(large, 0.5)[0][0].image
    half = detections(*[(*(side / 2 for side in row[:4]), *row[4:]) for row in LEFT])
    np.testing.assert_array_equal(drawn, draw_detections(large.view, half, threshold=0.5))
    assert not np.array_equal(drawn, large.view)


def test_each_box_has_one_partner_of_its_class_in_the_other_model():
    first, second = (np.flatnonzero(x).tolist() for x in same_objects(
        detections(*LEFT), detections(*RIGHT)
    ))  # fmt: skip
    assert (first, second) == ([0], [0])  # the second pair differs in class, the third in place
    twice = detections((0, 0, 10, 10, 0.5, 0), (0, 0, 10, 10, 0.9, 0), (0, 0, 10, 10, 0.7, 0))
    once = detections((0, 1, 10, 10, 0.6, 1), (0, 0, 10, 9, 0.3, 1), names=["other", "cat"])
    ours, theirs = same_objects(twice, once)
    assert (ours.tolist(), theirs.tolist()) == ([False, True, True], [True, True])
    # 60 of 140 together: below one half; 70 of 130: above.
    for shift, same in ((4, False), (3, True)):
        pair = detections((0, 0, 10, 10, 0.5, 0)), detections((shift, 0, 10 + shift, 10, 0.5, 0))
        assert same_objects(*pair)[0].tolist() == [same]
    assert [len(x) for x in same_objects(detections(), detections(*LEFT))] == [0, 3]


def test_agreement_and_only_what_the_other_has_not():
    page = picture(detections(*LEFT), detections(*RIGHT))
    views, agreement = view_picture(page, 0.5)
    assert agreement.striptags() == "Found by both 1 · only left 1 · only right 1"
    views, agreement = view_picture(page, 0.5, only_differences=True)
    assert [view.counts.striptags() for view in views] == ["1 box <dog> 1", "1 box cat 1"]
    assert view_picture(picture(detections(*LEFT)), 0.5)[1] == ""


def test_names_are_escaped_and_tables_are_best_first_in_pixels_of_the_file():
    page = picture(detections(LEFT[1], LEFT[0]), name="<img src=x>.png")
    view = view_picture(page, 0.0)[0][0]
    rows = [row.split("</td><td>") for row in view.table.split("<tr><td>")[1:]]
    assert [row[:2] for row in rows] == [["cat", "0.900"], ["&lt;dog&gt;", "0.600"]]
    assert rows[1][2:5] == ["100.0", "20.0", "80.0"]
    assert "<dog>" not in view.counts + view.table
    assert "<img" not in picture_line(page) and "200 x 100 px" in picture_line(page)
    assert "None" in view_picture(page, 1.0)[0][0].table
    assert [short_name(name) for name in ("a.png", "BloodImage_00007.jpg")] == [
        "a.png", "…e_00007.jpg",
    ]  # fmt: skip


@pytest.mark.long
def test_json_is_what_predict_writes(tmp_path):
    model = spread_model()
    save_model(model, tmp_path / "model.keras")
    files = write_pictures(tmp_path / "pictures")
    side = Side("model.keras", model)
    kept, notes = add_pictures([], files, sides=[side])
    assert notes == [] and side.facts == "resnet18 · 3 classes · 160 px short side"
    words = ["predict", *files, "--model", tmp_path / "model.keras", "--out", tmp_path / "out"]
    assert cli.run(cli.build_parser().parse_args([str(word) for word in words])) == 0
    expected = json.loads((tmp_path / "out" / "detections.json").read_text())
    for row in expected:
        row["file_name"] = Path(row["file_name"]).name
    threshold = clear_threshold(np.array([row["score"] for row in expected]))
    for least in (0.0, threshold):
        rows = json.loads(detections_json(kept, least, sides=[side], index=0))
        wanted = [row for row in expected if row["score"] >= least]
        assert len(rows) == len(wanted) == total_boxes(kept, least, 0) > 7
        keys = ("image_id", "category_id", "file_name")
        assert [[r[key] for key in keys] for r in rows] == [
            [w[key] for key in keys] for w in wanted
        ]
        # `predict` puts pictures into one batch.
        for key, atol in (("bbox", 0.01), ("score", 1e-5)):
            np.testing.assert_allclose(
                [row[key] for row in rows], [row[key] for row in wanted], atol=atol
            )
    assert json.loads(detections_json([], 0.5, sides=[side], index=0)) == []


def test_a_bad_file_is_one_line_and_the_others_go_on(sides, tmp_path, monkeypatch, rng):
    (tmp_path / "notes.txt").write_text("no picture")
    Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(tmp_path / "b.png")
    cut = tmp_path / "cut.png"
    cut.write_bytes((tmp_path / "b.png").read_bytes()[:2000])
    files = [tmp_path / name for name in ("notes.txt", "gone.png", "cut.png", "b.png", "b.png")]
    told = []
    monkeypatch.setattr(ui_pictures, "MAX_PICTURES", 1)
    kept, notes = add_pictures(
        [], files, sides=sides, say=lambda number, name: told.append((number, name))
    )
    assert [each.name for each in kept] == ["b.png"]
    assert told == list(enumerate(("notes.txt", "gone.png", "cut.png", "b.png")))
    assert [note.split(":")[0] for note in notes] == ["notes.txt", "gone.png", "cut.png", "b.png"]
    assert all("\n" not in note for note in notes)
    assert "Expected a complete image" in notes[0] and "at most 1 images" in notes[3]


def test_exif_is_applied_or_told(sides, tmp_path, rng):
    path, exif = tmp_path / "turned.jpg", Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path, exif=exif)
    stored, notes = add_pictures([], [path], sides=sides)
    assert stored[0].size == (40, 50) and "EXIF" in notes[0]
    np.testing.assert_array_equal(stored[0].view, decode_image(path.read_bytes()))
    turned, notes = add_pictures(stored, [path], sides=sides, exif="apply")
    assert turned[0] is stored[0] and turned[1].size == (50, 40) and notes == []


def test_titles_and_facts_tell_models_apart():
    paths = ("runs/a/best.keras", "best.keras", "m/model.tflite")
    titles = [model_title(Path(path)) for path in paths]
    assert titles == ["a/best.keras", "best.keras", "model.tflite"]
    exported = Counting()
    exported.facts = {"kind": "tflite", "precision": "int8", "input": {"image_size": [96, 128]}}
    assert Side("x", exported).facts == "resnet18 · 2 classes · 96 x 128 px · tflite int8"


def test_the_port_is_of_this_machine_alone():
    with bound_socket(0) as bound:
        host, port = bound.getsockname()
        assert host == "127.0.0.1"
        bound.listen()
        with pytest.raises(UserError, match=f"--port {port}, which is in use"), bound_socket(port):
            pass
    with pytest.raises(UserError, match="--port 70000"), bound_socket(70000):
        pass
    assert isinstance(bound, socket.socket)


def test_without_gradio_one_line_names_the_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    for name in ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")
    save_model(spread_model(), tmp_path / "model.keras")
    words = ["ui", "--model", str(tmp_path / "model.keras")]
    assert cli.run(cli.build_parser().parse_args(words)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install gradio" in line


@pytest.mark.parametrize("words", [("--max_upload_mb", "0"), ("--max_upload_mb", "2.5")])
def test_an_upload_limit_is_whole_megabytes(words, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.build_parser().parse_args(["ui", *words])
    assert exit_.value.code == 2 and "integer number of megabytes" in capsys.readouterr().err
