"""`predict --shard I/N` and `--merge`: the rows of all shards are those of one call."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from in_process import command
from PIL import Image
from tiny_command import TINY, tiny

from keras_retinanet.config.files import load_config
from keras_retinanet.exporting import exported
from keras_retinanet.modeling.backbones import BACKBONES

OVERRIDES = {
    "model.backbone.name": TINY,
    "model.fpn.channels": 16,
    "model.head.channels": 16,
    "model.head.depth": 1,
    "model.head.prior": 0.3,
    "model.detections.max_detections": 5,
    "model.preprocessing.short_side": 64,
    "model.preprocessing.long_side": 64,
}


@pytest.fixture
def words(tmp_path, rng, monkeypatch) -> list:
    """The words of a call: five images, of which one is none, and a model that finds something."""
    from keras_retinanet.modeling.retinanet import RetinaNet
    from keras_retinanet.modeling.saving import save_model

    monkeypatch.setitem(BACKBONES, TINY, tiny)
    model = RetinaNet(load_config("shapes", OVERRIDES).model, ["cat", "=dog"], class_ids=[17, 18])
    save_model(model, tmp_path / "model.keras")
    (tmp_path / "images").mkdir()
    for name in "abde":
        pixels = rng.integers(0, 255, (50, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "images" / "c.jpg").write_text("not an image")
    return ["predict", tmp_path / "images", "--model", tmp_path / "model.keras", "--out"]


def rows_of(folder: Path) -> tuple[list[dict], list[list[str]]]:
    with open(folder / "detections.csv", encoding="utf-8", newline="") as stream:
        return json.loads((folder / "detections.json").read_text()), [*csv.reader(stream)]


@pytest.mark.long
def test_merged_shards_are_one_call(words, tmp_path, capsys, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert command(*words, whole) == 0
    assert command(*words, out, "--shard", "2/2") == 0
    assert command(*words, out, "--merge") == 2
    assert "Received: none of 1/2." in capsys.readouterr().err
    assert command(*words, out, "--shard", "1/2") == 0
    assert [path.name for path in sorted((out / "shard-2-of-2").iterdir())] == [
        *("b.jpg", "d.jpg", "detections.csv", "detections.json", "done.json"),
    ]

    monkeypatch.setattr(exported, "load_detector", None)  # nothing is detected again
    capsys.readouterr()
    assert command(*words, out, "--shard", "2/2") == 0
    assert "Shard 2/2 (2 of 5 files) is done" in capsys.readouterr().out
    assert command(*words, out, "--merge") == 0
    (rows, lines), (others, other_lines) = rows_of(out), rows_of(whole)
    assert [row["image_id"] for row in rows] == [number for number in (1, 2, 4, 5) for _ in "12345"]
    keys = ("image_id", "file_name", "category_id")
    assert [[row[key] for key in keys] for row in rows] == [
        [row[key] for key in keys] for row in others
    ]
    numbers = ([[*row["bbox"], row["score"]] for row in each] for each in (rows, others))
    np.testing.assert_allclose(*numbers, rtol=1e-5, atol=1e-4)
    assert lines == other_lines


@pytest.mark.long
def test_a_shard_of_another_call_is_refused_and_done_again(words, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(*words, out, "--shard", "1/1") == 0
    first = (out / "shard-1-of-1" / "done.json").read_text()
    assert command(*words, out, "--merge", "--tile", 64) == 2
    assert "Expected shard 1/1 of this call" in capsys.readouterr().err
    (tmp_path / "images" / "e.png").unlink()
    assert command(*words, out, "--merge") == 2
    assert command(*words, out, "--shard", "1/1") == 0
    assert (out / "shard-1-of-1" / "done.json").read_text() != first
    assert command(*words, out, "--merge") == 0
    assert {row["image_id"] for row in rows_of(out)[0]} == {1, 2, 4}


@pytest.mark.long
def test_a_shard_that_was_killed_is_not_done(words, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(*words, out, "--shard", "1/1") == 0
    (out / "shard-1-of-1" / "done.json").unlink()
    assert command(*words, out, "--merge") == 2
    assert "which is not finished" in capsys.readouterr().err
