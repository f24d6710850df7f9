"""Compare the AP of test-time augmentation by scales, mirroring and merging rule.

    python benchmarks/test_time.py voc --data_dir bccd --split val --model runs/bccd

Each pass runs once; the combinations are made of the same detections. "suppression" is
non-maximum suppression within each class at the model's IoU, "fusion" what the package does.
"""

import argparse

import numpy as np

from keras_retinanet.commands.common import (
    add_data_arguments,
    find_model,
    flag_overrides,
    with_source,
)
from keras_retinanet.config import Config, with_overrides
from keras_retinanet.data import decode_image, load_dataset
from keras_retinanet.evaluation import Found, coco_evaluation, evaluation_set, figures
from keras_retinanet.exporting import load_detector
from keras_retinanet.inference import merge_tiles, with_test_time

COMBINATIONS = ((1.0,), (1.0, 1.25), (0.75, 1.0, 1.25), (1.0, 1.25, 1.5))
MOST = 100


def average_precision(pictures, found) -> str:
    """Return AP, AP50 and AP75 in percent of `found`, one Detections per image."""
    found = [(d.boxes[:MOST], d.scores[:MOST], d.classes[:MOST]) for d in found]
    boxes, scores, classes = (np.concatenate(column) for column in zip(*found, strict=True))
    images = np.repeat(np.arange(len(found), dtype=np.int32), [len(row[1]) for row in found])
    columns = (classes, boxes.astype(np.float64), scores.astype(np.float64))
    values = figures(coco_evaluation(pictures, Found(images, *columns)))
    return " ".join(f"{100 * values[name]:6.2f}" for name in ("AP", "AP50", "AP75"))


def suppressed(passes, size, iou):
    """Return the detections of all passes over an image of `size` (h, w) after suppression."""
    # "Tiles" that are the whole image: none of their borders is a seam.
    windows = np.tile(np.array([0, 0, size[1], size[0]]), (len(passes), 1))
    return merge_tiles(passes, windows, size=size, iou=iou)


def main() -> None:
    """Print one line per combination and rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data_arguments(parser)
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", required=True)
    args = parser.parse_args()
    config = with_overrides(
        with_source(Config(), args), flag_overrides(args, {"split": "evaluate.split"})
    )
    dataset = load_dataset(config.data, config.evaluate.split)
    images = [decode_image(dataset.read_bytes(index)) for index in range(len(dataset.records))]
    pictures, model = evaluation_set(dataset), load_detector(find_model(args.model))
    every = tuple(sorted({scale for scales in COMBINATIONS for scale in scales}))
    augmented = with_test_time(model, scales=every, flip=True)
    views = dict(zip(augmented.views, augmented.passes(images), strict=True))
    for scales in COMBINATIONS:
        for mirrors in ((False,), (False, True)):
            chosen = [views[scale, mirrored] for mirrored in mirrors for scale in scales]
            each = list(zip(*chosen, strict=True))
            iou = model.config.detections.nms_iou
            nms = [suppressed(p, i.shape[:2], iou) for p, i in zip(each, images, strict=True)]
            for rule, found in (("suppression", nms), ("fusion", map(augmented.fused, each))):
                name = f"{', '.join(map(str, scales))}{' and mirrored' if mirrors[1:] else ''}"
                print(f"{name:28} {rule:12} {average_precision(pictures, found)}", flush=True)


if __name__ == "__main__":
    main()
