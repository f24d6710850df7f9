"""A drawn aerial data set: few large images with many small, textured tree crowns, as COCO's files.

`python aerial.py DIR [IMAGES SIDE CROWNS]` writes it.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

# Diameter of a crown in pixels, and what share of the images is to validate on.
DIAMETERS = (20, 31)
VAL_SHARE = 1 / 3


def smooth_noise(random, side: int, cell: int) -> np.ndarray:
    """Return (side, side) float32 of about 0..1 that changes over `cell` pixels."""
    coarse = random.uniform(0, 255, (side // cell + 2,) * 2).astype(np.uint8)
    image = Image.fromarray(coarse).resize((side + cell, side + cell), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32)[:side, :side] / 255


def ground(random, side: int) -> np.ndarray:
    """Return soil, grass and paths, (side, side, 3) float32 0..255."""
    grass = smooth_noise(random, side, 150)[..., None]
    image = grass * [105, 120, 70] + (1 - grass) * [150, 130, 100]
    for _ in range(6):
        place, width = random.integers(0, side), random.integers(6, 16)
        rows = slice(place, place + width)
        part = image[rows] if random.random() < 0.5 else image[:, rows]
        part[:] = [175, 170, 165]
    image += 25 * (smooth_noise(random, side, 9)[..., None] - 0.5)
    return image + random.normal(0, 9, (side, side, 1))


def crown(random, image: np.ndarray, x: int, y: int, diameter: int) -> None:
    """Paint a crown, and its shadow, whose box begins at (x, y)."""
    rows, columns = np.mgrid[:diameter, :diameter] - (diameter - 1) / 2
    away = np.hypot(rows, columns) / (diameter / 2)
    lit = 1 - 0.35 * (rows + columns) / diameter
    texture = smooth_noise(random, diameter, 4)[..., None] - 0.5
    color = random.uniform(0.8, 1.2) * np.array([55, 90, 45]) * lit[..., None] + 70 * texture
    shadow = image[y + 5 : y + 5 + diameter, x + 5 : x + 5 + diameter]
    shadow[away <= 1] *= 0.6
    part = image[y : y + diameter, x : x + diameter]
    part[away <= 1] = color[away <= 1]


def scene(seed: int, side: int, crowns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (side, side, 3) uint8 and the boxes (N, 4) xyxy of up to `crowns` crowns.

    Crowns stand in groves; the middle of some images is bare.
    """
    random = np.random.default_rng(seed)
    image, boxes = ground(random, side), []
    groves = random.uniform(0, side, (max(3, side // 250), 2))
    for _ in range(20 * crowns):
        diameter = int(random.integers(*DIAMETERS))
        x, y = random.normal(groves[random.integers(len(groves))], side / 9).astype(int)
        room = side - diameter - 6
        apart = all(max(abs(x - b[0]), abs(y - b[1])) >= 26 for b in boxes)
        if 0 <= x < room and 0 <= y < room and apart and len(boxes) < crowns:
            crown(random, image, x, y, diameter)
            boxes.append((x, y, x + diameter, y + diameter))
    return np.clip(image, 0, 255).astype(np.uint8), np.array(boxes, np.float32).reshape(-1, 4)


def write_aerial(folder: Path, *, images: int = 6, side: int = 1500, crowns: int = 200) -> None:
    """Write the splits train and val as `dataset convert --to coco` would, images as PNG."""
    splits: dict[str, dict] = {}
    for number in range(images):
        split = "val" if number >= round(images * (1 - VAL_SHARE)) else "train"
        content = splits.setdefault(
            split,
            {"images": [], "annotations": [], "categories": [{"id": 1, "name": "tree"}]},
        )
        image, boxes = scene(number, side, crowns)
        (folder / split).mkdir(parents=True, exist_ok=True)
        name = f"{number}.png"
        Image.fromarray(image).save(folder / split / name)
        content["images"].append({"id": number, "file_name": name, "height": side, "width": side})
        for x1, y1, x2, y2 in boxes.tolist():
            row = {"id": len(content["annotations"]) + 1, "image_id": number, "category_id": 1}
            box = [x1, y1, x2 - x1, y2 - y1]
            area = box[2] * box[3]
            content["annotations"].append({**row, "bbox": box, "area": area, "iscrowd": 0})
    (folder / "annotations").mkdir(exist_ok=True)
    for split, content in splits.items():
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[2:5]]
    write_aerial(Path(sys.argv[1]), **dict(zip(("images", "side", "crowns"), words, strict=False)))
