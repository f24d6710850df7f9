"""Evaluations read back from files and compared on one page, by the command."""

import json
import re
from dataclasses import replace

import pytest
from error_cases import as_tables, made_case

from keras_retinanet import cli
from keras_retinanet.evaluation.metrics.coco_figures import FIGURES
from keras_retinanet.evaluation.report import report_page

MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def analysis():
    return report_page.analyse(*as_tables(made_case()), engine="pycocotools")


def run(*words) -> int:
    return cli.run(cli.build_parser().parse_args(["report", *map(str, words)]))


def rows_of(text, name) -> list[str]:
    return re.findall(rf'data-figure="{name}".*?</tr>', text, re.S)


def test_runs_side_by_side(analysis, tmp_path, capsys):
    pictures, found = analysis.pictures, analysis.found
    worse = replace(found, boxes=found.boxes + 12, stated_xywh=None)
    other = report_page.analyse(pictures, worse)
    for name, each in (("one", analysis), ("two", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(json.dumps(each.to_plain()))
    assert run(tmp_path / "one", tmp_path / "two", "--out", tmp_path / "c.html") == 0
    first, second = (each.summary["coco"]["AP"] for each in (analysis, other))
    assert f"AP {first:.3f}  one\nAP {second:.3f}  two\n" in capsys.readouterr().out
    text = (tmp_path / "c.html").read_text(encoding="utf-8")
    (row,) = rows_of(text, "AP")
    assert f"<b>{first:.3f}</b>" in row and f"{MINUS}{first - second:.3f}" in row and "down" in row
    (row,) = rows_of(text, "calibration error")
    gain = other.summary["calibration"]["error"] - analysis.summary["calibration"]["error"]
    assert f"{gain:+.3f}".replace("-", MINUS) in row and ("down" if gain > 0 else "up") in row
    costs = re.findall(r'<tr data-kind="Loc">.*?</tr>', text, re.S)[0]
    assert re.findall(r'data-cost="([^"]*)"', costs) == [
        f"{each.errors.costs['Loc']:.6f}" for each in (analysis, other)
    ]
    assert len(re.findall(r"<tr data-name=", text)) == 8 + sum(
        row.truths > 0 for row in other.sizes
    )
    assert text.count("<svg") == 3 and "cannot be compared" not in text


def test_results_files_are_scored_against_annotations(real_coco, tmp_path, capsys):
    annotations = real_coco / "annotations/instances_val2017.json"
    content = json.loads(annotations.read_text(encoding="utf-8"))
    rows = [
        {"image_id": row["image_id"], "category_id": row["category_id"], "bbox": row["bbox"],
         "score": 0.9} for row in content["annotations"] if not row["iscrowd"]
    ]  # fmt: skip
    (tmp_path / "all.json").write_text(json.dumps(rows))
    (tmp_path / "half.json").write_text(json.dumps(rows[::2]))
    words = [tmp_path / "all.json", tmp_path / "half.json", "--out", tmp_path / "c.html"]
    assert run(*words) == 2
    assert "Expected --annotations" in capsys.readouterr().err
    assert not (tmp_path / "c.html").exists()
    assert run(*words, "--annotations", annotations) == 0
    assert "AP 1.000  all" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("not json", "must be a JSON file"),
        ('"text"', "the file: Input should be a valid dictionary"),
        ({"coco": {}}, "without AP, AP50"),
        ({"coco": {name: float("nan") for name in FIGURES}}, "finite"),
        ({"curves": {"0.50": [0.5]}}, "curves of 101 points"),
        ({"classes": [{"class": "a"}]}, "classes.0.boxes"),
        ({"pictures": None}, "pictures: "),
    ],
)
def test_files_that_are_no_evaluation(analysis, tmp_path, capsys, change, message):
    good = analysis.to_plain()
    (tmp_path / "good.json").write_text(json.dumps(good))
    text = change if isinstance(change, str) else json.dumps(good | change)
    (tmp_path / "bad.json").write_text(text)
    out = tmp_path / "c.html"
    assert run(tmp_path / "good.json", tmp_path / "bad.json", "--out", out) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not out.exists()


def test_other_pictures_cannot_be_compared(analysis, tmp_path, capsys):
    plain = analysis.to_plain()
    (tmp_path / "a.json").write_text(json.dumps(plain))
    (tmp_path / "b.json").write_text(json.dumps(plain | {"pictures": 41, "errors": None}))
    assert run(tmp_path / "a.json", tmp_path / "b.json", "--out", tmp_path / "c.html") == 0
    assert "cannot be compared" in (tmp_path / "c.html").read_text(encoding="utf-8")
    assert run(tmp_path / "a.json", "--out", tmp_path / "d.html") == 2
    assert "two to 8 evaluations" in capsys.readouterr().err
    assert run(tmp_path, tmp_path / "a.json") == 2
    assert "a folder with evaluation.json" in capsys.readouterr().err
