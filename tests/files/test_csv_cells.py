"""Cells that a spreadsheet would run are text, and are read back as what they were."""

import csv

import numpy as np
import pytest
from faults.small_sets import SETS, config_of
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_retinanet.data.loading import load_dataset
from keras_retinanet.data.writers import write_dataset
from keras_retinanet.evaluation.results import write_csv
from keras_retinanet.evaluation.summary import write_summary_csv
from keras_retinanet.files.csv_cells import quoted, unquoted
from keras_retinanet.modeling.detections import Detections

FORMULAS = ["=1+1", "+1", "-ve", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1"]


@pytest.mark.parametrize("text", [*FORMULAS, "'=1", "''-a"])
def test_formulas_stand_behind_an_apostrophe(text):
    assert quoted(text) == "'" + text
    assert unquoted(quoted(text)) == text


@pytest.mark.parametrize("text", ["", "a", "a=1", "it's", "'a'", " =1", "1-2", "\u732b"])
def test_other_text_stays(text):
    assert quoted(text) == unquoted(text) == text


@settings(deadline=None)
@given(st.text(st.sampled_from("'=+-@a\t\n\u732b"), max_size=6))
def test_unquoted_undoes_quoted(text):
    assert unquoted(quoted(text)) == text
    assert quoted(text)[:1] not in set("=+-@\t\r\n")


def test_a_name_that_utf8_cannot_hold_is_written_as_escapes(tmp_path):
    found = Detections(np.ones((1, 4)), np.ones(1), np.zeros(1, int), ["=dog"])
    write_csv([("=a.png", found), ("\udcff.png", found)], tmp_path / "a.csv")
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    assert [row[0] for row in rows] == ["'=a.png", "\\udcff.png"]
    assert {row[5] for row in rows} == {"'=dog"}


def test_figures_keep_their_signs(tmp_path):
    names = ("boxes", "pictures", "detections")
    summary = dict.fromkeys(names, 1) | {key: {} for key in ("coco", "voc", "best_threshold")}
    summary["coco"], summary["classes"] = {"AP": -1.0}, [{"class": "-ve", "AP": -1.0}]
    write_summary_csv(summary, tmp_path / "a.csv")
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["class"], row["AP"]) for row in rows] == [("", "-1.0"), ("'-ve", "-1.0")]


def test_a_converted_data_set_has_the_same_class_names(tmp_path):
    SETS["yolo"](tmp_path / "yolo")
    names = ["=cmd|' /C calc'!A0", "-ve"]
    yaml = f"path: .\ntrain: images/train\nnames:\n  0: {names[0]!r}\n  1: '{names[1]}'\n"
    yaml = yaml.replace(repr(names[0]), '"' + names[0] + '"')
    (tmp_path / "yolo/data.yaml").write_text(yaml)
    dataset = load_dataset(config_of("yolo", tmp_path / "yolo"), "train")
    assert dataset.class_names == names
    lost = write_dataset({"train": dataset}, tmp_path / "csv", "csv")
    assert any("apostrophe" in sentence for sentence in lost)
    text = (tmp_path / "csv/classes.csv").read_text() + (tmp_path / "csv/train.csv").read_text()
    cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
    assert not [cell for cell in cells if cell[:1] in "=+-@" and cell]
    back = load_dataset(config_of("csv", tmp_path / "csv"), "train")
    assert back.class_names == names
    assert [record.classes.tolist() for record in back.records] == [
        record.classes.tolist() for record in dataset.records
    ]
