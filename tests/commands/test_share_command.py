"""`share`: the folder, its card, and the push by a stand-in for the hub's client."""

import json
import sys
import types
from pathlib import Path

import pytest
import yaml
from in_process import command

from keras_retinanet.checkpoints.built_in import default_model
from keras_retinanet.commands.share import _own_figures
from keras_retinanet.config.files import load_config, save_config
from keras_retinanet.exporting.model_card import Card, card_text
from keras_retinanet.files import sha256_of
from keras_retinanet.files.images.decoding import decode_image

PICTURE = sorted((Path(__file__).parents[1] / "assets" / "bccd" / "JPEGImages").iterdir())[0]


def head_of(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


@pytest.fixture
def hub(monkeypatch):
    """A hub that notes what it is asked, or fails."""
    asked = types.SimpleNamespace(repositories=[], uploads=[], error=None)

    class HfApi:
        def create_repo(self, repository, *, exist_ok):
            asked.repositories.append((repository, exist_ok))

        def upload_folder(self, *, repo_id, folder_path, revision, commit_message):
            if asked.error:
                raise asked.error
            files = sorted(path.name for path in folder_path.iterdir())
            asked.uploads.append((repo_id, revision, files))
            return f"https://hub/{repo_id}"

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(HfApi=HfApi))
    return asked


@pytest.mark.long
def test_a_folder_has_the_model_and_its_card(tmp_path, capsys):
    out, figures = tmp_path / "cells", tmp_path / "evaluation.json"
    measured = {"coco": {"AP": 0.61, "AP50": 0.918, "APs": None}, "facts": {"data": "bccd, test"}}
    figures.write_text(json.dumps(measured), encoding="utf-8")
    words = ["--model", "blood_cells", "--images", PICTURE, "--evaluation", figures]
    assert command("share", *words, "--out", out) == 0
    model = default_model()
    card = (out / "README.md").read_text(encoding="utf-8")
    assert sha256_of(out / "model.keras") == model.sha256 and model.sha256 in card
    assert "On bccd, test:" in card and "| AP | 0.610 |" in card and "| AP50 | 0.918 |" in card
    assert "APs" not in card and 'load("model.keras")' in card and "Platelets, RBC, WBC" in card
    assert head_of(card)["license"] == "other" and "MIT" in head_of(card)["license_name"]
    assert "](images/01.jpg)" in card
    drawn, plain = (
        decode_image(file.read_bytes()).astype(int) for file in (out / "images" / "01.jpg", PICTURE)
    )
    assert drawn.shape == plain.shape and (abs(drawn - plain) > 100).any(axis=2).mean() > 0.01
    assert command("share", "--model", out / "model.keras", "--out", out) == 2  # not empty
    assert "Expected a new or an empty folder" in capsys.readouterr().err


def test_a_folder_is_pushed(tmp_path, hub, capsys):
    words = ["--model", "blood_cells", "--push", "hf://ann/blood@v1", "--license", "MIT"]
    assert command("share", *words, "--out", tmp_path / "out") == 0
    assert hub.repositories == [("ann/blood", True)]
    assert hub.uploads == [("ann/blood", "v1", ["README.md", "model.keras"])]
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert head_of(card)["license"] == "mit" and "# blood\n" in card
    assert "--model hf://ann/blood@v1/model.keras" in card
    assert "Pushed to https://hub/ann/blood" in capsys.readouterr().out


@pytest.mark.long
def test_a_failed_push_is_one_line_and_leaves_the_folder(tmp_path, hub, capsys):
    hub.error = OSError("401 Client Error\nmore")
    words = ["--model", "blood_cells", "--push", "hf://ann/blood"]
    assert command("share", *words, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "Received: 401 Client Error. The folder is whole" in error and "more" not in error
    assert (tmp_path / "out" / "model.keras").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--push", "hf://ann"], "Expected an address of a model"),
        (["--push", "hf://ann/x/model.onnx"], "without a file"),
        (["--evaluation", "{card}"], "Expected a file of `keras_retinanet evaluate --json FILE`"),
    ],
)
def test_mistakes_come_before_any_work(tmp_path, hub, capsys, words, message):
    card = tmp_path / "a.json"
    card.write_text("[]", encoding="utf-8")
    words = [word.format(card=card) for word in words]
    assert command("share", "--model", "blood_cells", "--out", tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_without_the_client_a_push_names_the_package(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    words = ["--model", "blood_cells", "--push", "hf://ann/blood", "--out", tmp_path / "out"]
    assert command("share", *words) == 2
    assert "Install it: pip install huggingface-hub." in capsys.readouterr().err


def test_a_run_gives_the_metrics_of_its_best_step(tmp_path):
    save_config(load_config("bccd"), tmp_path / "config.yaml")
    log = "step,loss,AP,AP50\n10,1,0.2,0.5\n20,1,0.4,0.7\n30,1,0.3,0.9\n40,1,,\n"
    (tmp_path / "metrics.csv").write_text(log, encoding="utf-8")
    where, figures = _own_figures(tmp_path / "best.keras", {"AP_val": "0.9"})
    assert figures == {"AP": "0.400", "AP50": "0.700"} and "step 20" in where
    assert _own_figures(tmp_path / "x.keras", {"AP_val": "0.9"}) == ("", {"AP_val": "0.9"})


def test_a_card_shows_text_of_a_stranger_as_text():
    hostile = "x|[a](http://b)<script>\nnext"
    card = Card(hostile, "model.tflite", "", "", facts={"origin": hostile})
    text = card_text(card)
    assert "<script>" not in text.replace("\\<script", "") and "\nnext" not in text
    assert "| origin | x\\|\\[a\\](http://b)\\<script\\>\\nnext |" in text.replace("\\\\n", "\\n")
    assert "not stated" in text and "Not measured" in text and "license" not in head_of(text)
    assert 'load_detector("model.tflite")' in text
