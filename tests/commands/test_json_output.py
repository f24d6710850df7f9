"""`--json`: one object on standard output, all text on standard error, for every command."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from in_process import command

from keras_retinanet import cli
from keras_retinanet.commands import COMMANDS, recipes
from keras_retinanet.commands.json_output import FLAG, plain, takes_json
from keras_retinanet.config.files import load_config, save_config

ROOT = Path(__file__).parents[2]
BCCD = ROOT / "tests" / "assets" / "bccd"


def leaves(modules, parser=None, prefix=""):
    """Yield the full name and the parser of each command."""
    choices = next(a for a in (parser or cli.build_parser())._actions if a.choices).choices
    for name, module in modules.items():
        if hasattr(module, "COMMANDS"):
            yield from leaves(module.COMMANDS, choices[name], f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", choices[name]


def documented():
    """Return command -> the fields of its result in docs/json.md."""
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    _, _, text = page.partition("| command | fields of `result` |")
    rows = re.findall(r"^\| `([a-z ]+)` \| (.*) \|$", text, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", fields)) for name, fields in rows}


@pytest.fixture
def result(capfd):
    """Runs a command with --json; returns its object, whose fields are the documented ones."""

    def run(*words, code=0):
        assert command(*words, FLAG) == code
        said = capfd.readouterr()
        assert said.out.count("\n") == 1
        printed = json.loads(said.out)
        assert printed["exit_code"] == code and (printed["error"] is None) == (code == 0)
        assert set(printed["result"]) <= documented()[printed["command"]]
        return printed, said.err

    return run


def test_every_command_has_the_flag_and_a_documented_result():
    found = dict(leaves(COMMANDS))
    assert len(found) > 15 and set(found) == set(documented())
    assert all(takes_json(parser) for parser in found.values())


def test_lists(result):
    printed, text = result("recipes")
    assert printed["command"] == "recipes" and "bccd\n" in text
    (own,) = (each for each in printed["result"]["recipes"] if each["name"] == "bccd")
    assert own["summary"] and own["command"].startswith("keras_retinanet train")
    (option,) = result("options", "train.seed")[0]["result"]["options"]
    assert option["name"] == "train.seed" and option["default"].isdecimal()
    weights = result("weights", "list", "--family", "built_in")[0]["result"]["weights"]
    assert weights and all(each["hash"].startswith("sha256:") for each in weights)
    got = result("weights", "get", weights[0]["name"])[0]["result"]
    assert (got["file"], got["hash"]) == (weights[0]["file"], weights[0]["hash"])


def test_a_mistake_is_an_object_too(result, tmp_path):
    printed, text = result("options", "nothing.such", code=2)
    assert printed["command"] == "options" and printed["result"] == {}
    assert printed["error"].startswith("Expected") and printed["error"] in text
    missing = tmp_path / "nowhere"
    printed, _ = result("dataset", "doctor", "--data_dir", missing, code=2)
    assert printed["command"] == "dataset doctor" and str(missing) in printed["error"]


def test_a_wrong_word_is_an_object_too(capsys):
    with pytest.raises(SystemExit):
        cli._parse(["keras_retinanet", "dataset", "view", FLAG, "--count", "many"])
    said = capsys.readouterr()
    printed = json.loads(said.out)
    assert printed["command"] == "dataset view" and printed["exit_code"] == 2
    assert printed["error"] == "argument --count: invalid int value: 'many'"
    assert printed["error"] in said.err and "usage:" in said.err


def test_a_crash_is_an_object_and_a_traceback(monkeypatch, capfd):
    monkeypatch.setattr(recipes, "recipe_facts", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command("recipes", FLAG)
    printed = json.loads(capfd.readouterr().out)
    assert (printed["exit_code"], printed["error"]) == (1, "ZeroDivisionError: division by zero")


def test_child_processes_do_not_print_into_the_object(monkeypatch, capfd):
    words = [sys.executable, "-c", "print('from a child')"]
    monkeypatch.setattr(recipes, "recipe_facts", lambda: subprocess.run(words, check=True) and {})
    assert command("recipes", FLAG) == 0
    said = capfd.readouterr()
    assert json.loads(said.out)["result"] == {"recipes": []} and said.err == "from a child\n"


def test_without_the_flag_nothing_changes(capfd):
    assert command("recipes") == 0
    said = capfd.readouterr()
    assert "bccd\n" in said.out and said.err == ""


def test_values_become_those_of_json():
    given = {1: np.float32(0.5), "a": (Path("x"), np.nan, np.inf), "b": np.array([1, 2]), "c": None}
    expected = {"1": 0.5, "a": ["x", None, None], "b": [1, 2], "c": None}
    assert plain(given) == expected and plain(True) is True


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """A run on a few generated scenes, whose untrained model finds something everywhere."""
    from keras_retinanet.modeling.retinanet import RetinaNet
    from keras_retinanet.modeling.saving import save_model

    folder = tmp_path_factory.mktemp("run")
    sides = {f"model.preprocessing.{name}_side": 64 for name in ("short", "long")}
    overrides = {"model.head.prior": 0.3, "model.detections.max_detections": 5, **sides}
    config = load_config("shapes", overrides)
    save_model(
        RetinaNet(config.model, ["circle", "square", "triangle", "star"]), folder / "best.keras"
    )
    save_config(config, folder / "config.yaml")
    return folder


@pytest.mark.long
def test_predict_and_info_print_what_they_found(result, run_folder, tmp_path):
    images = [*sorted((BCCD / "JPEGImages").iterdir())[:1], tmp_path / "broken.jpg"]
    images[1].write_bytes(b"none")
    printed, text = result("predict", *images, "--model", run_folder, "--out", tmp_path / "out")
    found = printed["result"]
    (image,) = found["images"]
    rows = json.loads((tmp_path / "out" / "detections.json").read_text(encoding="utf-8"))
    keys = ("category_id", "bbox", "score")
    assert rows and [[row[k] for k in keys] for row in rows] == [
        [row[k] for k in keys] for row in image["detections"]
    ]
    assert image["file"] == str(images[0]) and Path(image["drawn"]).is_file()
    assert found["skipped"] == 1 and "skipped" in text
    facts = result("info", run_folder)[0]["result"]
    names = {row["category_id"]: row["class"] for row in image["detections"]}
    assert names.items() <= {int(k): name for k, name in facts["classes"].items()}.items()


@pytest.mark.long
def test_evaluate_prints_what_its_file_holds(result, capfd, run_folder, tmp_path):
    file = tmp_path / "evaluation.json"
    words = ["evaluate", "--model", run_folder, "--limit", "3"]
    assert command(*words, FLAG, file) == 0
    written = json.loads(file.read_text(encoding="utf-8"))
    capfd.readouterr()
    printed, text = result(*words)
    found = printed["result"]
    assert "AP" in text and found["images"] == 3 and found["unreadable"] == []
    assert set(written) == {*found["metrics"], "title", "facts"}
    assert all(plain(written[name]) == value for name, value in found["metrics"].items())


@pytest.mark.long
def test_data_commands_print_their_splits(result, tmp_path):
    out = tmp_path / "yolo"
    found = result("dataset", "convert", BCCD, out, "--to", "yolo")[0]["result"]
    assert found["folder"] == str(out) and sum(split["boxes"] for split in found["splits"]) > 0
    page = tmp_path / "doctor.html"
    found = result("dataset", "doctor", "--data_dir", BCCD, "--out", page, "--quick")[0]["result"]
    assert Path(found["page"]).is_file() and found["splits"][0]["boxes"]
    assert {"severity", "title"} <= set(found["findings"][0])
