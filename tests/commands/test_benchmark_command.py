"""`keras_retinanet benchmark`: what each kind prints and writes, at toy size."""

import json
from pathlib import Path

import pytest
from in_process import command as run_command

from keras_retinanet.speed import timing

SMALL = "model.fpn.channels=16 model.head.channels=16 model.head.depth=1".split()
NETWORK = ["--backbone", "resnet18", "--image_size", "64,96"]
for _setting in SMALL:
    NETWORK += ["--set", _setting]


@pytest.fixture
def tables(tmp_path, monkeypatch, capsys):
    """Runs the command with one short repeat; returns its tables from JSON, by their first word."""
    monkeypatch.setattr(timing, "SHORTEST", 0.0)
    monkeypatch.setattr(timing, "processor_seconds", lambda: (0.0, 0.0))

    def run(*words: str | Path) -> dict[str, list[dict]]:
        file = tmp_path / "figures.json"
        assert run_command("benchmark", *words, "--repeat", "1", "--json", file) == 0
        content = json.loads(file.read_text())
        printed = capsys.readouterr().out
        assert content["machine"]["keras"] in printed
        assert list(content) == ["what", "machine", "tables"]
        for table in content["tables"]:
            assert f"\n{table['title']}\n" in printed
        return {table["title"].split(":")[0]: table["rows"] for table in content["tables"]}

    return run


@pytest.mark.slow
def test_inference_is_told_by_step_stage_and_whole(tables):
    found = tables(*NETWORK, "--batch_size", "2")
    assert list(found) == ["Floor", "Inference", "Post-processing", "Memory"]
    rows = {row["part"]: row for row in found["Inference"]}
    steps = ["decode", "resize and pad", "copy in", "network", "post-processing", "copy out"]
    assert [name for name in rows if name in steps] == steps
    assert {"  backbone, stem", "  FPN", "  box head", "SavedModel", "model.detect"} <= set(rows)
    shares = [rows[name]["of total"] for name in steps]
    assert sum(shares) == pytest.approx(1) and rows["all steps"]["of total"] == 1
    assert rows["network"]["of floor"] > 0 and rows["decode"]["of floor"] is None
    alone, detect = (row["peak MiB"] for row in found["Memory"])
    assert 100 < alone < detect


@pytest.mark.slow
def test_a_training_step_is_told_by_part(tables):
    found = tables("--what", "train", *NETWORK)
    rows = {row["part"]: row for row in found["Training"]}
    assert list(rows) == [
        *("input", "forward", "labeling", "loss", "backward", "optimizer", "train step"),
        *("fit, per step", "fit with input, per step"),
    ]
    assert rows["train step"]["of total"] == 1
    assert rows["train step"]["of floor"] > 0


@pytest.mark.long
def test_data_are_compared_with_a_bare_decode(tables, bccd):
    words = ["--what", "data", "--data_dir", bccd, "--image_size", "64", "--limit", "8"]
    rows = tables(*words, "--batch_size", "4")["Data"]
    assert rows[0]["of bare"] == 1
    assert len(rows) == 4 and all(row["images/s"] > 0 for row in rows)


def test_the_scoring_of_a_drawn_file_is_told_by_part(tables):
    found = tables("--what", "evaluate", "--limit", "5")
    assert [row["part"] for row in found["Evaluation"]][-1] == "all of it"


@pytest.mark.slow
def test_starts_are_told_by_step(tables):
    rows = {row["part"]: row for row in tables("--what", "start", *NETWORK)["Start"]}
    assert rows["import tensorflow"]["first"] is None
    for name in (".keras", "SavedModel", "TFLite", "TFLite by LiteRT alone"):
        assert sum(rows[name][step] for step in ("import", "load", "first")) < rows[name]["ms"]


@pytest.mark.conversion
def test_formats_are_scored_timed_and_weighed(tables, bccd):
    words = ["--what", "formats", "--data_dir", bccd, "--limit", "2", *NETWORK]
    rows = tables(*words, "--only", "TFLite dynamic", "--only", "SavedModel bfloat16")["Formats"]
    assert [row["form"] for row in rows] == [".keras", "TFLite dynamic", "SavedModel bfloat16"]
    sizes = [row["MB"] for row in rows]
    assert sizes[1] < sizes[2] < sizes[0]
    assert rows[0]["difference"] == "+0.00"


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--what data", "Expected a data set for --what data. Received: none."),
        ("--what formats", "Expected a data set for --what formats."),
        ("--model a.keras --backbone resnet18", "Received: --model with --backbone."),
        ("--json taken.json", "Expected a new file"),
        ("--what train --model a.tflite", "an exported file."),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    Path("taken.json").write_text("[1]")
    Path("a.tflite").touch()
    assert run_command("benchmark", *words.split()) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
