"""A run: what it writes, how it goes on after a kill, what it keeps of other weights."""

import csv
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from killed_run import OVERRIDES, STEPS

from keras_retinanet.config_files import load_config
from keras_retinanet.errors import UserError
from keras_retinanet.saving import load
from keras_retinanet.training import train

# One machine computes one run twice to the bit; threads may sum in another order.
WEIGHT_ATOL = 1e-6


def toy(**overrides):
    return load_config("shapes", {**OVERRIDES, **overrides})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "finished"
    return out, train(toy(), out)


def test_run_folder_holds_all_of_the_run(finished):
    out, result = finished
    assert result["steps"] == STEPS
    names = {path.name for path in out.iterdir()}
    assert {"best.keras", "last.keras", "config.yaml", "data.json", "metrics.csv", "curves.png",
            "state", "tensorboard"} <= names  # fmt: skip
    assert yaml.safe_load((out / "config.yaml").read_text())["train"]["batch_size"] == 4
    with open(out / "metrics.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert int(rows[-1]["step"]) == STEPS
    losses = next(row for row in rows if row["loss"])
    total = float(losses["class_loss"]) + float(losses["box_loss"])
    assert float(losses["loss"]) == pytest.approx(total, rel=1e-5)
    assert any(row["AP"] for row in rows)


def test_models_of_a_run_detect(finished, rng):
    out, _ = finished
    for name in ("best.keras", "last.keras"):
        model = load(out / name)
        assert model.class_names == ["circle", "square", "triangle", "star"]
        assert len(model.detect(rng.integers(0, 255, (50, 80, 3), np.uint8))) == 1


def run_script(out, kill_at, how):
    script = Path(__file__).with_name("killed_run.py")
    command = [sys.executable, str(script), str(out), str(kill_at), how]
    return subprocess.run(command, capture_output=True, timeout=300, text=True)


def test_killed_and_resumed_ends_with_the_same_weights(finished, tmp_path):
    whole, _ = finished
    killed = run_script(tmp_path / "run", 7, "start")
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "run/last.keras").exists()
    resumed = run_script(tmp_path / "run", 0, "resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming at step 4" in resumed.stdout
    for name in ("last.keras", "best.keras"):
        expected, got = (
            load(whole / name).get_weights(),
            load(tmp_path / "run" / name).get_weights(),
        )
        for one, other in zip(expected, got, strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=WEIGHT_ATOL)
    steps = [line.split(",")[0] for line in (tmp_path / "run/metrics.csv").read_text().splitlines()]
    assert steps == [
        line.split(",")[0] for line in (whole / "metrics.csv").read_text().splitlines()
    ]


def test_resume_needs_a_state(tmp_path):
    with pytest.raises(UserError, match="Expected the state of a run"):
        train(toy(), tmp_path, resume=True)


def test_a_run_is_never_overwritten(finished):
    with pytest.raises(UserError, match="Expected a new folder"):
        train(toy(), finished[0])


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(UserError, match=r"Expected a finite loss.*at step"):
        train(toy(**{"train.optimizer.learning_rate": 1e30}), tmp_path / "run")


def test_dry_run_measures_and_draws(tmp_path, capsys):
    result = train(toy(), tmp_path, dry_run=True)
    assert result["seconds_per_step"] > 0 and result["batch"].stat().st_size > 1000
    printed = capsys.readouterr().out
    assert "estimated:" in printed and "measured:" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["batch.png"]


def test_transfer_keeps_all_but_the_last_layers(finished, tmp_path, capsys):
    out, _ = finished
    config = toy(**{"train.weights": str(out / "last.keras"), "data.classes": ["star", "circle"]})
    from keras_retinanet.building import build_model
    from keras_retinanet.data import load_dataset

    model = build_model(config, load_dataset(config.data, "train"))
    printed = capsys.readouterr().out
    assert "class_head: 2 layers kept, anew: final" in printed
    assert "box_head: 2 layers kept, anew: final" in printed
    source = load(out / "last.keras")
    for part in ("backbone", "fpn"):
        theirs, ours = getattr(source, part), getattr(model, part)
        for one, other in zip(theirs.get_weights(), ours.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    for head in ("class_head", "box_head"):
        tower = [getattr(part, head).get_layer("conv1").kernel for part in (source, model)]
        np.testing.assert_array_equal(*tower)
    assert model.class_head.get_layer("final").kernel.shape[-1] == 2 * 9
    # Loaded statistics are frozen; the first random run's were not.
    assert not model.backbone.get_layer("stem_bn").trainable


def test_pictures_without_boxes_alone_are_refused(tmp_path):
    import json

    from PIL import Image

    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "annotations": [],
        "categories": [{"id": 1, "name": "cell"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    config = toy(**{"data.source": "coco", "data.annotations": str(tmp_path / "a.json"),
                    "data.images": str(tmp_path), "data.val_split": "none"})  # fmt: skip
    with pytest.raises(UserError, match="Expected pictures with boxes"):
        train(config, tmp_path / "run")


def test_memory_that_cannot_suffice_is_told_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_retinanet.resources.available_memory", lambda: 2**20)
    with pytest.raises(UserError, match=r"A step of 4 pictures needs about .* GiB.*--?[a-z_]+"):
        train(toy(), tmp_path)
