"""The apps of export/, run where neither this package nor Keras can be imported."""

import importlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from exported_models import IDS, NAMES, spread_model, with_facts, write_pictures
from PIL import Image

from keras_retinanet.config import DetectionConfig
from keras_retinanet.exporting.exported import load_exported
from keras_retinanet.exporting.saved_model.folder import export_saved_model
from keras_retinanet.exporting.tflite.conversion import export_tflite
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.modeling.boxes import BoxCoder
from keras_retinanet.modeling.post_processing import PostProcessing
from keras_retinanet.modeling.preprocessing import Preprocessing

pytestmark = pytest.mark.conversion

APPS = Path(__file__).parents[2] / "export"
FORMS = ("nms", "mediapipe", "raw")


@pytest.fixture(scope="module")
def model():
    return spread_model()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    return write_pictures(tmp_path_factory.mktemp("consumer") / "pictures")


@pytest.fixture(scope="module")
def files(model, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    paths = {form: folder / f"{form}.tflite" for form in FORMS}
    for form, path in paths.items():
        export_tflite(model, path, form=form, say=lambda step: None)
    paths["saved_model"] = folder / "exported"
    export_saved_model(model, paths["saved_model"], say=lambda step: None)
    return paths


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[str, str]:
    """The environment of a process in which neither this package nor Keras can be imported."""
    blocked = tmp_path_factory.mktemp("blocked")
    for name in ("keras_retinanet", "keras", "tf_keras"):
        (blocked / name).mkdir()
        (blocked / name / "__init__.py").write_text("raise ImportError('blocked by the test')\n")
    return {**os.environ, "PYTHONPATH": str(blocked), "PYTHONWARNINGS": "ignore"}


def run(words, env, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        # Not the repository's root, from which this package could be imported.
        **{"cwd": env["PYTHONPATH"], **options},
    )


def rows_of(out: Path, path: Path) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Returns boxes (N, 4) xyxy, scores (N,) and category ids that an app wrote of a picture."""
    rows = json.loads((out / "detections.json").read_text())
    rows = [row for row in rows if row["file_name"] == str(path)]
    boxes = np.array([row["bbox"] for row in rows]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    assert [row["class"] for row in rows] == [NAMES[IDS.index(row["category_id"])] for row in rows]
    return boxes, np.array([row["score"] for row in rows]), [row["category_id"] for row in rows]


def assert_same(out: Path, path: Path, found, *, score: float, box: float) -> None:
    """Checks that an app wrote the same set, in the same order but for scores that are as good."""
    boxes, scores, ids = rows_of(out, path)
    assert len(scores) == len(found) >= 10
    np.testing.assert_allclose(scores, found.scores, atol=score)
    for row in range(len(scores)):
        is_twin = (np.abs(found.scores - scores[row]) <= score) & (
            np.take(IDS, found.classes) == ids[row]
        )
        assert np.abs(found.boxes[is_twin] - boxes[row]).max(axis=1).min() <= box


def test_neither_this_package_nor_keras_can_be_imported(alone):
    for name in ("keras_retinanet", "keras"):
        assert "blocked by the test" in run(["-c", f"import {name}"], alone).stderr


@pytest.mark.parametrize("form", FORMS)
def test_tflite_app_finds_what_predict_finds(form, files, pictures, alone, tmp_path):
    done = run([APPS / "run_tflite.py", files[form], pictures[0].parent, "--out", tmp_path], alone)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^4 images, \d+ boxes of at least 0.5, median \d+ ms$", done.stdout, re.M)
    detector = load_exported(files[form])
    for path in pictures:
        found = detector.detect(decode_image(path.read_bytes()))[0]
        assert_same(tmp_path, path, found, score=2e-4, box=0.05)


def test_saved_model_app_finds_what_the_model_finds(model, files, pictures, alone, tmp_path):
    words = [APPS / "run_saved_model.py", files["saved_model"], *pictures, "--out", tmp_path]
    done = run([*words, "--threshold", 0.3], alone)
    assert done.returncode == 0, done.stderr
    drawn = 0
    for path in pictures:
        image = decode_image(path.read_bytes())
        found = model.detect(image)[0]
        assert_same(tmp_path, path, found, score=1e-4, box=0.1)
        drawn += int((found.scores >= 0.3).sum())
        copy = np.asarray(Image.open(tmp_path / f"{path.stem}.jpg"))
        assert copy.shape == image.shape
        # A box around the best detection has the colour of its class.
        assert np.abs(copy.astype(int) - image).max() > 100
    assert f"4 images, {drawn} boxes of at least 0.3, " in done.stdout


def test_bar_a_broken_picture_and_no_picture_overwritten(files, alone, tmp_path):
    folder = tmp_path / "pictures"
    write_pictures(folder)
    broken = folder / "0.png"
    broken.write_text("no picture")
    before = (folder / "c.jpg").read_bytes()
    controller, terminal = pty.openpty()
    words = [APPS / "run_tflite.py", files["nms"], folder, "--out", folder]
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env=alone,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        timeout=120,
        check=True,
    )
    os.close(terminal)
    shown = os.read(controller, 100_000).decode()
    os.close(controller)
    assert done.stdout.startswith("4 images, ")
    assert "[" + "#" * 6 + "." * 24 + "] 1/5" in shown
    assert "[" + "#" * 30 + "] 5/5" in shown
    assert f"skipped: {broken} cannot be read as an image" in shown
    assert (folder / "c.jpg").read_bytes() == before
    assert {"a.jpg", "b.jpg", "c_2.jpg", "d.jpg"} < {path.name for path in folder.iterdir()}


def wrong_words(tmp_path, files) -> dict[str, tuple[list, str]]:
    """Case -> what follows the app's name, and a part of the line it must print."""
    empty, text = tmp_path / "empty", tmp_path / "text.tflite"
    empty.mkdir()
    text.write_text("no model")
    good, damaged = files["nms"], tmp_path / "damaged.tflite"
    with_facts(good, damaged, flatbuffer_sha256="0" * 64)
    return {
        "damaged": ([damaged, text], "damaged.tflite is damaged"),
        "no file": ([tmp_path / "absent.tflite", empty], "Received: "),
        "no model": ([text, text], "holds no model.json"),
        "no picture": ([good, empty], "a folder without any"),
        "absent picture": ([good, tmp_path / "absent.jpg"], "absent.jpg"),
        "threshold": ([good, text, "--threshold", "2"], "Expected a threshold of 0 to 1"),
        "no readable picture": ([good, text], "None of 1 images"),
    }


def test_tflite_app_names_what_is_wrong_in_one_line(files, alone, tmp_path):
    for words, part in wrong_words(tmp_path, files).values():
        done = run([APPS / "run_tflite.py", *words], alone)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
        assert done.returncode == 2 and part in lines[-1], done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("case", ["empty folder", "foreign"])
def test_saved_model_app_refuses_what_is_none(case, pictures, alone, tmp_path):
    if case == "foreign":
        (tmp_path / "saved_model.pb").write_bytes(b"")
    done = run([APPS / "run_saved_model.py", tmp_path, pictures[0]], alone)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert (
        "model.json" in done.stderr if case == "foreign" else "Expected the folder" in done.stderr
    )


def examples() -> list[str]:
    """Returns the Python examples of export/README.md."""
    return re.findall(r"```python\n(.*?)```", (APPS / "README.md").read_text(), re.S)


def test_examples_of_the_readme_run(files, pictures, alone, tmp_path):
    for name, target in (
        ("exported", files["saved_model"]),
        ("model.tflite", files["nms"]),
        ("photo.jpg", pictures[2]),
    ):
        (tmp_path / name).symlink_to(target)
    best = {}
    for number, code in enumerate(examples()):
        done = run(["-c", code], alone, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        best[number] = done.stdout.splitlines()[0]
    expected = load_exported(files["saved_model"]).detect(decode_image(pictures[2].read_bytes()))[0]
    # Each prints a line a detection, best first: name and score, then the box.
    for line in best.values():
        name, score = line.split()[0:-5], line.split()[-5]
        assert " ".join(name) == NAMES[expected.classes[0]]
        assert abs(float(score) - expected.scores[0]) < 0.02
    assert len(best) == 2


# -------------------------------------------------- the apps' own arithmetic against the package's


@pytest.fixture(scope="module")
def app():
    """The module of run_tflite.py, imported."""
    sys.path.insert(0, str(APPS))
    try:
        yield importlib.import_module("run_tflite")
    finally:
        sys.path.remove(str(APPS))
        for name in ("run_tflite", "pictures", "raw_heads"):
            sys.modules.pop(name, None)


def facts_for(preprocessing: Preprocessing, canvas, dtype="float32", letterbox="top_left") -> dict:
    return {
        "config": {"preprocessing": vars(preprocessing)},
        "input": {
            "image_size": canvas,
            "dtype": dtype,
            "letterbox": letterbox,
            "pad_value": preprocessing.mean_rgb,
        },
    }


OPTIONS = (
    {},
    {"rounding": "floor"},
    {"rounding": "half_up", "resize_method": "rounded"},
    {"resize_method": "pillow"},
    {"antialias": True},
    {"pad_first": True, "short_side": 100, "long_side": 100},
)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_letterbox_is_the_package_s(options, app, rng):
    preprocessing = Preprocessing(**{"short_side": 96, "long_side": 128, **options})
    # Where grey levels are made whole, sums in another order fall to the other side of a half.
    is_whole = "resize_method" in options or "antialias" in options
    for height, width in ((64, 64), (37, 301), (201, 90), (1, 1), (500, 3)):
        pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        canvas, placed = app.letterbox(pixels, facts_for(preprocessing, (72, 104)))
        expected, size = preprocessing.letterbox_into(pixels, (72, 104))
        assert placed["size"] == size
        away = np.abs(canvas[0] - expected.numpy())
        assert away.max() <= (1.01 if is_whole else 0.02)
        assert away.mean() <= (0.3 if is_whole else 0.01)
        boxes = np.array([[1.0, 2.0, size[1], size[0]]], np.float32)
        outputs = {
            "boxes": boxes[None][..., [1, 0, 3, 2]] / [72, 104, 72, 104],
            "classes": np.zeros((1, 1)),
            "scores": np.ones((1, 1)),
            "num": [1],
        }
        facts = facts_for(preprocessing, (72, 104))
        back = app.to_picture(outputs, placed, (height, width), facts).boxes
        ours = preprocessing.boxes_to_picture(boxes, size, (height, width))
        np.testing.assert_allclose(back, np.clip(ours, 0, [width, height] * 2), atol=1e-3)


def test_stretched_input_is_tensorflow_s_resize(app, rng):
    pixels = rng.integers(0, 256, (50, 90, 3)).astype(np.uint8)
    facts = facts_for(Preprocessing(resize_method="pillow"), (64, 48), "uint8", "stretch")
    canvas, _ = app.letterbox(pixels, facts)
    assert canvas.dtype == np.uint8
    expected = np.rint(tf.image.resize(pixels, (64, 48)).numpy())
    assert np.abs(canvas[0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("coder", "rules"),
    [
        ({}, {}),
        ({"code": "yxhw", "scales": (0.1, 0.1, 0.2, 0.2)}, {"suppress": "best_class"}),
        ({"code": "corners", "scales": (0.2,) * 4}, {"max_detections": 7}),
        ({"log_clip": "both"}, {"background_output": True}),
    ],
)
def test_raw_heads_give_the_package_s_detections(coder, rules, app, rng):
    rules = {**vars(DetectionConfig(score_threshold=0.3).numbered()), **rules}
    corners = rng.uniform(0, 80, (200, 2))
    anchors = np.concatenate([corners, corners + rng.uniform(5, 40, (200, 2))], 1).astype("f4")
    outputs = {
        "class_logits": rng.normal(-1, 1.5, (1, 200, 4)).astype(np.float32),
        "box_deltas": rng.normal(0, 1, (1, 200, 4)).astype(np.float32),
    }
    heads = importlib.import_module("raw_heads")
    config = {"box_coder": vars(BoxCoder(**coder)), "detections": rules}
    boxes, scores, labels = heads.detections_of_heads(
        {**outputs, "anchors": anchors[None]}, (90, 110), config
    )
    batch = PostProcessing(**rules)(
        outputs, anchors, [200], tf.constant([[90, 110]]), BoxCoder(**coder), (96, 128)
    )
    num = int(batch.num[0])
    assert len(scores) == num >= 7
    np.testing.assert_array_equal(labels, batch.classes[0, :num])
    np.testing.assert_allclose(scores, batch.scores[0, :num], atol=1e-5)
    np.testing.assert_allclose(boxes, batch.boxes[0, :num], atol=1e-2)
