"""Detections to files: COCO results JSON and CSV, never half written. N: detections."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.files import atomic_write
from keras_retinanet.files.csv_cells import quoted
from keras_retinanet.modeling.detections import CSV_COLUMNS, Detections, coco_rows
from keras_retinanet.modeling.numpy_boxes import xyxy_to_xywh

CSV_HEADER = ("path", *CSV_COLUMNS)


def coco_results(
    boxes: np.ndarray, scores: np.ndarray, *, category_ids: np.ndarray, image_id: int | str
) -> list[dict[str, Any]]:
    """Write one image's detections in COCO's results form, in the order given.

    Args and Returns: as `coco_rows`, but that `boxes` (N, 4) are xyxy and of one image.
    """
    # In float64, so that x + width gives back the float32 corner.
    xywh = xyxy_to_xywh(np.asarray(boxes, np.float64).reshape(-1, 4))
    ids = np.asarray(category_ids).tolist()
    return coco_rows([image_id] * len(ids), ids, xywh=xywh, scores=np.asarray(scores))


def write_coco_json(detections: list[dict[str, Any]], path: str | Path) -> None:
    """Write a COCO results file, the form that `score_files` and COCO's server read.

    Args:
        detections: as `coco_results` gives; an empty list writes `[]`.
        path: file to make or replace, in one step.
    """
    with atomic_write(path) as file:
        json.dump(detections, file)


def write_csv(pictures: Iterable[tuple[str | Path, Detections]], path: str | Path) -> None:
    """Write one row a detection: `path,x1,y1,x2,y2,class,score`, under that header.

    Args:
        pictures: the image's path and its detections. Boxes are written as pixels with two
            decimals, the class by its name, the score with five decimals. Names that begin as a
            formula stand behind an apostrophe (`csv_cells`).
        path: file to make or replace, in one step.
    """
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_HEADER)
        for picture, detections in pictures:
            writer.writerows([quoted(str(picture)), *cells] for cells in detections.csv_cells())
