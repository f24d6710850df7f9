"""`export`: what it refuses, writes, checks and verifies; other commands on what it wrote."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_retinanet import cli
from keras_retinanet.commands import export
from keras_retinanet.commands.common import find_model
from keras_retinanet.commands.export_flags import canvas_size
from keras_retinanet.config.files import load_config, save_config
from keras_retinanet.exporting import checks
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import load, save_model

pytestmark = pytest.mark.conversion

OVERRIDES = {
    "data.shapes_train": 4,
    "data.shapes_val": 3,
    "model.fpn.channels": 16,
    "model.head.channels": 16,
    "model.head.depth": 1,
    "model.head.prior": 0.3,
    "model.anchors.scales": [1.0],
    "model.preprocessing.short_side": 96,
    "model.preprocessing.long_side": 96,
    "model.preprocessing.canvas": "square",
    "model.detections.max_detections": 10,
}


def command(*words: str | Path) -> int:
    """Run a command in this process, which has TensorFlow already; returns the exit code."""
    return cli.run(cli.build_parser().parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """A run on generated scenes whose model finds something everywhere, well apart in score."""
    keras.utils.set_random_seed(1)
    folder = tmp_path_factory.mktemp("run")
    config = load_config("shapes", OVERRIDES)
    model = RetinaNet(config.model, ["circle", "square", "triangle", "star"])
    for variable in (*model.class_head.trainable_variables, *model.box_head.trainable_variables):
        if variable.path.endswith("kernel"):
            variable.assign(variable * 6.0)
    save_model(model, folder / "best.keras")
    save_config(config, folder / "config.yaml")
    return folder


@pytest.fixture(scope="module")
def saved_model(run_folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "exported"
    assert command("export", "--model", run_folder, "--format", "saved_model", "--out", out) == 0
    return out


# ---------------------------------------------------------------------------------------- flags


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("onnx --out m.onnx --xla", "Expected no --xla: --format onnx does not take it."),
        ("saved_model --out m --image_size 320", "Expected no --image_size: --format saved_model"),
        ("saved_model --out m --form raw", "Expected no --form: --format saved_model"),
        ("tflite --out m.tflite --bad_pictures empty", "Expected no --bad_pictures"),
        ("torchvision --out m.pth --verify", "Expected no --verify: --format torchvision"),
        ("torchvision voc --out m.pth", "Expected no DATASET: --format torchvision"),
        ("tflite --out m.tflite --precision bfloat16", "float32 or float16 or dynamic or int8"),
        ("onnx --out m.onnx --precision dynamic", "float32 or float16 or int8 with --format onnx."),
        ("openvino --out m --xla", "Expected no --xla: --format openvino does not take it."),
        ("openvino --out folder", "Expected a new folder, or one that holds an earlier export"),
        ("openvino --out m --form edgetpu", "Expected --form nms or raw with --format openvino."),
        ("coreml --out m.mlpackage --verify", "Expected no --verify: --format coreml"),
        ("coreml --out m", "Expected a file that ends in .mlpackage. Received: --out m."),
        ("coreml --out m.mlpackage --precision int8", "float32 or float16 with --format coreml."),
        (
            "tflite --out m.tflite --form edgetpu",
            "Expected --precision int8 and --input_type uint8",
        ),
        ("onnx --out m.onnx --form mediapipe", "Expected --form nms or raw with --format onnx."),
        ("tflite --out m.onnx", "Expected a file that ends in .tflite. Received: --out m.onnx."),
        ("saved_model --out m --split test", "Expected --verify: --split needs it."),
        ("saved_model --out m --max_ap_drop 1", "Expected --verify: --max_ap_drop needs it."),
        (
            "tflite --out m.tflite --calibration_pictures 9",
            "Expected --precision int8: --calibration",
        ),
        ("saved_model --out folder", "Expected a new folder, or one that holds an earlier export"),
        ("tflite --out dir.tflite", "Expected a new file, or one of the same kind"),
        ("tflite --out m.tflite --model x.tflite", "x.tflite, which is already an export."),
        ("tflite --out m.tflite --precision int8", "Expected a data set"),
        ("onnx --out m.onnx --precision int8", "Expected a data set"),
        ("saved_model --out m --verify", "Expected a data set"),
        ("saved_model csv --out m --verify voc", "Expected one data set"),
        ("saved_model --out m --score_threshold 2", "score_threshold: expected less than"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_writes_nothing(
    run_folder, tmp_path, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(tmp_path)
    for folder in ("folder", "dir.tflite"):
        Path(folder).mkdir()
        Path(folder, "mine").touch()
    Path("x.tflite").touch()
    os.link(run_folder / "best.keras", "outside.keras")  # of a run it would know the data
    before = sorted(tmp_path.rglob("*"))
    given = words.split()
    model = [] if "--model" in given else ["--model", "outside.keras"]
    assert command("export", "--format", *given, *model) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("keras_retinanet: error: ")
    assert said.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_image_sizes_are_height_and_width_or_a_square():
    assert canvas_size("320") == (320, 320)
    assert canvas_size("240,320") == (240, 320)
    for wrong in ("", "0", "a,b", "1,2,3", "-8,8", "1,"):
        with pytest.raises(Exception, match="expected H,W or one number"):
            canvas_size(wrong)


# -------------------------------------------------------------------------------------- the export


def test_export_says_each_step_checks_and_verifies(run_folder, tmp_path, capsys):
    out = tmp_path / "new" / "exported"
    words = ["--model", run_folder, "--format", "saved_model", "--out", out, "--verify"]
    assert command("export", *words, "--score_threshold", ".2", "--max_detections", "7") == 0
    lines = capsys.readouterr().out.splitlines()
    steps = [line.split(" s  ", 1)[1] for line in lines if " s  " in line]
    assert steps[0] == "folding batch norms"
    assert "checking" in steps
    assert steps[-2] == "verifying"
    assert steps[-1].startswith(f"done: {out}, ")
    agreed = next(line.split() for line in lines if "detections agree" in line)
    assert int(agreed[0]) == int(agreed[2]) > 10
    scored = next(line for line in lines if " AP " in line)
    before, after = scored.split("AP ")[1].split(" on ")[0].split(" -> ")
    assert float(before) == pytest.approx(float(after), abs=0.1)
    assert "on shapes, val; " in scored
    assert [path.name for path in out.parent.iterdir()] == ["exported"]
    facts = json.loads((out / "assets" / "model.json").read_text())
    assert facts["config"]["detections"]["score_threshold"] == 0.2
    assert facts["config"]["detections"]["max_detections"] == 7


@pytest.fixture
def copied(saved_model, monkeypatch):
    """Makes `--format saved_model` copy what was exported once, which is quicker."""
    right = export.EXPORTERS["saved_model"]
    write = dataclasses.replace(right, write=lambda _, out, say: shutil.copytree(saved_model, out))
    monkeypatch.setitem(export.EXPORTERS, "saved_model", write)


def test_a_file_that_disagrees_is_not_kept(run_folder, saved_model, copied, tmp_path, capsys):
    model = load(run_folder / "best.keras")
    for variable in model.class_head.trainable_variables:
        variable.assign(-variable)
    save_model(model, tmp_path / "other.keras")
    out = tmp_path / "exported"
    shutil.copytree(saved_model, out)  # an earlier export
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    words = ["--model", tmp_path / "other.keras", "--format", "saved_model", "--out", out]
    assert command("export", *words) == 1
    said = capsys.readouterr()
    assert "Expected at least 98% of the detections of a float32 file" in said.err
    assert said.err.endswith("Nothing was kept.\n")
    assert "done" not in said.out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_drop_in_ap_beyond_the_bound_fails_and_keeps_nothing(
    run_folder, saved_model, copied, tmp_path, monkeypatch, capsys
):
    def verify_export(model, path, dataset):
        assert (dataset.name, dataset.split, len(dataset.records)) == ("shapes", "val", 3)
        return checks.Verified((50.0, 48.8), (30.0, 20.0))

    monkeypatch.setattr(checks, "verify_export", verify_export)
    monkeypatch.setattr(checks, "check_export", lambda *_: checks.Agreement())
    out = tmp_path / "exported"
    words = ["--model", run_folder, "--format", "saved_model", "--out", out, "--verify"]
    assert command("export", *words) == 1
    said = capsys.readouterr()
    assert "by at most 0.01 (--max_ap_drop 1). Received: 0.0120. Nothing was kept." in said.err
    assert list(tmp_path.iterdir()) == []
    shutil.copytree(saved_model, out)  # an earlier export, to be replaced
    assert command("export", *words, "--max_ap_drop", "1.3") == 0
    said = capsys.readouterr()
    assert "AP 0.5000 -> 0.4880 on shapes, val; 30.0 -> 20.0 ms per image" in said.out
    assert (out / "assets" / "model.json").is_file()


def test_the_check_takes_the_users_picture_or_generated_ones(
    run_folder, saved_model, tmp_path, monkeypatch, capsys
):
    seen = []

    def check_export(model, path, pictures):
        seen.append([picture.shape for picture in pictures])
        return checks.Agreement()

    right = export.EXPORTERS["saved_model"]
    write = dataclasses.replace(right, write=lambda model, out, *, say: out.mkdir())
    monkeypatch.setitem(export.EXPORTERS, "saved_model", write)
    monkeypatch.setattr(checks, "check_export", check_export)
    Image.new("RGB", (31, 17)).save(tmp_path / "a.png")
    os.link(run_folder / "best.keras", tmp_path / "outside.keras")
    words = ["--model", tmp_path / "outside.keras", "--format", "saved_model"]
    picture = ["--picture", tmp_path / "a.png"]
    assert command("export", *words, "--out", tmp_path / "a", *picture) == 0
    assert command("export", *words, "--out", tmp_path / "b") == 0
    assert seen[0] == [(17, 31, 3)]
    assert len(seen[1]) == 4
    assert "give others with --picture, or use --verify" in capsys.readouterr().out


def test_int8_is_given_pictures_of_the_runs_training_data(run_folder, tmp_path, monkeypatch):
    given = {}

    def write(model, out, *, calibration, say, **options):
        given.update(options, shapes=[picture.shape for picture in calibration])
        given["again"] = sum(1 for _ in calibration)
        out.touch()

    right = export.EXPORTERS["tflite"]
    monkeypatch.setitem(export.EXPORTERS, "tflite", dataclasses.replace(right, write=write))
    monkeypatch.setattr(checks, "check_export", lambda *_: checks.Agreement())
    words = ["--model", run_folder, "--format", "tflite", "--out", tmp_path / "m.tflite"]
    more = ["--precision", "int8", "--calibration_pictures", "3", "--image_size", "64,96"]
    assert command("export", *words, *more) == 0
    assert given.pop("again") == 3
    assert len(given.pop("shapes")) == 3
    assert given == {"precision": "int8", "image_size": (64, 96)}


# ------------------------------------------------------------------------------ the other commands


def test_an_exported_file_is_a_model_for_the_other_commands(
    run_folder, saved_model, tmp_path, rng, capsys
):
    assert find_model(saved_model) == saved_model
    assert command("info", "--model", saved_model) == 0
    facts = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert facts["exported"].strip() == f"saved_model, float32, by {cli.__version__}"
    assert facts["input"].strip() == "RGB uint8 0..255, any size"
    assert facts["output 0"].strip().startswith("detection_boxes: ")
    assert "4: circle, square, triangle, star" in facts["classes"]
    assert command("info", saved_model, "--model", saved_model) == 2

    os.link(run_folder / "best.keras", tmp_path / "outside.keras")
    figures, medians = [], []
    for model in (tmp_path / "outside.keras", saved_model):
        assert command("evaluate", "shapes", "--model", model) == 0
        *lines, median = capsys.readouterr().out.splitlines()
        figures.append([line.rpartition("= ")[2] for line in lines if "maxDets" in line])
        medians.append(float(median.removeprefix("Median ").removesuffix(" ms per image")))
    assert figures[0] == figures[1]
    assert len(figures[0]) == 12
    assert all(0 < median < 1000 for median in medians)

    Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    rows = []
    for model in (run_folder, saved_model):
        out = tmp_path / "found"
        assert command("predict", tmp_path / "a.png", "--model", model, "--out", out) == 0
        rows.append(json.loads((out / "detections.json").read_text()))
    assert len(rows[0]) == len(rows[1]) == 10
    for ours, theirs in zip(*rows, strict=True):
        assert ours["category_id"] == theirs["category_id"]
        np.testing.assert_allclose(ours["bbox"], theirs["bbox"], atol=0.1)
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)


def test_a_damaged_export_is_one_line_for_every_command(saved_model, tmp_path, capsys):
    bad = tmp_path / "bad"
    shutil.copytree(saved_model, bad)
    (bad / "saved_model.pb").write_bytes(b"\0" * 999)
    (tmp_path / "a.png").touch()
    out = tmp_path / "out"
    for words in (
        ["info", bad],
        ["evaluate", "shapes", "--model", bad],
        ["predict", tmp_path / "a.png", "--model", bad, "--out", out],
    ):
        capsys.readouterr()
        assert command(*words) == 2
        said = capsys.readouterr().err
        assert f"error: {bad} is damaged or not of this package" in said
        assert said.count("\n") == 1
    assert not out.exists()
