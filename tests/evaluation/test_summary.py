"""All figures in one dict: equal to those of each metric, and as table, JSON and CSV."""

import csv
import json

import pytest
from error_cases import as_tables, columns, made_case

from keras_retinanet.evaluation.metrics.best_thresholds import best_thresholds
from keras_retinanet.evaluation.metrics.calibration import calibration
from keras_retinanet.evaluation.metrics.coco_figures import FIGURES, coco_evaluation, figures
from keras_retinanet.evaluation.metrics.matching import match_detections
from keras_retinanet.evaluation.metrics.openimages_metric import open_images_evaluation
from keras_retinanet.evaluation.metrics.voc_metric import voc_evaluation
from keras_retinanet.evaluation.summary import (
    CLASS_COLUMNS,
    format_rows,
    format_summary,
    summarise,
    write_summary_csv,
    write_summary_json,
)


@pytest.fixture(scope="module")
def tables():
    return as_tables(made_case())


@pytest.fixture(scope="module")
def summary(tables):
    return summarise(*tables, engine="pycocotools", open_images=True)


def test_figures_are_those_of_each_metric(tables, summary):
    pictures, found = tables
    coco, matches = coco_evaluation(*tables, engine="pycocotools"), match_detections(*tables)
    assert summary["coco"] == figures(coco)
    assert summary["voc"] == voc_evaluation(*tables).means
    assert summary["open_images"] == {"OpenImages_AP": open_images_evaluation(*tables).mean}
    assert summary["calibration"]["error"] == calibration(found, matches).error
    *thresholds, overall = best_thresholds(pictures, found, matches)
    assert summary["best_threshold"] == overall
    for row, threshold in zip(summary["classes"], thresholds, strict=True):
        assert threshold.items() <= row.items()
    assert (summary["pictures"], summary["detections"]) == (40, len(found.scores))
    assert summary["boxes"] == (~pictures.truths.ignore).sum() == matches.boxes.sum()
    assert summary["ignored"] == pictures.truths.ignore.sum()
    assert sum(row["detections"] for row in summary["classes"]) == summary["detections"]


def test_open_images_is_asked_for(tables):
    plain = summarise(*tables)
    assert "open_images" not in plain
    assert "OpenImages_AP" not in plain["classes"][0]
    assert "Open Images" not in format_summary(plain)


def test_table_for_people(summary):
    text = format_summary(summary)
    assert f"maxDets=100 ] = {summary['coco']['AP']:0.3f}\n" in text
    assert f"AP {summary['voc']['VOC_AP']:.3f} by area" in text
    assert f"Calibration error of the scores: {summary['calibration']['error']:.3f}" in text
    header, *rows = text.splitlines()[-9:]
    assert header.split() == ["class", *CLASS_COLUMNS]
    for line, row in zip(rows, summary["classes"], strict=True):
        assert line.startswith(row["class"])
        assert line.split()[-1] == ("-" if row["F1"] < 0 else f"{row['F1']:.3f}")
    assert len({len(line) for line in (header, *rows)}) == 1


def test_rows_align():
    rows = [{"class": "a", "boxes": 12345, "AP": 0.5}, {"class": "long", "boxes": 1, "AP": -1.0}]
    assert format_rows(rows) == ("class   boxes     AP\na      12,345  0.500\nlong        1      -")
    assert format_rows([], ["class", "AP"]) == "class  AP"
    assert format_rows([]) == ""


def test_json_gives_all_back(summary, tmp_path):
    write_summary_json(summary, tmp_path / "new" / "figures.json")
    text = (tmp_path / "new" / "figures.json").read_text()
    assert json.loads(text) == summary
    assert "NaN" not in text


def test_csv_has_all_classes_first(summary, tmp_path):
    write_summary_csv(summary, tmp_path / "figures.csv")
    with open(tmp_path / "figures.csv", newline="", encoding="utf-8") as file:
        overall, *rows = csv.DictReader(file)
    assert overall["class"] == "all classes"
    for name in FIGURES:
        assert float(overall[name]) == summary["coco"][name]
    assert float(overall["VOC07_AP"]) == summary["voc"]["VOC07_AP"]
    assert float(overall["threshold"]) == summary["best_threshold"]["threshold"]
    assert int(overall["boxes"]) == summary["boxes"]
    for row, expected in zip(rows, summary["classes"], strict=True):
        assert row == {name: str(value) for name, value in expected.items()}


def test_nothing_at_all(tmp_path):
    empty = summarise(*as_tables(columns([], [], pictures=1, classes=1)), open_images=True)
    assert set(empty["coco"].values()) == {-1}
    assert empty["calibration"]["error"] == -1
    assert "Best F1 with one threshold: - at score -" in format_summary(empty)
    write_summary_json(empty, tmp_path / "a.json")
    write_summary_csv(empty, tmp_path / "a.csv")
    assert json.loads((tmp_path / "a.json").read_text()) == empty


def test_class_names_with_commas_stay_whole(tables, tmp_path):
    pictures, found = as_tables(columns([], [], pictures=1, classes=1))
    pictures.class_names[0] = 'cat, "black"'
    write_summary_csv(summarise(pictures, found), tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file))[1]["class"] == 'cat, "black"'
