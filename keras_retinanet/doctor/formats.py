"""Were the boxes read in the format they were written in?

Each way to misread a box format can be undone on the boxes as read. A format is suspected when
the boxes as read do not fit their images, but undone they all do. Shape letter: N boxes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from keras_retinanet.data.records import Dataset
from keras_retinanet.data.units import dropped_boxes, misread_units
from keras_retinanet.doctor.box_table import BoxTable
from keras_retinanet.doctor.findings import Example, Finding, percent
from keras_retinanet.modeling.numpy_boxes import xywh_to_xyxy, xyxy_to_xywh

# Fewer boxes say too little about a format.
MIN_BOXES = 20
# Real sets have a few bad boxes; a misread format spoils at least these.
MIN_UNFIT, MIN_UNFIT_SHARE = 5, 0.03
# Undone, a misread format leaves next to none.
ALTERNATIVE_FIT = 0.98
# How far a sound box may pass the border: annotation tools round, and count from 1.
TOLERANCE_PIXELS, TOLERANCE_SHARE = 1.5, 0.005
# This many boxes at coordinate 1 with none at 0 are no chance.
MIN_AT_ONE = 10
EXAMPLES_PER_SPLIT = 2

_SWAPPED = "box with swapped corners"


@dataclass(frozen=True)
class Misreading:
    """A way to misread a box format.

    Attributes:
        undo: from boxes (N, 4) as read and their images' sizes (N, 2) to boxes as written.
    """

    name: str
    undo: Callable[[np.ndarray, np.ndarray], np.ndarray]
    action: str


def _half_sizes(boxes: np.ndarray) -> np.ndarray:
    return np.tile((boxes[:, 2:] - boxes[:, :2]) / 2, 2)


MISREADINGS = (
    Misreading(
        "x, y, width, height read as corners",
        lambda boxes, sizes: xywh_to_xyxy(boxes),
        "Write x2 = x + width and y2 = y + height, or name the format that the file really has.",
    ),
    Misreading(
        "corners read as x, y, width, height",
        lambda boxes, sizes: xyxy_to_xywh(boxes),
        "Write width = x2 - x1 and height = y2 - y1, or name the format that the file really has.",
    ),
    Misreading(
        "the center read as the top left corner",
        lambda boxes, sizes: boxes - _half_sizes(boxes),
        "Lower x by half the width and y by half the height when writing the file.",
    ),
    Misreading(
        "the top left corner read as the center",
        lambda boxes, sizes: boxes + _half_sizes(boxes),
        "Add half the width to x and half the height to y when writing the file.",
    ),
    Misreading("x and y swapped", lambda boxes, sizes: boxes[:, [1, 0, 3, 2]], "Write x before y."),
)


def fits(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return (N,) bool: the box lies in its image and has sides of a pixel or more."""
    limits = sizes[:, ::-1]
    slack = np.maximum(TOLERANCE_PIXELS, TOLERANCE_SHARE * limits)
    inside = (boxes[:, :2] >= -slack) & (boxes[:, 2:] <= limits + slack)
    return (inside & (boxes[:, 2:] - boxes[:, :2] >= 1)).all(axis=1)


def format_findings(datasets: Sequence[Dataset], tables: Sequence[BoxTable]) -> list[Finding]:
    """Return the suspicion of a misread box format, if any, over all splits together."""
    for finding in _units_findings(datasets, tables):
        return [finding]
    noted, noted_sizes = [], []
    for dataset in datasets:
        by_name = {record.file_name: (record.height, record.width) for record in dataset.records}
        dropped, names = dropped_boxes(dataset.problems, by_name)
        noted.append(dropped)
        noted_sizes.append(np.array([by_name[name] for name in names], float).reshape(-1, 2))
    boxes = np.concatenate([np.zeros((0, 4)), *(t.boxes for t in tables), *noted])
    sizes = np.concatenate([np.zeros((0, 2)), *(t.sizes for t in tables), *noted_sizes])
    if len(boxes) < MIN_BOXES:
        return []
    swapped = sum(len(dataset.problems.get(_SWAPPED, ())) for dataset in datasets)
    # Corners in the wrong order were fixed: such a box fits now, but did not as read.
    unfit = min(int((~fits(boxes, sizes)).sum()) + swapped, len(boxes))
    shares = [float(fits(reading.undo(boxes, sizes), sizes).mean()) for reading in MISREADINGS]
    best = int(np.argmax(shares))
    is_unfit = unfit >= max(MIN_UNFIT, MIN_UNFIT_SHARE * len(boxes))
    # Boxes whose centers all lie in the top left quarter are odd even where they all fit: x1 + x2
    # stays within the image when x2 is a width.
    if shares[best] < ALTERNATIVE_FIT or not (is_unfit or best == 0):
        return list(_one_based(tables))
    reading = MISREADINGS[best]
    return [
        Finding(
            "wrong format",
            "error" if is_unfit else "warning",
            f"The boxes look like {reading.name}",
            f"As read, {percent(unfit, len(boxes))} of the boxes do not fit their images; read "
            f"the other way, {percent(shares[best], 1)} do."
            if is_unfit
            else "All their centers lie in the top left quarter of the images.",
            f"{reading.action} Then look at the boxes with `dataset view`.",
            examples=_busiest(tables),
        )
    ]


def _units_findings(datasets, tables) -> Iterator[Finding]:
    for dataset in datasets:
        if found := misread_units(dataset):
            yield Finding(
                "wrong format",
                "error",
                f"The boxes look like {found} read as {dataset.units}",
                f"Nearly all boxes of {dataset.split} fit their images as {found}; training "
                "refuses them as they are.",
                f"Give --units {found}, or write {dataset.units}. Then look at the "
                "boxes with `dataset view`.",
                examples=_busiest(tables),
            )


def _busiest(tables: Sequence[BoxTable]) -> tuple[Example, ...]:
    """Return the images with the most boxes of each split."""
    examples = []
    for table in tables:
        counts = np.bincount(table.pictures)
        most = np.argsort(-counts, kind="stable")[:EXAMPLES_PER_SPLIT]
        examples += [Example(table.split, int(index)) for index in most if counts[index]]
    return tuple(examples)


def _one_based(tables: Sequence[BoxTable]) -> Iterator[Finding]:
    starts = np.concatenate([np.zeros(0), *(table.boxes[:, :2].ravel() for table in tables)])
    ones, zeros = int((starts == 1).sum()), int((starts <= 0).sum())
    if ones >= MIN_AT_ONE and not zeros:
        yield Finding(
            "one-based",
            "note",
            f"Coordinates seem to start at 1: {ones:,} are 1, none is 0",
            "In the first pixel of an image a box starts at 0; these are shifted by one pixel.",
            "For VOC files give --set data.one_based=true; it matters only "
            "where objects are a few pixels large.",
        )
