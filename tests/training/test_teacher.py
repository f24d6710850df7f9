"""Runs with a teacher: its hash, its column in the log, and the end of a resumed one."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
from equal_runs import assert_equal_runs, rows_of
from tiny_command import SETTINGS, STEPS, TINY, run, tiny, train_words

from keras_retinanet.config.files import load_config
from keras_retinanet.errors import UserError
from keras_retinanet.files import sha256_of
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import load, save_model
from keras_retinanet.training.distillation import loss_names, pinned_teacher
from keras_retinanet.training.run import train
from keras_retinanet.training.state_file import StateFile

CLASSES = ["star", "triangle", "square", "circle"]
STATE = 9  # the last one but one


@pytest.fixture(scope="module", autouse=True)
def _backbone():
    BACKBONES[TINY] = tiny
    yield
    del BACKBONES[TINY]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A model of more channels, and of the same classes in another order."""
    keras.utils.set_random_seed(5)
    student = load_config("shapes", SETTINGS).model
    fpn = dataclasses.replace(student.fpn, channels=24)
    path = tmp_path_factory.mktemp("teacher") / "teacher.keras"
    save_model(RetinaNet(dataclasses.replace(student, fpn=fpn), CLASSES), path)
    return path


def taught(teacher, **settings):
    changed = {key.replace("__", "."): value for key, value in settings.items()}
    return load_config("shapes", {**SETTINGS, "train.teacher": str(teacher), **changed})


@pytest.fixture(scope="module")
def whole(teacher, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(taught(teacher), out)
    return out


def test_a_run_knows_its_teacher_and_logs_the_imitation(teacher, whole):
    stored = load_config(whole / "config.yaml").train
    digest = sha256_of(teacher)
    assert (stored.teacher, stored.distillation.teacher_sha256) == (str(teacher), digest)
    assert load(whole / "last.keras").metadata["teacher"] == f"SHA-256 {digest}"
    rows = [row for row in rows_of(whole) if "loss" in row]
    assert [row["step"] for row in rows][-1] == STEPS
    for row in rows:
        assert row["distillation_loss"] > 0.01
        assert sum(row[name] for name in loss_names(stored)[1:]) == pytest.approx(row["loss"])


def test_a_resumed_run_ends_as_a_whole_one(teacher, whole, tmp_path):
    out = tmp_path / "resumed"
    shutil.copytree(whole, out)
    (out / "last.keras").unlink()
    (out / "state" / f"ckpt-{STEPS}.npz").unlink()
    adapters = StateFile(out / "state" / f"ckpt-{STATE}.npz").shapes
    assert adapters["distillation/0"] == (1, 1, 16, 24)
    train(taught(teacher), out, resume=True)
    # The same operations on the same machine: not a bit differs.
    assert_equal_runs(out, whole, weight_atol=0, loss_atol=0)
    ours, theirs = (np.load(place / "state" / f"ckpt-{STEPS}.npz") for place in (out, whole))
    assert set(ours) == set(theirs)
    for name in set(ours) - {"clock"}:  # which holds the seconds
        np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.slow
def test_two_devices_train_as_one(teacher, whole, tmp_path):
    code, printed = run(*train_words(tmp_path / "run"), "--teacher", teacher, "--devices", 2)
    assert code == 0, printed
    assert_equal_runs(tmp_path / "run", whole)


def test_another_teacher_is_refused(teacher, whole, tmp_path):
    other = shutil.copy(teacher, tmp_path / "teacher.keras")
    config = load_config(whole / "config.yaml", {"train.teacher": str(other)})
    assert pinned_teacher(config).train.teacher == str(other)  # the same bytes
    model = load(other)
    model.set_weights([2 * weight for weight in model.get_weights()])
    save_model(model, other)
    with pytest.raises(UserError, match="Expected the teacher that the run began with"):
        pinned_teacher(config)


def test_a_teacher_is_a_file_a_run_or_a_name(teacher, whole):
    assert pinned_teacher(taught(whole)).train.teacher == str(whole / "best.keras")
    named = pinned_teacher(taught("blood_cells")).train
    assert named.teacher.endswith("blood_cells.keras")
    assert named.distillation.teacher_sha256 == sha256_of(named.teacher)
    with pytest.raises(UserError, match=r"Expected a \.keras file, a run folder"):
        pinned_teacher(taught("nowhere.keras"))


def test_a_teacher_of_other_classes_ends_the_run_before_it_begins(tmp_path):
    with pytest.raises(UserError, match=r"Expected a teacher with the student's classes") as error:
        train(taught("blood_cells"), tmp_path / "run")
    assert "train.distillation.output_weight=0" in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_teacher_has_no_column_of_it():
    train_config = load_config("shapes", SETTINGS).train
    assert loss_names(train_config) == ("loss", "class_loss", "box_loss")
    assert pinned_teacher(load_config("shapes", SETTINGS)).train == train_config
