"""A run: what it writes, how it goes on after a kill, what it keeps of other weights."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from killed_run import CHECKPOINT_EVERY, EVALUATE_EVERY, LAST_STEP, OVERRIDES, TRUNK, add_trunk
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_retinanet.config.files import load_config
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.modeling.saving import load
from keras_retinanet.training.run import train

# One machine computes one run twice to the bit; threads may sum in another order.
WEIGHT_ATOL = 1e-6
CLASSES = ["circle", "square", "triangle", "star"]


def toy(**overrides):
    return load_config("shapes", {**OVERRIDES, **overrides})


@pytest.fixture(scope="module", autouse=True)
def _trunk():
    add_trunk()
    yield
    del BACKBONES[TRUNK]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of a run, and the process that runs and kills itself, beside the other run."""
    out = tmp_path_factory.mktemp("runs") / "killed"
    command = [
        sys.executable,
        str(Path(__file__).parents[1] / "support" / "killed_run.py"),
        str(out),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        yield out, process
        process.kill()


@pytest.fixture(scope="module")
def finished(killed, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "finished"
    return out, train(toy(), out)


@pytest.fixture(scope="module")
def models(finished):
    return {name: load(finished[0] / f"{name}.keras") for name in ("best", "last")}


@pytest.fixture
def eager():
    """Steps without a graph, which takes longer to trace than the two or three steps of a test."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def rows_of(run):
    with open(run / "metrics.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_run_folder_holds_all_of_the_run(finished):
    out, _ = finished
    names = {path.name for path in out.iterdir()}
    assert {"best.keras", "last.keras", "config.yaml", "data.json", "metrics.csv", "curves.png",
            "run.json", "state", "tensorboard"} <= names  # fmt: skip
    assert yaml.safe_load((out / "config.yaml").read_text())["train"]["batch_size"] == 4
    rows = rows_of(out)
    logged = [step for step in range(1, LAST_STEP + 1)
              if step % EVALUATE_EVERY == 0 or step % CHECKPOINT_EVERY == 0]  # fmt: skip
    assert [int(row["step"]) for row in rows if row["loss"]] == logged
    losses = next(row for row in rows if row["loss"])
    total = float(losses["class_loss"]) + float(losses["box_loss"])
    assert float(losses["loss"]) == pytest.approx(total, rel=1e-5)


def test_patience_ends_a_run_early(finished):
    out, result = finished
    assert result["steps"] == LAST_STEP
    scores = {int(row["step"]): float(row["AP"]) for row in rows_of(out) if row["AP"]}
    assert scores == {3: 0.0, 6: 0.0, LAST_STEP: 0.0}
    assert result["best_score"] == 0.0


def test_best_is_that_of_the_first_of_equal_evaluations(models):
    assert models["best"].metadata["step"] == "3"
    assert models["last"].metadata["step"] == str(LAST_STEP)


def test_tensorboard_shows_the_run(finished):
    out, _ = finished
    events = EventAccumulator(str(out / "tensorboard"), size_guidance={"tensors": 0}).Reload()
    tags = events.Tags()["tensors"]
    for tag, row in (("validation/AP50", "AP50"), ("training/box_loss", "box_loss")):
        expected = {int(r["step"]): float(r[row]) for r in rows_of(out) if r[row]}
        got = {e.step: float(tf.make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)}
        assert got == pytest.approx(expected)
    assert len([tag for tag in tags if tag.startswith("AP by class/")]) >= 2
    assert "precision_recall/all classes" in tags
    pictures = [tag for tag in tags if tag.startswith("pictures/")]
    assert len(pictures) == 2
    assert [event.step for event in events.Tensors(pictures[0])] == [3, 6, LAST_STEP]


@pytest.mark.long
def test_the_best_model_of_a_run_detects(models, rng):
    assert models["best"].class_names == models["last"].class_names == CLASSES
    assert len(models["best"].detect(rng.integers(0, 255, (50, 80, 3), np.uint8))) == 1


@pytest.mark.long
def test_killed_and_resumed_ends_as_never_killed(finished, models, killed, capsys):
    whole, expected = finished
    out, process = killed
    _, errors = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, errors
    assert not (out / "last.keras").exists()
    result = train(toy(), out, resume=True)
    assert f"resuming at step {CHECKPOINT_EVERY}\n" in capsys.readouterr().out
    assert (result["steps"], result["best_score"]) == (expected["steps"], expected["best_score"])
    for name, ours in models.items():
        theirs = load(out / f"{name}.keras")
        assert ours.metadata["step"] == theirs.metadata["step"]
        for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=WEIGHT_ATOL)
    for one, other in zip(rows_of(whole), rows_of(out), strict=True):
        del one["seconds"], other["seconds"]
        numbers = [np.array([v or np.nan for v in row.values()], float) for row in (one, other)]
        np.testing.assert_allclose(*numbers, rtol=1e-5)


@pytest.mark.long
def test_a_run_that_ended_can_be_resumed_and_stays_as_it_was(finished, capsys):
    out, result = finished
    rows = rows_of(out)
    again = train(toy(), out, resume=True)
    assert again["steps"] == result["steps"]
    assert "stopped early: 2 evaluations without a better score" in capsys.readouterr().out
    assert rows_of(out) == rows


def test_resume_needs_a_state(tmp_path):
    with pytest.raises(UserError, match="Expected the folder of a run"):
        train(toy(), tmp_path, resume=True)


def test_a_run_is_never_overwritten(finished):
    with pytest.raises(UserError, match="Expected a new folder"):
        train(toy(), finished[0])


# It is our pipeline that is compiled even so.
@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly")
@pytest.mark.usefixtures("eager")
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(UserError, match=r"Expected a finite loss.*at step"):
        train(toy(**{"train.optimizer.learning_rate": 1e6}), tmp_path / "run")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly")
@pytest.mark.usefixtures("eager")
def test_dry_run_measures_and_draws(tmp_path, capsys):
    result = train(toy(), tmp_path, dry_run=True)
    assert result["seconds_per_step"] > 0 and result["batch"].stat().st_size > 1000
    printed = capsys.readouterr().out
    assert "estimated:" in printed and "measured:" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["batch.png"]


@pytest.mark.long
def test_transfer_keeps_all_but_the_last_layers(finished, models, capsys):
    out, _ = finished
    config = toy(**{"train.weights": str(out / "last.keras"), "data.classes": ["star", "circle"]})
    from keras_retinanet.data.loading import load_dataset
    from keras_retinanet.training.building import build_model

    model = build_model(config, load_dataset(config.data, "train"))
    printed = capsys.readouterr().out
    assert "class_head: 2 layers kept, new: final" in printed
    assert "box_head: 2 layers kept, new: final" in printed
    source = models["last"]
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
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "annotations": [],
        "categories": [{"id": 1, "name": "cell"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    config = toy(**{"data.source": "coco", "data.annotations": str(tmp_path / "a.json"),
                    "data.images": str(tmp_path), "data.val_split": "none"})  # fmt: skip
    with pytest.raises(UserError, match="Expected images with boxes"):
        train(config, tmp_path / "run")


@pytest.mark.long
def test_memory_that_cannot_suffice_is_told_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_retinanet.training.resources.available_memory", lambda: 2**20)
    with pytest.raises(UserError, match=r"A step of 4 images needs about .* GiB.*--?[a-z_]+"):
        train(toy(), tmp_path)
