"""Hints that can be followed: lists by commands, lengths in steps, paths that are not there."""

import re
from argparse import Namespace

import pytest
from in_process import command as run_command

from keras_retinanet.cli import main
from keras_retinanet.commands import COMMANDS
from keras_retinanet.commands.common import require_there
from keras_retinanet.config import Config
from keras_retinanet.config.files import config_names, dotted_keys
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones import BACKBONES, has_public_weights
from keras_retinanet.modeling.backbones.imagenet import APPLICATIONS, LITE_FILES
from keras_retinanet.training.dry_run import duration


@pytest.fixture
def command(capsys):
    """Return the function that gives the exit code of a command and what it printed."""

    def run(*words):
        code = run_command(*words)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def test_the_program_alone_lists_its_commands(capsys):
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    for name, module in COMMANDS.items():
        assert re.search(rf"^    {name}\s", printed, re.MULTILINE)
        assert module.__doc__.split()[0] in printed


def test_recipes_and_options_are_listed(command):
    code, printed = command("recipes")
    assert code == 0 and "    duration: 4.2 min\n" in printed
    assert [line for line in printed.splitlines() if line[:1] != " "] == config_names()
    code, printed = command("options", "train.optimizer.")
    names = [line.partition(" = ")[0] for line in printed.splitlines() if line[:1] != " "]
    assert names == [key for key in dotted_keys(Config) if key.startswith("train.optimizer.")]
    assert "train.optimizer.learning_rate = 0.01\n    " in printed
    code, printed = command("options", "nope")
    assert code == 2 and "model, data, train" in printed


@pytest.mark.parametrize("flag", ["data_dir", "annotations", "images", "class_file"])
def test_a_missing_path_is_called_missing_and_leaves_no_folder(
    flag, command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, printed = command("train", "coco", f"--{flag}", "nowhere/x")
    assert code == 2
    assert f"Received: --{flag} nowhere/x, which does not exist." in printed
    assert not list(tmp_path.iterdir())


def test_a_pattern_of_files_is_there(tmp_path):
    (tmp_path / "train-0.tfrecord").touch()
    require_there(Namespace(data_dir=str(tmp_path / "train-*")))
    with pytest.raises(UserError, match="which does not exist"):
        require_there(Namespace(data_dir=str(tmp_path / "val-*")))


def test_epochs_are_answered_with_steps(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("--epochs", "4", "--set", "data.shapes_train=40", "--set", "data.shapes_val=4")
    code, printed = command("train", "shapes", *words)
    assert code == 2 and "4 epochs of 40 images are --steps 10," in printed
    assert not list(tmp_path.iterdir())


def test_public_weights_are_advised_where_there_are_some():
    known = {name for name in BACKBONES if has_public_weights(name)}
    assert known == {*APPLICATIONS, *LITE_FILES} and "resnet18" not in known


def test_durations_have_units_that_are_read_at_once():
    assert [duration(s) for s in (90, 3 * 3600, 45 * 86_400)] == [
        "1.5 minutes",
        "3.0 hours",
        "45 days",
    ]
