"""Real images for tests: BCCD's in tests/assets, and a COCO set made of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.data.records import Dataset, Record
from keras_retinanet.files.images.decoding import decode_image

BCCD = Path(__file__).parents[1] / "assets" / "bccd"
# As COCO's 80 categories, these have gaps between their ids.
CATEGORIES = [
    {"id": 2, "name": "Platelets"},
    {"id": 3, "name": "RBC"},
    {"id": 13, "name": "WBC"},
    {"id": 90, "name": "never seen"},
]
IMAGES, CROWDS = 50, 5
SPLITS = ("train2017", "val2017")


def write_coco_set(folder: Path) -> None:
    """Write two splits of `IMAGES` images each in COCO's layout, always the same ones.

    The images are parts of BCCD's, scaled and some turned, so that hardly two have one size. Their
    boxes have fractions; `CROWDS` boxes of each split are crowds, and one image has no box.
    """
    config = DataConfig(source="voc", data_dir=str(BCCD))
    sources = [load_dataset(config, split) for split in ("train", "val", "test")]
    rng = np.random.default_rng(0)
    places = [(source, index) for source in sources for index in range(len(source.records))]
    places = [places[index] for index in rng.permutation(len(places))]
    places += places[: len(SPLITS) * IMAGES - len(places)]
    (folder / "annotations").mkdir(parents=True)
    for number, split in enumerate(SPLITS):
        (folder / split).mkdir()
        chosen = places[number * IMAGES : (number + 1) * IMAGES]
        content = _write_split(folder / split, chosen, rng)
        text = json.dumps(content | {"categories": CATEGORIES})
        (folder / f"annotations/instances_{split}.json").write_text(text)


def _write_split(
    folder: Path, places: list[tuple[Dataset, int]], rng: np.random.Generator
) -> dict[str, Any]:
    images, annotations = [], []
    for number, (source, index) in enumerate(places):
        pixels = decode_image(source.read_bytes(index))
        picture, boxes, classes = _part(pixels, source.records[index], rng)
        image_id, name = 1000 + 7 * number, f"{number:012d}.jpg"
        picture.save(folder / name, quality=90)
        images.append(
            {"id": image_id, "file_name": name, "height": picture.height, "width": picture.width}
        )
        if number == 0:
            continue
        for (x1, y1, x2, y2), name_index in zip(boxes.tolist(), classes, strict=True):
            bbox = [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": CATEGORIES[name_index]["id"],
                    "bbox": bbox,
                    "area": round(0.8 * bbox[2] * bbox[3], 4),  # a mask's is less than its box's
                    "iscrowd": 0,
                }
            )
    for index in range(CROWDS):
        annotations[index * len(annotations) // CROWDS]["iscrowd"] = 1
    return {"images": images, "annotations": annotations}


def _part(
    pixels: np.ndarray, record: Record, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray, np.ndarray]:
    """Return a part of an image, scaled and perhaps turned, with the boxes that lie inside it."""
    height, width = pixels.shape[:2]
    size = np.array([rng.integers(width // 2, width + 1), rng.integers(height // 2, height + 1)])
    left, top = rng.integers(0, [width, height] - size + 1)
    boxes = record.boxes.astype(np.float64) - [left, top, left, top]
    inside = (boxes[:, :2] >= 0).all(axis=1) & (boxes[:, 2:] <= size).all(axis=1)
    picture = Image.fromarray(pixels[top : top + size[1], left : left + size[0]])
    boxes, classes = boxes[inside], record.classes[inside]
    if rng.random() < 0.3:
        picture, boxes = picture.transpose(Image.Transpose.TRANSPOSE), boxes[:, [1, 0, 3, 2]]
    before = np.array(picture.size)
    picture = picture.resize(tuple((before * rng.uniform(0.7, 1.1)).round().astype(int).tolist()))
    return picture, boxes * np.tile(picture.size / before, 2), classes
