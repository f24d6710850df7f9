"""What `predict`, `evaluate` and `info` find, print and write."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from in_process import command
from PIL import Image

from keras_retinanet.commands.common import find_model, run_config
from keras_retinanet.commands.info import tiles_text
from keras_retinanet.commands.predict_files import drawing_paths, find_pictures
from keras_retinanet.commands.tensorflow_import import FROZEN_WEIGHTS
from keras_retinanet.config import TilesConfig
from keras_retinanet.config.files import load_config, save_config


def test_a_run_folder_means_its_best_model_and_the_default_is_the_newest_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(("a/last.keras", "a/best.keras", "b/last.keras", "b/best.keras")):
        file = Path("runs", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (1000 - age, 1000 - age))
    assert find_model() == Path("runs/a/best.keras")
    assert find_model("runs/b") == Path("runs/b/best.keras")
    assert find_model("runs/b/last.keras") == Path("runs/b/last.keras")
    assert run_config(Path("runs/b/best.keras")) is None
    save_config(load_config("bccd"), "runs/b/config.yaml")
    assert run_config(Path("runs/b/best.keras")) == load_config("bccd")


def test_pictures_of_files_folders_and_patterns_each_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("d/b.JPG", "d/a.png", "d/notes.txt", "d/e/c.webp", "x.odd"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    found = find_pictures(["x.odd", "d", "d/*.png", "**/*.webp"])
    assert [str(path) for path in found] == ["x.odd", "d/a.png", "d/b.JPG", "d/e/c.webp"]


def test_drawings_overwrite_neither_each_other_nor_the_pictures():
    paths = [Path("a/x.jpg"), Path("b/x.png"), Path("out/y.jpg")]
    targets = drawing_paths(paths, Path("out"))
    assert [str(path) for path in targets] == ["out/x.jpg", "out/x_2.jpg", "out/y_2.jpg"]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    from keras_retinanet.modeling.retinanet import RetinaNet
    from keras_retinanet.modeling.saving import save_model

    # An untrained model finds something everywhere when its prior says so.
    overrides = {"model.head.prior": 0.3, "model.detections.max_detections": 5}
    config = load_config("shapes", overrides).model
    path = tmp_path_factory.mktemp("model") / "model.keras"
    metadata = {"license": "Apache-2.0"}
    save_model(RetinaNet(config, ["cat", "dog"], class_ids=[17, 18], metadata=metadata), path)
    return path


@pytest.mark.long
def test_predict_writes_pictures_json_and_csv_and_goes_on_after_a_broken_one(
    model_file, tmp_path, rng, capsys
):
    for name, size in (("a.png", (90, 120, 3)), ("c.png", (50, 40, 3))):
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "b.jpg").write_text("not a picture")
    out = tmp_path / "out"
    assert command("predict", tmp_path, "--model", model_file, "--out", out) == 0

    skipped = capsys.readouterr().err.splitlines()
    assert [str(tmp_path / "b.jpg") in line for line in skipped if "skipped" in line] == [True]
    with Image.open(out / "a.jpg") as drawn:
        assert drawn.size == (360, 270)  # small ones are enlarged, to be read
    rows = json.loads((out / "detections.json").read_text())
    assert [row["image_id"] for row in rows] == [1] * 5 + [3] * 5
    assert {row["category_id"] for row in rows} <= {17, 18}
    assert {Path(row["file_name"]).name for row in rows} == {"a.png", "c.png"}
    with open(out / "detections.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    for row, line in zip(rows, lines, strict=True):
        x, y, width, height = row["bbox"]
        corners = [float(line[name]) for name in ("x1", "y1", "x2", "y2")]
        np.testing.assert_allclose(corners, [x, y, x + width, y + height], atol=0.006)
        assert line["class"] == {17: "cat", 18: "dog"}[row["category_id"]]


@pytest.mark.long
def test_predict_of_broken_pictures_alone_is_the_users_error(model_file, tmp_path, capsys):
    (tmp_path / "b.jpg").write_text("not a picture")
    out = tmp_path / "out"
    assert command("predict", tmp_path / "b.jpg", "--model", model_file, "--out", out) == 2
    assert "None of 1 images could be read." in capsys.readouterr().err


@pytest.mark.long
def test_info_says_what_the_file_holds(model_file, capsys):
    assert command("info", model_file) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["classes"] == "2: cat, dog"
    assert facts["class"].startswith("ids")
    assert facts["backbone"] == "resnet18"
    assert "short side 160 px" in facts["input"]
    assert facts["thresholds"] == "score 0.05, NMS IoU 0.5, 1000 per level, 5 per image"
    assert "tiles" not in facts
    assert tiles_text(TilesConfig(512)) == "512 px of the image, overlap 0.2"
    assert tiles_text(TilesConfig(512, 0.3, True)).endswith("overlap 0.3, and the whole image")
    assert facts["license"] == "Apache-2.0"
    assert int(facts["parameters"].replace(",", "")) > 11_000_000


def test_evaluate_of_a_model_outside_a_run_asks_for_the_data_set(model_file, capsys):
    assert command("evaluate", "--model", model_file) == 2
    assert "Expected a dataset" in capsys.readouterr().err


def test_evaluate_scores_a_results_file_without_a_model(coco_sample, capsys):
    words = [
        "--annotations", coco_sample / "instances_val2014_100.json",
        "--detections", coco_sample / "instances_val2014_fakebbox100_results.json",
    ]  # fmt: skip
    assert command("evaluate", "coco", *words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert lines[0] == (
        " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.505"
    )


@pytest.mark.long
def test_evaluate_refuses_classes_that_do_not_map(model_file, capsys):
    assert command("evaluate", "shapes", "--model", model_file) == 2
    assert "Class names do not map" in capsys.readouterr().err


@pytest.mark.long
def test_evaluate_writes_figures_detections_and_pictures(tmp_path, capsys):
    from keras_retinanet.data.loading import load_dataset
    from keras_retinanet.modeling.retinanet import RetinaNet
    from keras_retinanet.modeling.saving import save_model

    config = load_config("shapes", {"data.shapes_val": 3, "data.shapes_train": 4})
    dataset = load_dataset(config.data, "val")
    save_model(RetinaNet(config.model, dataset.class_names), tmp_path / "best.keras")
    save_config(config, tmp_path / "config.yaml")
    out = tmp_path / "found.json"
    words = ["--model", tmp_path, "--out", out, "--pictures", tmp_path / "drawn"]
    assert command("evaluate", *words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "3 images" in lines[0]
    assert sum("@[ IoU=" in line for line in lines) == 12
    assert {row["image_id"] for row in json.loads(out.read_text())} <= {1, 2, 3}
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 3


@pytest.mark.long
@pytest.mark.parametrize("kind", [".keras", "SavedModel"])
def test_weights_that_are_laid_out_once_detect_the_same(kind, model_file, tmp_path):
    """In processes of their own: the setting is read once, and training here must not have it."""
    if kind == "SavedModel":
        from keras_retinanet.exporting.saved_model.folder import export_saved_model
        from keras_retinanet.modeling.saving import load

        export_saved_model(load(model_file), tmp_path / "saved_model", say=lambda line: None)
        model_file = tmp_path / "saved_model"
    images = tmp_path / "images"
    images.mkdir()
    for number, height in enumerate((60, 60, 90)):  # another input may ask for another layout
        image = np.random.default_rng(number).integers(0, 255, (height, 90, 3), np.uint8)
        Image.fromarray(image).save(images / f"{number}.png")
    found = []
    for setting in ("0", "1"):
        out = tmp_path / setting
        words = ["predict", images, "--model", model_file, "--out", out]
        done = subprocess.run(
            [sys.executable, "-m", "keras_retinanet", *map(str, words)],
            env={**os.environ, FROZEN_WEIGHTS: setting},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads((out / "detections.json").read_text()))
    assert len(found[0]) == 15
    assert found[0] == found[1]


@pytest.mark.long
@pytest.mark.parametrize("flags", [[], ["--tta"], ["--tile", "48"]])
def test_no_convolution_of_predict_runs_outside_of_a_graph(
    flags, model_file, tmp_path, monkeypatch
):
    """There the weights that are laid out first would serve all convolutions of their shape."""
    import tensorflow as tf

    kinds = []
    convolve = tf.nn.convolution
    monkeypatch.setattr(
        tf.nn,
        "convolution",
        lambda *args, **kwargs: kinds.append(tf.executing_eagerly()) or convolve(*args, **kwargs),
    )
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    words = ["predict", tmp_path / "a.png", "--model", model_file, "--out", tmp_path / "out"]
    assert command(*words, *flags) == 0
    assert kinds
    assert not any(kinds)
