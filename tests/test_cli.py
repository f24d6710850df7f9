"""The command line: exit codes, messages, what the flags of `train` configure."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from keras_retinanet import cli
from keras_retinanet.commands.common import find_run, image_size, with_source
from keras_retinanet.config import Config
from keras_retinanet.config.files import load_config, save_config
from keras_retinanet.errors import UserError
from keras_retinanet.training import auto
from keras_retinanet.training.auto import planning
from keras_retinanet.version import __version__


def shell(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    package = str(Path(cli.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": package}
    words = (sys.executable, "-m", "keras_retinanet", *words)
    return subprocess.run(
        words, capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )


def command(*words: str) -> int:
    """Run a command in this process, which has TensorFlow already; returns the exit code."""
    return cli.run(cli.build_parser().parse_args([str(word) for word in words]))


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Runs `train` in an empty folder with a stand-in for training; returns what it was given."""
    calls = {}

    def train(config, out_dir, *, callbacks, resume, dry_run, data, strategy):
        assert (callbacks, strategy) == ([], "auto")
        assert data == calls.pop("planned_data", None)
        calls.update(config=config, out_dir=Path(out_dir), resume=resume, dry_run=dry_run)

    def plan(config, given):
        calls.update(given=given, planned_data=("train", "val"))
        return planning.Plan(config, ("train", "val"), ["the plan"])

    fake = types.SimpleNamespace(train=train)
    monkeypatch.setitem(sys.modules, "keras_retinanet.training.run", fake)
    monkeypatch.setattr(auto, "plan", plan)
    monkeypatch.chdir(tmp_path)
    Path("cells").mkdir()  # a data set

    def run(*words: str) -> types.SimpleNamespace:
        assert command("train", *words) == 0
        return types.SimpleNamespace(**calls)

    return run


# ----------------------------------------------------------------------------------- exit codes


@pytest.mark.long
def test_help_and_version_in_a_process_of_their_own():
    done = shell("--help")
    assert done.returncode == 0
    for name in ("train", "evaluate", "predict", "info"):
        assert name in done.stdout
        assert "Example" in shell(name, "--help").stdout
    done = shell("--version")
    assert (done.returncode, done.stdout) == (0, f"keras_retinanet {__version__}\n")


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train voc --set train.batchsize=3", "nearest valid key is train.batch_size."),
        ("train --config shaped", "nearest recipe is shapes."),
        ("train --image_size 800,400", "expected SHORT or SHORT,LONG"),
        ("train --classes a,,b", "expected different names"),
        ("train --batch_size 0", "train.batch_size: expected greater than 0."),
        ("train --back resnet50", "unrecognized arguments: --back"),
        ("train --devices 0", "expected a number from 1 to 64. Received: '0'"),
        ("train --resume", "Train first"),
        ("train --resume x --seed 3", "Received: --resume with seed."),
        ("evaluate", "Train first"),
        ("evaluate coco --detections d.json", "Received: no --annotations."),
        ("predict nowhere.jpg", "Received: nowhere.jpg."),
        ("info nowhere.keras", "Received: nowhere.keras, not there."),
        ("teach", "invalid choice: 'teach'"),
    ],
)
def test_what_the_user_got_wrong_is_one_line_and_exit_code_2(tmp_path, words, message):
    done = shell(*words.split(), cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    if "usage:" not in done.stderr:
        assert done.stderr.startswith("keras_retinanet: error: ")
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("Expected x."), 2, "keras_retinanet: error: Expected x.\n"),
        (PermissionError(13, "Permission denied", "f"), 2, "error: f: Permission denied.\n"),
        (OSError(28, "No space left on device"), 2, "error: No space left on device.\n"),
        (KeyboardInterrupt(), 130, "keras_retinanet: interrupted\n"),
    ],
)
def test_errors_become_exit_codes(capsys, error, code, line):
    def fail(args):
        raise error

    assert cli.run(types.SimpleNamespace(run=fail)) == code
    assert capsys.readouterr().err.endswith(line)


def test_a_bug_keeps_its_traceback():
    def fail(args):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cli.run(types.SimpleNamespace(run=fail))


# ---------------------------------------------------------------------------------------- train


def test_train_alone_takes_the_whole_shapes_recipe_and_says_so(trained, capsys):
    run = trained()
    assert run.config == load_config("shapes")
    assert "`shapes`" in capsys.readouterr().out
    assert run.out_dir.parent == Path("runs")
    assert run.out_dir.name.endswith("-shapes")
    assert (run.resume, run.dry_run) == (False, False)


def test_backbone_alone_swaps_the_trunk_of_shapes(trained):
    swapped = load_config("shapes", ["model.backbone.name=resnet34"])
    assert trained("--backbone", "resnet34").config == swapped


def test_a_data_set_alone_is_planned(trained, capsys):
    words = ["--data_dir", "cells", "--set", "train.seed=1", "--image_size", "300"]
    run = trained("voc", *words, "--out", "here", "--dry_run")
    settings = ["data.source=voc", "data.data_dir=cells", "train.seed=1"]
    sides = [f"model.preprocessing.{side}" for side in ("short_side=300", "long_side=500")]
    assert run.config == load_config(None, settings + sides)
    assert run.given == {
        *("data.data_dir", "train.seed"),
        *("model.preprocessing.short_side", "model.preprocessing.long_side"),
    }
    assert (run.out_dir, run.dry_run) == (Path("here"), True)
    assert "the plan" in capsys.readouterr().out
    assert "given" in vars(trained("voc", "--config", "auto"))


def test_nothing_is_planned_for_a_recipe_or_the_embedded_set(trained):
    for words in (["voc", "--config", "bccd"], ["shapes"], ["--backbone", "resnet50"]):
        assert "given" not in vars(trained(*words))


def test_a_recipe_alone_keeps_its_own_data(trained):
    run = trained("--config", "bccd")
    assert run.config == load_config("bccd")
    assert run.out_dir.name.endswith("-bccd")


def test_another_source_than_the_recipes_takes_no_splits_of_it(trained):
    data = trained("coco", "--config", "bccd", "--classes", "a,b").config.data
    assert (data.source, data.classes) == ("coco", ("a", "b"))
    assert (data.split, data.val_split) == (None, None)
    assert data.augment == load_config("bccd").data.augment


def test_each_flag_sets_its_key_and_set_has_the_last_word(trained):
    words = (
        "tfds --name voc/2007 --split s --val_split v --batch_size 4 --steps 5 --minutes 6 "
        "--learning_rate 1e-3 --precision mixed_bfloat16 --seed 7 "
        "--image_size 400 --backbone resnet18 --set train.seed=8 --set train.loss.box=giou"
    )
    expected = [
        "data.source=tfds", "data.name=voc/2007", "data.split=s", "data.val_split=v",
        "train.batch_size=4", "train.steps=5", "train.minutes=6", "train.precision=mixed_bfloat16",
        "train.optimizer.learning_rate=1e-3", "train.seed=8",
        "model.preprocessing.short_side=400", "model.preprocessing.long_side=666",
        "model.backbone.name=resnet18", "train.loss.box=giou",
    ]  # fmt: skip
    assert trained(*words.split()).config == load_config(None, expected)


def test_weights_are_a_file_or_a_run_and_bring_their_own_trunk(trained, capsys):
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/best.keras").touch()
    for given in ("runs/a", "runs/a/best.keras"):
        config = trained("voc", "--weights", given).config
        assert config.train.weights == str(Path("runs/a/best.keras"))
    words = ["train", "voc", "--weights", "runs/a", "--backbone", "resnet18"]
    assert cli.run(cli.build_parser().parse_args(words)) == 2
    assert "--weights or --backbone" in capsys.readouterr().err


def test_a_place_named_anew_forgets_the_old_one():
    trained_on = load_config(None, ["data.source=coco", "data.annotations=a.json", "data.images=d"])
    parser = cli.build_parser()
    other = with_source(trained_on, parser.parse_args(["evaluate", "coco", "--data_dir", "x"]))
    assert (other.data.data_dir, other.data.annotations, other.data.images) == ("x", None, None)
    same = with_source(trained_on, parser.parse_args(["evaluate", "coco"]))
    assert same.data == trained_on.data


def test_resume_takes_the_runs_own_configuration(trained):
    config = load_config("bccd", ["train.seed=3"])
    save_config(config, "runs/a/config.yaml")
    Path("runs/a/state").mkdir()
    Path("runs/a/state/checkpoint").touch()
    save_config(Config(), "runs/dry/config.yaml")  # newer, but nothing to resume from
    for words in (["--resume"], ["--resume", "runs/a"]):
        run = trained(*words)
        assert (run.config, run.out_dir, run.resume) == (config, Path("runs/a"), True)
    assert find_run() == Path("runs/a")


def test_image_size_keeps_the_papers_ratio():
    assert image_size("800") == (800, 1333)
    assert image_size("600") == (600, 1000)
    assert image_size("416,416") == (416, 416)
