"""Detections as labels: a data set of the images with the boxes found, and crops of the boxes.

Shape letters: N detections, K classes.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from keras_retinanet.data.images.rasters import Raster
from keras_retinanet.data.records import Dataset, ImageRef, Record, select_classes
from keras_retinanet.modeling.detections import Detections

# A data set to be trained on once its labels are corrected.
SPLIT = "train"
# Of JPEG: nothing that a classifier would learn from is lost.
QUALITY = 95
# What systems refuse in the name of a folder.
_RESERVED = set('<>:"/\\|?*')


class Found(NamedTuple):
    """An image file and the detections in it."""

    path: Path
    size: tuple[int, int]  # height and width
    found: Detections


def labels_dataset(
    images: Sequence[Found],
    class_names: Sequence[str],
    class_ids: Sequence[int],
    *,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """Return the images with their detections as the boxes of a data set, for `write_dataset`.

    Args:
        images: in the pixels as stored. Those without a detection are images without boxes.
        class_names: all K names of the model.
        class_ids: their K original ids.
        classes: names of those to keep, in their new order; None: all.
    """
    folder = _common_folder([image.path for image in images])
    records = [_record(number, image, folder) for number, image in enumerate(images, 1)]
    dataset = Dataset("labels", SPLIT, list(class_names), list(class_ids), records)
    return dataset if classes is None else select_classes(dataset, classes)


def _common_folder(paths: Sequence[Path]) -> str:
    """Return the folder below which all files lie; file names are unique below it."""
    folders = {os.path.dirname(os.path.abspath(path)) for path in paths}
    try:
        return os.path.commonpath(folders)
    except ValueError:  # several drives
        return ""


def _record(number: int, image: Found, folder: str) -> Record:
    boxes = np.asarray(image.found.boxes, np.float32).reshape(-1, 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    found, sides = image.found.select(sides.min(axis=1) > 0), sides[sides.min(axis=1) > 0]
    path = os.path.abspath(image.path)
    return Record(
        image_id=number,
        image=ImageRef(path),
        height=image.size[0],
        width=image.size[1],
        boxes=np.asarray(found.boxes, np.float32).reshape(-1, 4),
        classes=np.asarray(found.classes, np.int32),
        ignore=np.zeros(len(found), bool),
        areas=sides[:, 0] * sides[:, 1],
        file_name=os.path.relpath(path, folder) if folder else image.path.name,
        scores=np.asarray(found.scores, np.float32),
    )


def save_crops(image: np.ndarray | Raster, found: Detections, folder: Path, *, stem: str) -> int:
    """Save each box of an image as `<folder>/<class>/<stem>_<number>.jpg`, best first.

    Args:
        image: uint8 RGB (H, W, 3), or a raster.
        found: in pixels of it. What lies outside the image is cut off.
        stem: unique among the images of `folder`.

    Returns:
        How many were saved: a box that is outside the image, or has no area, is none.
    """
    height, width = image_size(image)
    saved = 0
    for number, (box, name) in enumerate(zip(found.boxes, found.names, strict=True), start=1):
        left, top = np.maximum(np.floor(box[:2]), 0).astype(int)
        right, bottom = np.minimum(np.ceil(box[2:]), (width, height)).astype(int)
        if right <= left or bottom <= top:
            continue
        path = folder / folder_name(name) / f"{stem}_{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_window(image, left, top, right, bottom)).save(path, quality=QUALITY)
        saved += 1
    return saved


def image_size(image: np.ndarray | Raster) -> tuple[int, int]:
    """Return the (height, width) of an image or a raster."""
    if isinstance(image, Raster):
        return image.height, image.width
    return image.shape[0], image.shape[1]


def _window(image: np.ndarray | Raster, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    if isinstance(image, Raster):
        return np.ascontiguousarray(image.window(left, top, right, bottom))
    return np.ascontiguousarray(image[top:bottom, left:right])


def folder_name(class_name: str) -> str:
    """Return a class's name as that of a folder on any system."""
    kept = [c if c.isprintable() and c not in _RESERVED else "_" for c in class_name]
    return "".join(kept).strip(" .") or "_"
