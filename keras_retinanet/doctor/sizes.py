"""How large the boxes are for the network, and whether its anchors reach them.

Shape letters: N boxes, the ignored ones skipped.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from keras_retinanet.data.records import Dataset
from keras_retinanet.doctor.anchor_fitting import REACHED_IOU, best_ious, network_boxes
from keras_retinanet.doctor.box_table import BoxTable, box_sides
from keras_retinanet.doctor.findings import Example, Finding, percent
from keras_retinanet.modeling.anchors import Anchors
from keras_retinanet.modeling.preprocessing import Preprocessing

# One cell of P3, the finest level: objects within a cell share their features.
TINY_SIDE = 8.0
# Square root of the area in pixels of the network input, from each bound up to the next.
SIZE_BOUNDS = (0.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
# Below this an anchor is background (RetinaNet paper, section 4, "Anchors").
BACKGROUND_IOU = 0.4
SHOWN_EXAMPLES = 6
# From this share on it matters for the result.
MANY_TINY, MANY_UNREACHED = 0.05, 0.1


@dataclass(frozen=True, eq=False)
class InputBoxes:
    """The boxes of one split on the network's input.

    Attributes:
        sides: (N,) square root of the area in pixels.
        ratios: (N,) height / width.
        ious: (N,) the best IoU with any anchor.
        pictures: (N,) index of the record.
    """

    sides: np.ndarray
    ratios: np.ndarray
    ious: np.ndarray
    pictures: np.ndarray


def input_boxes(
    dataset: Dataset, table: BoxTable, preprocessing: Preprocessing, anchors: Anchors
) -> InputBoxes:
    """Return the sizes and best anchors of the boxes of one split."""
    boxes, canvases = network_boxes(dataset, preprocessing)
    width = np.maximum(boxes[:, 2] - boxes[:, 0], 1e-6)
    return InputBoxes(
        sides=box_sides(boxes),
        ratios=(boxes[:, 3] - boxes[:, 1]) / width,
        ious=best_ious(boxes, canvases, anchors),
        pictures=table.pictures[~table.ignore],
    )


@dataclass(frozen=True)
class SizeBin:
    """Boxes of one range of sizes, and how many of them no anchor reaches.

    Attributes:
        low, high: bounds of the square root of the area, in pixels of the network's input.
        below_half, background: boxes whose best IoU is below .5, and below .4 (part of the same).
    """

    low: float
    high: float
    count: int
    below_half: int
    background: int


def size_bins(inputs: Sequence[InputBoxes]) -> list[SizeBin]:
    """Return the boxes of all splits by size."""
    sides = np.concatenate([np.zeros(0), *(part.sides for part in inputs)])
    ious = np.concatenate([np.zeros(0), *(part.ious for part in inputs)])
    bounds = [*SIZE_BOUNDS, np.inf]
    bins = []
    for low, high in itertools.pairwise(bounds):
        inside = ious[(sides >= low) & (sides < high)]
        below_half, background = (inside < REACHED_IOU).sum(), (inside < BACKGROUND_IOU).sum()
        bins.append(SizeBin(low, high, len(inside), int(below_half), int(background)))
    return bins


def size_findings(
    datasets: Sequence[Dataset], inputs: Sequence[InputBoxes], input_name: str
) -> list[Finding]:
    """Return the findings on tiny boxes and on boxes without an anchor.

    Args:
        input_name: the input's size as the user gives it, such as "800,1333".
    """
    count = sum(len(part.sides) for part in inputs)
    if not count:
        return []
    tiny = [part.sides < TINY_SIDE for part in inputs]
    unreached = [part.ious < REACHED_IOU for part in inputs]
    background = sum(int((part.ious < BACKGROUND_IOU).sum()) for part in inputs)
    small = Finding(
        "tiny boxes",
        "note",
        f"Boxes below {TINY_SIDE:g} px at input size {input_name}",
        "They are smaller than one cell of the finest level: most are never found.",
        "Train at a larger --image_size, cut the images into tiles, or leave them.",
    )
    far = Finding(
        "unreached boxes",
        "note",
        f"Boxes that no anchor reaches with IoU {REACHED_IOU:g}",
        f"Without a positive anchor a box teaches nothing; {percent(background, count)} of all "
        f"stay below {BACKGROUND_IOU:g}, where even their best anchor learns background.",
        "Fit the anchors with `anchors fit`, or set train.matching.low_quality=true.",
    )
    return [
        *_filled(small, datasets, inputs=inputs, chosen=tiny, many=MANY_TINY),
        *_filled(far, datasets, inputs=inputs, chosen=unreached, many=MANY_UNREACHED),
    ]


def _filled(finding: Finding, datasets, *, inputs, chosen, many: float) -> Iterator[Finding]:
    """Yield `finding` with the images and the count of the boxes `chosen`, (N,) bool of each split.

    It is a warning from the share `many` of all boxes on; none are chosen: no finding.
    """
    items, examples = [], []
    for dataset, part, mask in zip(datasets, inputs, chosen, strict=True):
        pictures, counts = np.unique(part.pictures[mask], return_counts=True)
        items += [
            f"{dataset.split}: {dataset.records[index].file_name}: {number}"
            for index, number in zip(pictures, counts, strict=True)
        ]
        for index in pictures[np.argsort(-counts, kind="stable")][:SHOWN_EXAMPLES]:
            # From the columns, which leave ignored boxes out, to the record's own numbers.
            own = np.flatnonzero(~dataset.records[index].ignore)
            marked = own[mask[part.pictures == index]]
            examples.append(Example(dataset.split, int(index), tuple(marked.tolist())))
    number = sum(int(mask.sum()) for mask in chosen)
    count = sum(len(mask) for mask in chosen)
    if number:
        yield replace(
            finding,
            severity="warning" if number >= many * count else "note",
            title=f"{finding.title}: {number:,} of {count:,} ({percent(number, count)})",
            items=tuple(items),
            examples=tuple(examples[:SHOWN_EXAMPLES]),
        )
