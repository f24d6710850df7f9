"""Which unit boxes are written in: pixels, fractions of the image's sides, or percent of them.

Shape letter: N boxes.
"""

import re
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from keras_retinanet.data.problems import Problems
from keras_retinanet.errors import UserError

if TYPE_CHECKING:
    from keras_retinanet.data.records import Dataset

Units = Literal["pixels", "fractions", "percent"]
# How much of the image's side 1 is.
SHARES = {"fractions": 1.0, "percent": 0.01}
_NAMES = {
    "pixels": "pixels",
    "fractions": "fractions of the sides (nearly all lie within 0 and 1)",
    "percent": "percent of the sides (nearly all lie within 0 and 100)",
}
# Of larger sets every n-th image is looked at.
MOST_RECORDS = 20_000
# Fewer boxes say too little.
MIN_BOXES = 3
# A few boxes of a set are always wrong.
NEARLY_ALL = 0.95
# Tools round, and boxes pass the border.
SLACK = 1.02
# Boxes of percent reach to the far end of the image in a set of some size; pixels do by chance.
PERCENT_REACH = 60.0
# Sides up to here say nothing: there, boxes of pixels end within the first hundred as well.
SMALL_SIDE = 125
# The logarithm of a chance in a million.
LOG_CHANCE = -14.0
# What `records.sound_box` notes of a box that it drops: the image and the box as it was read.
_NOTED_BOX = re.compile(r"(?P<picture>.*) \[(?P<box>[^\[\]]*)\]", re.DOTALL)
_DROPPED = ("box outside the picture", "box without area")


def in_pixels(
    box: Sequence[float], size: tuple[int, int], units: Units
) -> tuple[float, ...] | Sequence[float]:
    """Return `box` xyxy in pixels of an image of `size` (height, width)."""
    if units == "pixels":
        return box
    height, width = (side * SHARES[units] for side in size)
    x1, y1, x2, y2 = box
    return x1 * width, y1 * height, x2 * width, y2 * height


def dropped_boxes(problems: Problems, known: Container[str]) -> tuple[np.ndarray, list[str]]:
    """Return the boxes that were dropped for lack of area or as outside, which no record has.

    Args:
        known: the names of the images whose boxes are wanted.

    Returns:
        (boxes (N, 4) xyxy in pixels as they were read, the names of their images).
    """
    boxes, names = [], []
    for what in (what for kind in _DROPPED for what in problems.get(kind, ())):
        match = _NOTED_BOX.fullmatch(what)
        if match and match["picture"] in known:
            boxes.append([float(side) for side in match["box"].split(",")])
            names.append(match["picture"])
    return np.array(boxes).reshape(-1, 4), names


def likely_units(boxes: np.ndarray, sizes: np.ndarray, pictures: np.ndarray) -> Units | None:
    """Return the unit that nearly all boxes look written in; None if none is plain.

    Args:
        boxes: (N, 4) xyxy as written.
        sizes: (N, 2) (height, width) of their images in pixels.
        pictures: (N,) the numbers of their images.
    """
    if len(boxes) < MIN_BOXES:
        return None
    ends = boxes.max(axis=1)
    inside = boxes.min(axis=1) >= -SLACK
    if np.mean(inside & (ends <= SLACK)) >= NEARLY_ALL:
        return "fractions"
    hundred = inside & (ends <= 100 * SLACK)
    if np.mean(hundred) >= NEARLY_ALL and _is_percent(
        boxes[hundred], sizes[hundred], pictures[hundred]
    ):
        return "percent"
    fits = inside & (boxes[:, 2:] <= sizes[:, ::-1] * SLACK).all(axis=1)
    return "pixels" if np.mean(fits) >= NEARLY_ALL else None


def _is_percent(boxes: np.ndarray, sizes: np.ndarray, pictures: np.ndarray) -> bool:
    """Return whether it is no chance that boxes of pixels end within the first hundred.

    By chance the farthest box of an image ends there with the probability of 100 / side. Boxes of
    one image lie near each other, so each image counts once.
    """
    if (boxes[:, 2:].max(axis=0) < PERCENT_REACH).any():
        return False
    _, first = np.unique(pictures, return_index=True)
    sides = sizes[first]
    return bool(np.log(100 / sides[sides > SMALL_SIDE]).sum() < LOG_CHANCE)


def misread_units(dataset: "Dataset") -> Units | None:
    """Return the unit that the boxes of a split look written in, if they were read as another."""
    step = max(1, len(dataset.records) // MOST_RECORDS)
    records = [dataset.records[at] for at in range(0, len(dataset.records), step)]
    numbers = {record.file_name: number for number, record in enumerate(records)}
    sizes = np.array([(record.height, record.width) for record in records], float).reshape(-1, 2)
    lost, names = dropped_boxes(dataset.problems, numbers)
    pictures = np.repeat(np.arange(len(records)), [len(record.boxes) for record in records])
    pictures = np.concatenate([pictures, [numbers[name] for name in names]]).astype(int)
    boxes = np.concatenate([np.zeros((0, 4)), *(record.boxes for record in records), lost])
    all_sizes = sizes[pictures]
    if dataset.units != "pixels" and len(boxes):
        boxes = boxes / (all_sizes[:, [1, 0, 1, 0]] * SHARES[dataset.units])
    found = likely_units(boxes, all_sizes, pictures)
    return None if found == dataset.units else found


def check_units(dataset: "Dataset") -> None:
    """Raise a `UserError` if nearly all boxes look written in another unit than they were read."""
    found = misread_units(dataset)
    if found is not None:
        raise UserError(
            f"Expected boxes in {dataset.units}. Received: {dataset.name}, split {dataset.split}, "
            f"whose boxes look like {_NAMES[found]}. Read them so with --units {found}; if they "
            f"really are in {dataset.units}, give --units {dataset.units}."
        )
