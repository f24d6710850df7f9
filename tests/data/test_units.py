"""The unit of boxes: told by the boxes, refused where it is not the format's, and converted."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.data.units import in_pixels, likely_units
from keras_retinanet.errors import UserError

WIDTH, HEIGHT = 320, 240
# In fractions of the sides, one or two for each of eight images.
BOXES = np.array([[x / 20, 0.1, x / 20 + 0.5, 0.95] for x in range(1, 9)])


def test_conversion():
    assert in_pixels((1, 2, 3, 4), (10, 20), "pixels") == (1, 2, 3, 4)
    assert in_pixels((0.1, 0.2, 0.5, 1), (10, 20), "fractions") == (2, 2, 10, 10)
    assert in_pixels((10, 20, 50, 100), (10, 20), "percent") == pytest.approx((2, 2, 10, 10))


def likely(boxes, side, pictures=None):
    sizes = np.full((len(boxes), 2), float(side))
    numbers = np.arange(len(boxes)) if pictures is None else pictures
    return likely_units(np.array(boxes, float), sizes, numbers)


@pytest.mark.parametrize(
    ("boxes", "side", "unit"),
    [
        (BOXES, 300, "fractions"),
        (BOXES * 100, 300, "percent"),
        (BOXES * 300, 300, "pixels"),
        (np.tile(BOXES, (200, 1)) * 110, 115, "pixels"),
        # Of small images no one can tell, nor of a few; small boxes of large images are none.
        (BOXES * 100, 100, "pixels"),
        (BOXES[:2], 300, None),
        (BOXES * 40, 300, "pixels"),
        (np.tile(BOXES, (5, 1)) * 1000, 300, None),
    ],
)
def test_unit_is_told_by_the_boxes(boxes, side, unit):
    assert likely(boxes, side) == unit


def test_one_image_is_one_witness():
    assert likely(BOXES * 100, 300, np.zeros(8, int)) == "pixels"


def draw(folder, source, boxes):
    for number, box in enumerate(boxes):
        (folder / "images").mkdir(exist_ok=True)
        Image.new("L", (WIDTH, HEIGHT)).save(folder / f"images/{number}.png")
        x1, y1, x2, y2 = (float(side) for side in box)
        if source == "yolo":
            (folder / "classes.txt").write_text("cat\n")
            (folder / "labels").mkdir(exist_ok=True)
            text = f"0 {(x1 + x2) / 2} {(y1 + y2) / 2} {x2 - x1} {y2 - y1}\n"
            (folder / f"labels/{number}.txt").write_text(text)
        if source == "voc":
            (folder / "Annotations").mkdir(exist_ok=True)
            sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
            inner = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
            text = f"<annotation><object><name>cat</name><bndbox>{inner}</bndbox></object>"
            (folder / f"Annotations/{number}.xml").write_text(f"{text}</annotation>")
    if source == "csv":
        rows = [f"images/{n}.png,{','.join(map(str, box))},cat" for n, box in enumerate(boxes)]
        (folder / "annotations.csv").write_text("\n".join(rows))
    if source == "coco":
        images = [{"id": n, "file_name": f"{n}.png"} for n in range(len(boxes))]
        found = [{"image_id": n, "category_id": 1, "bbox": [a, b, x - a, y - b]}
                 for n, (a, b, x, y) in enumerate(boxes.tolist())]  # fmt: skip
        content = {"images": images, "annotations": found, "categories": [{"id": 1, "name": "cat"}]}
        (folder / "annotations").mkdir()
        (folder / "annotations/instances_all.json").write_text(json.dumps(content))


@pytest.mark.parametrize("unit", ["pixels", "fractions", "percent"])
@pytest.mark.parametrize("source", ["coco", "voc", "csv", "yolo"])
def test_another_unit_is_refused_and_read_where_it_is_named(source, unit, tmp_path):
    sides = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    factors = {"pixels": sides, "fractions": 1, "percent": 100}
    draw(tmp_path, source, BOXES * factors[unit])
    config = DataConfig(source=source, data_dir=str(tmp_path))
    if unit == ("fractions" if source == "yolo" else "pixels"):
        dataset = load_dataset(config, "all")
    else:
        with pytest.raises(UserError, match=rf"look like {unit}.*--units {unit}"):
            load_dataset(config, "all")
        dataset = load_dataset(DataConfig(source=source, data_dir=str(tmp_path), units=unit), "all")
    boxes = np.concatenate([record.boxes for record in dataset.records])
    np.testing.assert_allclose(boxes, BOXES * sides, rtol=1e-5)


def test_who_names_the_unit_is_believed(tmp_path):
    draw(tmp_path, "csv", BOXES)
    config = DataConfig(source="csv", data_dir=str(tmp_path), units="pixels")
    assert load_dataset(config, "all").records[0].boxes.max() < 1
