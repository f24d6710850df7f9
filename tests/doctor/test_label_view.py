"""What the label view shows: colours by the real matches, names, legend and sheet."""

import dataclasses

import numpy as np
import pytest
from in_process import command
from PIL import Image

from keras_retinanet.config.files import load_config
from keras_retinanet.data.loading import load_train_val
from keras_retinanet.doctor.label_view import (
    MATCHED_COLOR,
    MISSED_COLOR,
    add_legend,
    contact_sheet,
    draw_labels,
    labeled_pictures,
    training_pictures,
)
from keras_retinanet.drawing.marks import IGNORED_COLOR
from keras_retinanet.modeling.anchors import Anchors
from keras_retinanet.modeling.atss import AtssLabeler
from keras_retinanet.modeling.labeling import AnchorLabeler

NAMES = ["cell", "platelet"]


def made_batch():
    """One grey input of 64 x 96: a box that equals an anchor, a tiny one, an ignored one."""
    images = np.full((1, 64, 96, 3), 100, np.float32)
    labels = {
        "boxes": np.float32([[[4, 20, 36, 52], [80, 50, 84, 54], [60, 8, 90, 40], [0] * 4]]),
        "classes": np.int32([[0, 1, 0, -1]]),
        "ignore": np.array([[False, False, True, False]]),
    }
    return images, labels


def made_picture(**matching):
    images, labels = made_batch()
    anchors = Anchors(scales=(1.0,), ratios=(1.0,))
    return labeled_pictures(images, labels, anchors=anchors, labeler=AnchorLabeler(**matching))[0]


def test_matches_are_the_labelers_own():
    picture = made_picture()
    np.testing.assert_array_equal(picture.boxes[:, 0], [4, 80, 60])  # no padding
    # The anchor itself, and those a cell (8 px) beside or above it: 24 of 40 columns, IoU .6;
    # diagonal ones have 576 of 1472 px, IoU .39.
    np.testing.assert_array_equal(picture.anchors, [5, 0, 0])
    np.testing.assert_array_equal(picture.missed, [False, True, False])
    # 4 px in the middle of a cell lie in one P3 anchor alone as well as they can.
    assert made_picture(low_quality=True).anchors[1] >= 1


def test_matches_of_atss_are_shown_too():
    images, labels = made_batch()
    anchors = Anchors(scales=(1.0,), ratios=(1.0,))
    options = {"anchors": anchors, "labeler": AtssLabeler()}
    # The center of a cell at x = 84 is on the border of the tiny box, then inside.
    (picture,) = labeled_pictures(images, labels, **options)
    np.testing.assert_array_equal(picture.missed, [False, True, False])
    labels["boxes"][0, 1] += [1, 0, 1, 0]
    (picture,) = labeled_pictures(images, labels, **options)
    assert picture.anchors[1] >= 1
    assert not picture.missed.any()


def test_green_is_matched_red_is_missed_grey_is_ignored():
    drawn = draw_labels(made_picture(), NAMES, side=960)
    assert drawn.shape == (640, 960, 3)
    assert tuple(drawn[400, 360]) == MATCHED_COLOR  # the right side of the first box
    assert tuple(drawn[540, 820]) == MISSED_COLOR  # a corner of the second
    assert tuple(drawn[400, 800]) == IGNORED_COLOR
    np.testing.assert_array_equal(drawn[300:500, 100:300], 100)  # inside, the picture


@pytest.mark.parametrize("side", [200, 1000, 3000])
def test_labels_and_legend_at_any_size(side):
    picture = made_picture()
    drawn = draw_labels(picture, NAMES, side=side)
    whole = add_legend(drawn)
    np.testing.assert_array_equal(whole[: len(drawn)], drawn)
    line = whole[len(drawn) :]
    assert 12 <= len(line) <= max(12, side / 20)
    for color in (MATCHED_COLOR, MISSED_COLOR, IGNORED_COLOR):
        assert (line == color).all(axis=-1).any()
    if side >= 1000:  # all of it fits: the end of the line is white
        np.testing.assert_array_equal(line[:, int(0.8 * side) :], 255)


def test_sheet_holds_pictures_of_other_sizes():
    wide = made_picture()
    tall = dataclasses.replace(wide, image=np.full((96, 64, 3), 50, np.uint8), boxes=wide.boxes * 0)
    sheet = contact_sheet([wide, tall, wide], NAMES)
    assert sheet.shape == (2 * 640 + 4, 2 * 640 + 4, 3)
    assert tuple(sheet[630, 1000]) == (50, 50, 50)
    np.testing.assert_array_equal(sheet[500:640, :640], 255)  # below the wide one


@pytest.mark.long
def test_pictures_are_those_of_the_training():
    overrides = {"data.shapes_train": 6, "train.batch_size": 4, "data.augment.flip": 0}
    config = load_config(None, overrides | {"data.source": "shapes"})
    dataset, _ = load_train_val(config.data)
    pictures = training_pictures(dataset, config, 6)
    assert len(pictures) == 6
    assert len({picture.name for picture in pictures[:4]}) == 4
    by_name = {record.file_name: record for record in dataset.records}
    for picture in pictures:
        record = by_name[picture.name]  # 256 px square, enlarged to 800
        inside = np.clip(record.boxes, 0, 256)
        np.testing.assert_allclose(picture.boxes, inside * (800 / 256), atol=0.01)
        np.testing.assert_array_equal(picture.classes, record.classes)


@pytest.mark.long
def test_commands_write_what_they_say(tmp_path, capsys):
    out = tmp_path / "seen"
    words = ["--set", "data.shapes_train=5", "--set", "train.batch_size=2"]
    assert command("dataset", "view", "shapes", *words, "--config", "shapes",
                   "--count", "3", "--out", out) == 0  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert sorted(path.name for path in out.iterdir()) == ["1.png", "2.png", "3.png", "sheet.png"]
    with Image.open(out / "1.png") as picture:
        assert max(picture.size) >= 1000
    counts = [int(line.split(": ")[1].split()[0]) for line in lines[:3]]
    assert f"{sum(counts)} boxes, " in "\n".join(lines[3:])
    assert command("dataset", "view", "shapes", "--count", "0") == 2


@pytest.mark.long
def test_fit_writes_a_recipe_that_training_takes(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("base: shapes\ndata: {shapes_train: 12}\n")
    base, out = tmp_path / "mine.yaml", tmp_path / "sub" / "anchors.yaml"
    words = ["anchors", "fit", "shapes", "--config", base]
    assert command(*words, "--scales", 2, "--ratios", 1, "--image_size", 128, "--out", out) == 0
    printed = capsys.readouterr().out
    config = load_config(out)
    assert config.data.shapes_train == 12
    assert config.model.preprocessing.short_side == 128
    anchors = config.model.anchors
    assert (len(anchors.scales), len(anchors.ratios)) == (2, 1)
    assert ", ".join(f"{size:g}" for size in anchors.sizes) in printed
    assert "all" in out.read_text()
    # A recipe is not its own base.
    assert command(*words, "--out", base) == 2
    assert "another --out" in capsys.readouterr().err
