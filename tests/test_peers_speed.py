"""The driver of the comparison of speed, with peers that only note their turns."""

import importlib
import itertools
import json
from pathlib import Path

import drivers
import numpy as np
import pytest
from drivers import ROOT

PEER = """
import sys
from turns import arguments, serve

args = arguments("noted", ["a", "b"]).parse_args()

def step():
    with open(args.files.parent / "turns.txt", "a") as stream:
        stream.write(args.job)

serve(step, version=f"peer {args.job}", detections=3)
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    with drivers.driver("peers_speed") as (module,):
        set_toys(module, tmp_path, monkeypatch)
        yield module


def set_toys(driver, tmp_path, monkeypatch):
    (tmp_path / "peer.py").write_text(PEER)
    rows = [driver.Row("**ours**", "ours", "a"), driver.Row("theirs", "theirs", "b")]
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "benchmarks" / "peers"))
    monkeypatch.setattr(driver, "SCRIPTS", tmp_path)
    monkeypatch.setattr(driver, "SETTLE", 0)
    sources = {"ours": ("peer.py", None), "theirs": ("peer.py", None)}
    monkeypatch.setattr(driver, "SOURCES", sources)
    monkeypatch.setattr(driver, "TABLES", {"small": ("A table", rows, 64, 1)})
    (tmp_path / "files-64").mkdir()
    (tmp_path / "files-64" / "torchvision.onnx").touch()


def run(driver, out: Path) -> list[dict]:
    names = ["--peers", "ours", "theirs", "--tables", "small"]
    # The choices of the arguments are those of the module.
    driver.main(["--out", str(out), "--repeat", "2", *names])
    return json.loads((out / "speed.json").read_text())["small"]


def test_peers_take_turns_and_each_warms_up(driver, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "processor_seconds", lambda: (0.0, 0.0))  # an idle machine
    rows = run(driver, tmp_path)
    assert (tmp_path / "turns.txt").read_text() == "aabbaabb"
    assert [row["version"] for row in rows] == ["peer a", "peer b"]
    assert all(len(row["seconds"]) == 2 and row["disturbed"] == 0 for row in rows)
    assert all(0 < row["peak_mib"] < 4096 for row in rows)
    text = (tmp_path / "speed.md").read_text()
    assert "### A table" in text and "2 rounds" in text and "peer a; peer b" in text


def test_a_disturbed_step_is_taken_again_and_counted(driver, tmp_path, monkeypatch):
    clock = itertools.count(step=1000.0)  # others are busy all the time
    monkeypatch.setattr(driver, "processor_seconds", lambda: (next(clock), 0.0))
    rows = run(driver, tmp_path)
    assert [row["disturbed"] for row in rows] == [2, 2]
    assert (tmp_path / "turns.txt").read_text() == ("a" * 6 + "b" * 6) * 2
    assert "(2 disturbed)" in (tmp_path / "speed.md").read_text()


def test_a_table_has_medians_and_their_ratio_to_the_first_row(driver, tmp_path):
    seconds = {"version": "1", "disturbed": 0, "peak_mib": 512.0}
    rows = [
        seconds | {"label": "**ours**", "seconds": [0.1, 0.2, 0.4]},
        seconds | {"label": "theirs", "seconds": [0.5, 0.6, 0.3]},
    ]
    args = type("Args", (), {"size": None})
    text = driver.table("small", rows, args)
    assert "| **ours** | 200 | 100 to 400 | 1.00 | 0.5 |" in text
    assert "| theirs | 500 | 300 to 600 | 2.50 | 0.5 |" in text


def test_scaled_logits_pass_the_threshold_as_often_as_asked(driver):
    turns = importlib.import_module("turns")
    logits = np.random.default_rng(0).normal(0, 40, (1, 300, 7))
    for candidates in (0, 20, 1500):
        scale, bias = turns.scale_and_bias(logits, candidates)
        scores = 1 / (1 + np.exp(-(logits * scale + bias)))
        assert np.sum(scores > turns.THRESHOLD * (1 + 1e-9)) == candidates
    assert np.std(logits * scale) == pytest.approx(1)
