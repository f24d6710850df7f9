"""`evaluate` as a user calls it: files, a part of the pictures, several processes, after a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_retinanet import cli
from keras_retinanet.config.files import load_config, save_config
from keras_retinanet.evaluation.metrics import coco_figures

PICTURES = 9
OVERRIDES = {
    "model.fpn.channels": 16,
    "model.head.channels": 16,
    "model.head.depth": 1,
    "model.head.prior": 0.3,
    "model.detections.max_detections": 20,
    "model.preprocessing.short_side": 64,
    "model.preprocessing.long_side": 64,
    "data.shapes_train": 4,
    "data.shapes_val": PICTURES,
    "data.shapes_size": 96,
    "evaluate.batch_size": 2,
}


def command(*words: str) -> int:
    """Run a command in this process, which has TensorFlow already; returns the exit code."""
    return cli.run(cli.build_parser().parse_args([str(word) for word in words]))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    from keras_retinanet.data.loading import load_dataset
    from keras_retinanet.modeling.retinanet import RetinaNet
    from keras_retinanet.modeling.saving import save_model

    folder = tmp_path_factory.mktemp("run")
    config = load_config("shapes", OVERRIDES)
    names = load_dataset(config.data, "val").class_names
    save_model(RetinaNet(config.model, names), folder / "best.keras")
    save_config(config, folder / "config.yaml")
    return folder


@pytest.fixture(scope="module")
def whole(run_folder, tmp_path_factory):
    """What an evaluation in one go gives: COCO results and figures."""
    folder = tmp_path_factory.mktemp("whole")
    words = ["--out", folder / "found.json", "--json", folder / "evaluation.json"]
    assert command("evaluate", "--model", run_folder, *words) == 0
    return results(folder / "found.json"), json.loads((folder / "evaluation.json").read_text())


def results(file: Path) -> list[dict]:
    return json.loads(file.read_text())


def same(rows: list[dict], others: list[dict]) -> bool:
    """Whether two results files hold the same; batches of other pictures may round otherwise."""
    keys = [[(row["image_id"], row["category_id"]) for row in each] for each in (rows, others)]
    numbers = [[[*row["bbox"], row["score"]] for row in each] for each in (rows, others)]
    return keys[0] == keys[1] and np.allclose(*numbers, rtol=1e-5, atol=1e-4)


@pytest.mark.long
def test_files_of_all_kinds(run_folder, whole, tmp_path, capsys):
    page, table = tmp_path / "report.html", tmp_path / "classes.csv"
    words = ["--engine", "pycocotools", "--csv", table, "--report", page]
    assert command("evaluate", "--model", run_folder, *words) == 0
    printed = capsys.readouterr().out
    assert f"{PICTURES} images" in printed.splitlines()[0]
    assert sum("@[ IoU=" in line for line in printed.splitlines()) == 12
    found, figures = whole
    assert len(found) == figures["detections"] > 50
    assert {row["image_id"] for row in found} == set(range(PICTURES))
    assert figures["title"].endswith("best.keras")
    assert set(figures["errors"]["kinds"]) >= {"Cls", "Loc", "Bkg", "Miss"}
    with open(table, encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[0]["AP50"]) == pytest.approx(figures["coco"]["AP50"], abs=1e-12)
    assert [row["class"] for row in rows[1:]] == [row["class"] for row in figures["classes"]]
    assert page.read_text(encoding="utf-8").count("<html") == 1
    # What was kept for the case of a kill is gone.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.csv", "report.html"]


@pytest.mark.long
def test_the_first_pictures_alone(run_folder, whole, tmp_path, capsys):
    out, journal = tmp_path / "found.json", tmp_path / "found.json.partial.jsonl"
    # Nothing is taken over of other pictures, options or models.
    journal.write_text('{"format": 1, "key": "another"}\n{"picture":0}\n', encoding="utf-8")
    assert command("evaluate", "--model", run_folder, "--limit", 3, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "the first 3 images" in printed.splitlines()[0]
    assert "Starting again" in printed
    assert same(results(out), [row for row in whole[0] if row["image_id"] < 3])
    assert not journal.exists()


SCRIPT = Path(__file__).parents[1] / "support" / "killed_evaluation.py"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def started(how: str, *words) -> subprocess.Popen:
    """An evaluation in a process of its own, which stops after 4 of its pictures."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), how, "evaluate", *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def until_stopped(process: subprocess.Popen) -> str:
    """What it printed before."""
    lines = list(iter(process.stdout.readline, "stopped\n"))
    return "".join(lines)


@pytest.fixture
def killed(run_folder, tmp_path):
    """The words of an evaluation that was killed after 4 of its pictures."""
    words = ["--model", run_folder, "--out", tmp_path / "found.json"]
    words += ["--json", tmp_path / "evaluation.json"]
    process = started("kill", *words)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == -9, errors
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        ".found.json.partial.jsonl.lock",  # of a dead process: it locks nothing
        "found.json.partial.jsonl",
    ]
    return ["evaluate", *words]


@pytest.mark.long
def test_a_killed_evaluation_goes_on(killed, whole, tmp_path, capsys):
    journal = tmp_path / "found.json.partial.jsonl"
    with open(journal, "a", encoding="utf-8") as stream:
        stream.write('{"picture":8,"boxes":[[1')  # a line that a kill cut off
    assert command(*killed) == 0
    assert f"Resuming after 4 of {PICTURES} images" in capsys.readouterr().out
    found, figures = whole
    assert same(results(tmp_path / "found.json"), found)
    again = json.loads((tmp_path / "evaluation.json").read_text())
    assert again["coco"] == pytest.approx(figures["coco"], abs=1e-6)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["evaluation.json", "found.json"]


def figure_lines(text: str) -> list[str]:
    """The lines of figures, without what depends on the clock."""
    return [line for line in text.splitlines() if "@[" in line or "detections" in line]


@pytest.mark.long
def test_two_at_once_of_one_run_have_their_own_figures(run_folder, whole, capsys):
    """Neither takes or deletes what the other has found; the first one is still under way."""
    first = started("wait", "--model", run_folder)
    until_stopped(first)
    printed = {}
    for split in ("train", "val"):
        assert command("evaluate", "--model", run_folder, "--split", split) == 0
        printed[split] = capsys.readouterr().out
        assert "Another evaluation is under way" in printed[split]
    text, errors = first.communicate("\n", timeout=300)
    assert first.returncode == 0, errors
    assert figure_lines(text) == figure_lines(printed["val"]) != figure_lines(printed["train"])
    assert f"{len(whole[0]):,} detections" in text
    assert sorted(file.name for file in run_folder.iterdir()) == ["best.keras", "config.yaml"]


@pytest.mark.long
def test_two_at_once_into_one_file_are_refused_and_a_signal_keeps_what_is_found(
    run_folder, whole, tmp_path, capsys
):
    words = ["--model", run_folder, "--out", tmp_path / "found.json"]
    first = started("wait", *words)
    until_stopped(first)
    assert command("evaluate", *words) == 2
    message = capsys.readouterr().err
    assert f"Received: {tmp_path / 'found.json'}, which process {first.pid} on " in message
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=300)
    assert first.returncode == 143
    assert [file.name for file in tmp_path.iterdir()] == ["found.json.partial.jsonl"]
    assert command("evaluate", *words) == 0
    assert f"Resuming after 4 of {PICTURES} images" in capsys.readouterr().out
    assert same(results(tmp_path / "found.json"), whole[0])


@pytest.mark.long
def test_no_figures_where_no_image_can_be_read(run_folder, tmp_path, capsys):
    """As when the folder vanishes: that is no AP of 0."""
    (tmp_path / "images").mkdir()
    rows = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": 9, "width": 9} for n in (1, 2)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}],
        "categories": [{"id": 1, "name": "circle"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(rows))
    for image in ("1.jpg", "2.jpg"):
        (tmp_path / "images" / image).write_bytes(b"no image")
    words = ["coco", "--annotations", tmp_path / "a.json", "--images", tmp_path / "images"]
    assert command("evaluate", *words, "--model", run_folder / "best.keras") == 2
    output = capsys.readouterr()
    assert "Expected images that can be read. Received: 1.jpg" in output.err
    assert "AP" not in output.out


@pytest.mark.slow
def test_workers_give_what_one_process_gives(run_folder, whole, tmp_path):
    out = tmp_path / "found.json"
    words = ["--workers", 2, "--out", out, "--json", tmp_path / "evaluation.json"]
    assert command("evaluate", "--model", run_folder, *words) == 0
    found, figures = whole
    assert same(results(out), found)
    again = json.loads((tmp_path / "evaluation.json").read_text())
    assert again["coco"] == pytest.approx(figures["coco"], abs=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluation.json", "found.json"]


@pytest.mark.long
def test_flipped_pictures_are_seen_too(run_folder, whole, tmp_path):
    out = tmp_path / "found.json"
    words = ["--limit", 2, "--tta", "--scales", "1", "--out", out]
    assert command("evaluate", "--model", run_folder, *words) == 0
    once = [row["score"] for row in whole[0] if row["image_id"] < 2]
    assert results(out)
    assert [row["score"] for row in results(out)] != pytest.approx(once, abs=1e-4)
    assert command("evaluate", "--model", run_folder, "--overlap", ".3") == 2


@pytest.mark.parametrize("words", [["--limit", "0"], ["--workers", "x"], ["--engine", "none"]])
def test_refused_words(words, capsys):
    with pytest.raises(SystemExit) as error:
        command("evaluate", "shapes", *words)
    assert error.value.code == 2
    assert words[0] in capsys.readouterr().err


@pytest.fixture
def coco_files(tmp_path) -> tuple[Path, Path]:
    """A COCO file of one box, and a results file that has it."""
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 90, "width": 90}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [5, 5, 40, 30]}],
    }
    row = {"image_id": 1, "category_id": 3, "bbox": [5, 5, 40, 30], "score": 0.5}
    paths = tmp_path / "truth.json", tmp_path / "results.json"
    for path, value in zip(paths, (content, [row]), strict=True):
        path.write_text(json.dumps(value))
    return paths


@pytest.mark.parametrize("more", [[], ["--json", "evaluation.json"]], ids=["printed", "written"])
@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_a_results_file_is_scored_by_the_engine_that_is_named(
    engine, more, coco_files, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    tables, used = coco_figures.reference_tables, []
    for name, function in (("hotcoco", "fast_tables"), ("pycocotools", "reference_tables")):
        monkeypatch.setattr(
            coco_figures,
            function,
            lambda *sets, name=name, **more: used.append(name) or tables(*sets, **more),
        )
    monkeypatch.setattr(coco_figures, "is_installed", lambda: True)
    truth, found = coco_files
    words = ["evaluate", "--annotations", truth, "--detections", found, "--engine", engine]
    assert command(*words, *more) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("maxDets=100 ] = 1.000")
    assert set(used) == {engine}


def test_an_engine_that_is_not_installed_scores_no_results_file(coco_files, monkeypatch, capsys):
    monkeypatch.setattr(coco_figures, "is_installed", lambda: False)
    words = ["--annotations", coco_files[0], "--detections", coco_files[1], "--engine", "hotcoco"]
    assert command("evaluate", *words) == 2
    output = capsys.readouterr()
    assert "Expected hotcoco to be installed" in output.err and output.out == ""


def test_figures_of_a_results_file(coco_sample, tmp_path):
    words = [
        "--annotations", coco_sample / "instances_val2014_100.json",
        "--detections", coco_sample / "instances_val2014_fakebbox100_results.json",
        "--json", tmp_path / "evaluation.json", "--csv", tmp_path / "classes.csv",
    ]  # fmt: skip
    assert command("evaluate", *words) == 0
    figures = json.loads((tmp_path / "evaluation.json").read_text())
    assert figures["coco"]["AP"] == pytest.approx(0.505, abs=5e-4)
    assert len((tmp_path / "classes.csv").read_text().splitlines()) == 1 + 1 + 80
