"""Values that no file should be given: halves of UTF-16, areas that are no number."""

import json
import math
import os
import subprocess
import sys

import pytest
import tensorflow as tf
from faults.small_sets import SETS, config_of, example, write_shard

from keras_retinanet import cli
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import ImageRef, make_record

CONVERT = [sys.executable, "-m", "keras_retinanet", "dataset", "convert"]
UNSOUND = [math.nan, math.inf, -math.inf, -1.0, 1e39]


def convert(source, folder, out, form="coco"):
    words = [*CONVERT, str(folder), str(out), "--to", form]
    return subprocess.run(words, capture_output=True, text=True)


@pytest.mark.parametrize("area", UNSOUND)
def test_the_boxs_area_counts_where_its_own_is_none(area):
    problems = Problems()
    objects = [((10, 20, 40, 50), 0, False, area), ((10, 20, 40, 50), 0, False, 7.5)]
    record = make_record(
        1, ImageRef("a.png"), (60, 100), file_name="a.png", objects=objects, problems=problems
    )
    assert record.areas.tolist() == [900, 7.5]
    assert problems == {"area not sound": [f"a.png: area {area}"]}


@pytest.mark.long
def test_areas_of_a_shard_become_json(tmp_path):
    SETS["tfrecord"](tmp_path / "set")
    made = tf.train.Example.FromString(example("a.png"))
    made.features.feature["image/object/area"].float_list.value.extend([math.nan, math.inf])
    write_shard(tmp_path / "set/train.tfrecord", [made.SerializeToString()])
    done = convert("tfrecord", tmp_path / "set", tmp_path / "coco")
    assert done.returncode == 0, done.stderr
    assert "area not sound, the box's own counts: 2" in done.stdout

    def refuse(word):
        raise AssertionError(word)

    (file,) = (tmp_path / "coco").rglob("*.json")
    content = json.loads(file.read_text(), parse_constant=refuse)
    assert all(row["area"] > 0 for row in content["annotations"])


@pytest.mark.long
@pytest.mark.parametrize("names", [r'{0: "\ud800"}', r'["cat", "a\udfff"]'])
def test_yolo_names_are_text(names, tmp_path):
    SETS["yolo"](tmp_path)
    (tmp_path / "data.yaml").write_text(f'path: ""\ntrain: images/train\nnames: {names}\n')
    done = convert("yolo", tmp_path, tmp_path / "coco")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert "error: Expected" in line and r"\ud" in line


def test_file_names_that_are_not_utf8_are_shown_as_escapes(tmp_path):
    SETS["yolo"](tmp_path / "set")
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        folder = tmp_path / "set" / kind / "train"
        os.rename(folder / f"a.{suffix}", os.fsencode(folder) + b"/\xff." + suffix.encode())
    dataset = load_dataset(config_of("yolo", tmp_path / "set"), "train")
    (index,) = (i for i, record in enumerate(dataset.records) if "udcff" in record.file_name)
    assert dataset.records[index].file_name == r"images/train/\udcff.png"
    assert len(dataset.records[index].boxes) == 2 and dataset.read_bytes(index)
    words = ["dataset", "doctor", "--data_dir", tmp_path / "set", "--out", tmp_path / "a.html"]
    assert cli.run(cli.build_parser().parse_args([str(word) for word in words])) == 0
    assert "udcff.png" in (tmp_path / "a.html").read_text(encoding="utf-8")
