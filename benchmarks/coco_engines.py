"""Compare the engines of COCO's metrics: seconds from columns to tables, and largest difference.

    pip install hotcoco faster-coco-eval vernier    # those not installed are left out
    python benchmarks/coco_engines.py --pictures 5000 --detections 100 --classes 80

The engines run in turn, several times, and the best time of each counts; pycocotools, the slowest,
runs twice. Each time goes from the columns to all tables: the forms an engine wants are made within
it. The detections are made up: of each box three moved ones, one in five under another name, the
rest anywhere.
"""

import argparse
import contextlib
import gc
import importlib.util
import io
import os
import time
from collections.abc import Callable

import numpy as np

from keras_retinanet.evaluation import EvaluationSet, Found, coco_evaluation
from keras_retinanet.speed import scene

AP50 = (0, slice(None), slice(None), 0, -1)


def images_and_categories(pictures: EvaluationSet) -> tuple[list[dict], list[dict]]:
    rows = zip(pictures.image_ids, pictures.sizes.tolist(), strict=True)
    images = [{"id": i, "height": h, "width": w} for i, (h, w) in rows]
    pairs = zip(pictures.class_ids, pictures.class_names, strict=True)
    return images, [{"id": class_id, "name": name} for class_id, name in pairs]


def matrix(found: Found) -> np.ndarray:
    """Return rows of image, x, y, width, height, score, class; ids count from 1."""
    return np.column_stack([found.image + 1, found.xywh, found.scores, found.classes + 1])


def by_engine(engine: str) -> Callable[[EvaluationSet, Found], np.ndarray]:
    return lambda pictures, found: coco_evaluation(pictures, found, engine=engine).precision


def by_faster_coco_eval(pictures: EvaluationSet, found: Found) -> np.ndarray:
    from faster_coco_eval import COCO, COCOeval_faster

    images, categories = images_and_categories(pictures)
    truths = pictures.truths
    columns = (truths.image, truths.classes, truths.xywh, truths.areas, truths.ignore)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    annotations = [
        {"id": number, "image_id": image + 1, "category_id": index + 1, "bbox": bbox}
        | {"area": area, "iscrowd": int(ignore)}
        for number, (image, index, bbox, area, ignore) in enumerate(rows, start=1)
    ]
    truth = COCO({"images": images, "categories": categories, "annotations": annotations})
    evaluation = COCOeval_faster(truth, truth.loadRes(matrix(found)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"]


def by_vernier(pictures: EvaluationSet, found: Found) -> np.ndarray:
    from vernier._core import CocoDataset, evaluate_bbox_grid

    truths, categories = pictures.truths, images_and_categories(pictures)[1]
    heights, widths = pictures.sizes.T.astype(np.int64)
    images = {"id": np.arange(1, len(heights) + 1), "height": heights, "width": widths}
    annotations = {
        "id": np.arange(1, len(truths.image) + 1),
        "image_id": truths.image.astype(np.int64) + 1,
        "category_id": truths.classes.astype(np.int64) + 1,
        "bbox": np.ascontiguousarray(truths.xywh),
        "area": truths.areas,
        "iscrowd": truths.ignore,
    }
    grid = evaluate_bbox_grid(
        CocoDataset.from_arrays(images, annotations, categories),
        np.ascontiguousarray(matrix(found)),
        parity_mode="strict",
        max_dets_per_image=100,
        use_cats=True,
        num_threads=os.cpu_count(),
    )
    return np.asarray(grid.accumulate([1, 10, 100]).precision)


ENGINES: dict[str, Callable[[EvaluationSet, Found], np.ndarray]] = {
    "pycocotools": by_engine("pycocotools"),
    "hotcoco": by_engine("hotcoco"),
    "vernier": by_vernier,
    "faster_coco_eval": by_faster_coco_eval,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("pictures", 5000), ("detections", 100), ("classes", 80), ("runs", 5)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N")
    args = parser.parse_args()
    made = scene(args.pictures, args.detections, args.classes)
    names = [name for name in ENGINES if importlib.util.find_spec(name)]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    tables: dict[str, np.ndarray] = {}
    for run in range(args.runs):
        for name in names:
            if name == "pycocotools" and run >= 2:
                continue
            gc.collect()
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                tables[name] = ENGINES[name](*made)
            seconds[name].append(time.perf_counter() - start)
    print(f"{len(made[1].scores):,} detections, {os.cpu_count()} cores, best of {args.runs} runs")
    for name in names:
        gap = np.abs(tables[name] - tables["pycocotools"]).max()
        ap50 = tables[name][AP50].mean()
        print(f"{name:17} {min(seconds[name]):7.2f} s   AP50 {ap50:.4f}   largest gap {gap:.1e}")


if __name__ == "__main__":
    main()
