"""What stands around an export: facts, thresholds, the comparison, and the place it is put."""

import json

import numpy as np
import pytest

from keras_retinanet.config import DetectionConfig
from keras_retinanet.config.files import load_config
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.checks import TOLERANCES, compare
from keras_retinanet.exporting.facts import (
    default_image_size,
    facts_json,
    labels_text,
    model_facts,
    read_facts,
)
from keras_retinanet.exporting.staging import staged
from keras_retinanet.exporting.thresholds import with_detections
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.preprocessing import Preprocessing
from keras_retinanet.modeling.retinanet import RetinaNet


@pytest.fixture(scope="module")
def model() -> RetinaNet:
    sides = {"short_side": 64, "long_side": 64, "canvas": "square"}
    overrides = {
        "model.fpn.channels": 8,
        "model.head.channels": 8,
        "model.head.prior": 0.4,
        **{f"model.preprocessing.{name}": value for name, value in sides.items()},
    }
    config = load_config("shapes", overrides).model
    return RetinaNet(config, ["cat", "dog"], class_ids=[17, 3], metadata={"license": "none"})


def test_facts_come_back_and_newer_or_wrong_ones_are_refused(model):
    facts = model_facts(model, kind="onnx", outputs={"boxes": "xyxy"}, image_size=(8, 16))
    assert read_facts(facts_json(facts), "x") == facts
    assert facts["input"]["image_size"] == [8, 16]
    with pytest.raises(UserError, match=r"x has export format 2; this version reads up to 1\."):
        read_facts(json.dumps({"export_format": 2}), "x")
    for wrong in (
        "",
        "[]",
        "{}",
        '{"export_format": "1"}',
        json.dumps({**facts, "class_ids": [1]}),
    ):
        with pytest.raises(UserError, match=r"x has no valid model\.json"):
            read_facts(wrong, "x")


def test_labels_are_a_line_each_whatever_the_names_hold():
    assert labels_text(["cat", "traffic light", "a\nb"]) == "cat\ntraffic light\na b\n"


def test_the_fixed_input_is_the_square_of_the_long_side():
    assert default_image_size(Preprocessing(short_side=800, long_side=1333)) == (1344, 1344)
    assert default_image_size(Preprocessing(short_side=96, long_side=96)) == (96, 96)


@pytest.mark.long
def test_other_thresholds_keep_the_weights(model):
    changed = with_detections(model, score_threshold=0.35, max_detections=5)
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for ours, theirs in zip(changed.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(changed.detect(picture)[0]) == 5
    assert changed.config.detections.score_threshold == 0.35
    assert model.config.detections.max_detections == 100
    assert changed.class_ids == [17, 3]
    assert with_detections(model) is model
    with pytest.raises(UserError, match="score_threshold"):
        with_detections(model, score_threshold=2.0)


def found(*rows) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(int), ["cat", "dog"])


def test_detections_are_compared_each_way():
    strict, settings = TOLERANCES["float32"], DetectionConfig(score_threshold=0.25)
    one, two = (0, 0, 10, 10, 0.9, 0), (20, 20, 40, 40, 0.5, 1)
    near = (0.05, 0, 10, 10, 0.8995, 0)
    faint = (50, 50, 60, 60, 0.2505, 1)  # within rounding of the threshold, .25
    same = compare(found(one, two), found(near, two), strict, settings)
    assert (same.compared, same.matched) == (4, 4)
    assert same.pixels == pytest.approx(0.05)
    assert same.score == pytest.approx(0.0005, abs=1e-6)
    lost = compare(found(one, two), found(near), strict, settings)
    assert (lost.compared, lost.matched) == (3, 2)
    moved = compare(found(one), found((5, 0, 15, 10, 0.9, 0)), strict, settings)
    assert (moved.compared, moved.matched) == (2, 0)
    other_class = compare(found(one), found((*one[:5], 1)), strict, settings)
    assert (other_class.compared, other_class.matched) == (2, 0)
    assert compare(found(one, faint), found(one), strict, settings).compared == 2
    assert compare(found(), found(), strict, settings).compared == 0


def test_staged_things_are_whole_or_absent(tmp_path):
    old = tmp_path / "exported"
    old.mkdir()
    (old / "old").touch()

    def interrupted():
        with staged(old) as made:
            made.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.rglob("*")] == ["exported", "old"]
    (old / "old").unlink()
    with staged(old) as made:
        made.mkdir()
        (made / "new").touch()
    with staged(tmp_path / "sub" / "file") as made:
        made.write_text("x")
    names = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")}
    assert names == {"exported", "exported/new", "sub", "sub/file"}
