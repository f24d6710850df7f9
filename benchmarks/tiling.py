"""Compare the AP of tiles and of one resized pass on 2,000-px mosaics of small images.

    python benchmarks/tiling.py voc --data_dir bccd --split test --model runs/bccd --tile 480

Images are laid side by side, as they are, on gray squares of 2,000 pixels. Each mosaic is seen
resized to the network input, in tiles whose boxes are merged by plain suppression, in tiles merged
as the package does it, and so with the pass over the resized mosaic. "doubled" counts boxes of a
score of at least .5 that match nothing of their own and lie within an object already found. All
detections count, for a mosaic holds more than COCO's 100 objects.
"""

import argparse
import contextlib
import dataclasses
import io
import json

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_retinanet.commands.common import (
    add_data_arguments,
    find_model,
    flag_overrides,
    with_source,
)
from keras_retinanet.config import Config, with_overrides
from keras_retinanet.data import decode_image, load_dataset
from keras_retinanet.exporting import load_detector, with_detections
from keras_retinanet.inference import Tiled, merge_tiles, overlaps, tile_windows
from keras_retinanet.modeling import Detections

SIDE = 2000
GREY = 127
SHOWN = 0.5
MOST = 1000  # detections of a mosaic


@dataclasses.dataclass
class Mosaic:
    """Images side by side: image (SIDE, SIDE, 3) uint8, boxes (N, 4) xyxy and classes (N,)."""

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


def mosaics(dataset, count: int) -> list[Mosaic]:
    """Lay the data set's images, each once and all of one size, on `count` gray squares."""
    height, width = dataset.records[0].height, dataset.records[0].width
    rows, columns = SIDE // height, SIDE // width
    records = [
        (index, record)
        for index, record in enumerate(dataset.records)
        if (record.height, record.width) == (height, width)
    ]
    made = []
    for start in range(0, min(len(records), count * rows * columns), rows * columns):
        image = np.full((SIDE, SIDE, 3), GREY, np.uint8)
        boxes, classes = [], []
        for place, (index, record) in enumerate(records[start : start + rows * columns]):
            row, column = divmod(place, columns)
            y, x = row * SIDE // rows, column * SIDE // columns
            image[y : y + height, x : x + width] = decode_image(dataset.read_bytes(index))
            boxes.append(record.boxes + [x, y, x, y])
            classes.append(record.classes)
        made.append(Mosaic(image, np.concatenate(boxes), np.concatenate(classes)))
    return made


def figures(pictures: list[Mosaic], found: list[Detections]) -> dict[str, float]:
    """Return COCO's AP, AP50, AP75 and AR in percent, of up to MOST detections a mosaic."""
    truths, rows = [], []
    for index, (picture, detections) in enumerate(zip(pictures, found, strict=True)):
        for kind, boxes, classes, scores in (
            (truths, picture.boxes, picture.classes, picture.classes),
            (rows, detections.boxes, detections.classes, detections.scores),
        ):
            for (x1, y1, x2, y2), class_id, score in zip(
                boxes.astype(float).tolist(), classes.tolist(), scores.tolist(), strict=True
            ):
                bbox = [x1, y1, x2 - x1, y2 - y1]
                row = {"image_id": index + 1, "category_id": class_id + 1, "bbox": bbox}
                area = {"id": len(kind) + 1, "area": bbox[2] * bbox[3], "iscrowd": 0}
                kind.append(row | (area if kind is truths else {"score": score}))
    classes = sorted({row["category_id"] for row in truths})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": index + 1} for index in range(len(pictures))],
            "categories": [{"id": class_id} for class_id in classes],
            "annotations": truths,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows), "bbox")
        evaluation.params.maxDets = [1, 10, MOST]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]  # IoU, recall, class
    parts = {"AP": precision, "AP50": precision[0], "AP75": precision[5]}
    parts["AR"] = evaluation.eval["recall"][..., 0, -1]
    return {name: 100 * float(part[part > -1].mean()) for name, part in parts.items()}


def counts(pictures: list[Mosaic], found: list[Detections]) -> dict[str, int]:
    """Return the number of objects detected at IoU .5 and score .5, and of those detected twice."""
    right = doubled = 0
    for picture, detections in zip(pictures, found, strict=True):
        truths = picture.boxes.astype(np.float64)
        taken = np.zeros(len(truths), bool)
        for box, class_id in zip(
            detections.boxes[detections.scores >= SHOWN].astype(np.float64),
            detections.classes[detections.scores >= SHOWN],
            strict=True,
        ):
            own = picture.classes == class_id
            shared = np.where(own & ~taken, overlaps(box, truths)[0], 0)
            if shared.max() >= 0.5:
                taken[shared.argmax()] = True
                right += 1
            else:
                inside = [overlaps(truth, box[None])[1][0] for truth in truths[taken & own]]
                doubled += max(inside, default=0) >= 0.7
    return {"found": right, "doubled": int(doubled)}


def plainly_merged(detector: Tiled, image: np.ndarray, batch_size: int) -> Detections:
    """Return the detections of the tiles after suppression that ignores seams."""
    height, width = image.shape[:2]
    windows = tile_windows(height, width, tile=detector.tile, overlap=detector.overlap)
    moved = []
    for start in range(0, len(windows), batch_size):
        part = windows[start : start + batch_size]
        tiles = [image[y1:y2, x1:x2] for x1, y1, x2, y2 in part]
        for window, found in zip(part, detector.inner.detect(tiles), strict=True):
            boxes = (found.boxes + np.tile(window[:2], 2)).astype(np.float32)
            moved.append(dataclasses.replace(found, boxes=boxes))
    # Boxes of "tiles" that are the whole image are cut by no seam.
    whole = np.tile(np.array([0, 0, width, height]), (len(moved), 1))
    return merge_tiles(moved, whole, size=(height, width), iou=detector.config.detections.nms_iou)


def main() -> None:
    """Print one line per method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_arguments(parser)
    parser.add_argument("--split", default="test")
    parser.add_argument("--model", required=True)
    parser.add_argument("--tile", type=int, default=480)
    parser.add_argument("--overlap", type=float, default=0.2)
    parser.add_argument("--mosaics", type=int, default=2)
    parser.add_argument("--batch_size", type=int, default=8)
    args = parser.parse_args()
    config = with_source(Config(), args)
    config = with_overrides(config, flag_overrides(args, {"split": "evaluate.split"}))
    pictures = mosaics(load_dataset(config.data, config.evaluate.split), args.mosaics)
    images = [picture.image for picture in pictures]
    model = load_detector(find_model(args.model))
    alone, both = (
        Tiled(model, tile=args.tile, overlap=args.overlap, whole=whole) for whole in (False, True)
    )
    ways = {
        "resized": lambda: with_detections(model, max_detections=MOST).detect(images),
        "plain suppression": lambda: [plainly_merged(alone, i, args.batch_size) for i in images],
        "tiles": lambda: alone.detect(images, batch_size=args.batch_size),
        "tiles and resized": lambda: both.detect(images, batch_size=args.batch_size),
    }
    objects = sum(len(picture.boxes) for picture in pictures)
    print(f"{len(pictures)} mosaics of {SIDE} px, {objects} objects")
    for name, way in ways.items():
        found = way()
        row = {key: round(value, 1) for key, value in figures(pictures, found).items()}
        print(f"{name:18} {json.dumps(row | counts(pictures, found))}", flush=True)


if __name__ == "__main__":
    main()
