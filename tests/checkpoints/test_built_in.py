"""The models that ship with the package: small, described, in the wheel, and they detect."""

import json
import runpy
import xml.etree.ElementTree as ElementTree
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from in_process import command
from setuptools import Distribution
from setuptools.command.build_py import build_py

from keras_retinanet.checkpoints.built_in import MAX_BYTES, built_in_models, default_model
from keras_retinanet.checkpoints.catalogue_file import catalogue, near_names
from keras_retinanet.checkpoints.model_files import model_file
from keras_retinanet.commands.weights import list as weights_list
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.boxes import iou
from keras_retinanet.modeling.saving import load

ROOT = Path(__file__).parents[2]
# What pages and messages print of each.
FACTS = """data subject source license command duration rounding AP_test AP50_test AP_val AP50_val
images_train images_val images_test""".split()


@pytest.mark.long
def test_each_is_small_and_says_what_it_is():
    assert built_in_models() and not built_in_models().keys() & catalogue().keys()
    for model in built_in_models().values():
        assert model.path.stat().st_size <= MAX_BYTES == 6_000_000
        assert all(model.metadata[fact] for fact in FACTS)
        loaded = load(model.path)
        assert tuple(loaded.class_names) == model.class_names
        assert loaded.metadata == model.metadata
        assert loaded.config.backbone.name == model.backbone


def test_the_wheel_has_them():
    told: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("setuptools.setup", told.update)
        patch.chdir(ROOT)
        runpy.run_path("setup.py")
        wanted = {name: told[name] for name in ("packages", "package_dir", "package_data")}
        build = build_py(Distribution(wanted))
        build.ensure_finalized()
        shipped = {
            Path(folder, name).resolve()
            for _, folder, _, names in build.data_files
            for name in names
        }
    assert {model.path.resolve() for model in built_in_models().values()} <= shipped


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ground_truth(folder: Path, name: str) -> tuple[np.ndarray, list[str]]:
    """Return boxes xyxy and class names of an image of BCCD."""
    objects = ElementTree.parse(folder / f"Annotations/{name}.xml").findall("object")
    sides = ("xmin", "ymin", "xmax", "ymax")
    boxes = [[float(found.findtext(f"bndbox/{side}")) for side in sides] for found in objects]
    return np.array(boxes, np.float32), [found.findtext("name") for found in objects]


@pytest.mark.long
def test_predict_without_a_model_finds_the_cells_of_an_image(bccd, empty_folder, capsys):
    name = (bccd / "ImageSets/Main/test.txt").read_text().split()[0]
    assert command("predict", bccd / f"JPEGImages/{name}.jpg") == 0
    said = capsys.readouterr().out.splitlines()
    built = default_model()
    assert (
        f"using the built-in {built.name}, which detects {', '.join(built.class_names)}" in said[0]
    )
    assert "trained on BCCD, license MIT and Apache-2.0." in said[0]
    assert said[1].endswith("keras_retinanet train --data_dir FOLDER")
    assert said[2].endswith(f"in 1 of 1 images by {built.name}")
    assert (empty_folder / f"predictions/{name}.jpg").stat().st_size > 10_000

    rows = json.loads((empty_folder / "predictions/detections.json").read_text())
    threshold = float(built.metadata["F1_threshold"])
    drawn = [row for row in rows if row["score"] >= threshold]
    corners = np.array([row["bbox"] for row in drawn], np.float32)
    corners[:, 2:] += corners[:, :2]
    boxes, names = ground_truth(bccd, name)
    assert len(boxes) / 2 <= len(drawn) <= 2 * len(boxes)
    classes = [built.class_names[row["category_id"] - 1] for row in drawn]
    is_same = np.array(names)[:, None] == np.array(classes)[None, :]
    matched = (is_same & (iou(boxes, corners).numpy() >= 0.5)).any(axis=1)
    assert matched.mean() >= 0.5


@pytest.mark.long
def test_a_run_comes_first_and_a_name_is_taken_at_its_word(empty_folder, capsys):
    name = default_model().name
    (empty_folder / "runs/a").mkdir(parents=True)
    (empty_folder / "runs/a/best.keras").write_bytes(b"no model")
    assert command("info") == 2
    assert "runs/a/best.keras" in capsys.readouterr().err
    assert command("info", name) == 0
    assert f"file         {default_model().path}\n" in capsys.readouterr().out


@pytest.mark.long
def test_commands_that_need_a_model_of_ones_own_say_so(empty_folder, bccd, capsys):
    assert command("evaluate", "voc", "--data_dir", bccd) == 2
    assert "Expected a run below runs/" in capsys.readouterr().err
    assert command("info") == 0
    assert f"classes      {len(default_model().class_names)}: " in capsys.readouterr().out


def test_its_name_stands_for_its_file_and_is_offered():
    for name, model in built_in_models().items():
        assert model_file(name) == model.path
        assert near_names(f"{name}s")[0] == name
        with pytest.raises(UserError, match=rf"Received: {name}s, not there\. Near: {name}"):
            model_file(f"{name}s")


def test_the_lists_show_it_with_an_ap_that_is_none_of_coco(capsys):
    model = default_model()
    assert weights_list.run(Namespace(family="built_in")) == 0
    header, row, *_ = capsys.readouterr().out.splitlines()
    shown = f"{100 * float(model.metadata['AP_test']):.1f} (BCCD test)"
    assert row.split()[:3] == [model.name, "built_in", model.backbone]
    assert row.index(shown) == header.index("AP")
    assert f"sha256:{model.sha256[:8]}" in row and row.endswith("MIT and Apache-2.0")
    assert command("weights", "list", "--json") == 0
    first, *others = json.loads(capsys.readouterr().out)["result"]["weights"]
    assert (first["name"], first["ap"], first["hash"]) == (
        model.name,
        None,
        f"sha256:{model.sha256}",
    )
    assert len(others) == len(catalogue()) + len(built_in_models()) - 1
    assert command("weights", "get", model.name) == 0
    assert capsys.readouterr().out.startswith(f"{model.path}: part of the package")
