"""Images with more objects than a detector may give for one image."""

import math
from collections.abc import Sequence

import numpy as np

from keras_retinanet.config.post_processing import MOST_DETECTIONS, USUAL_DETECTIONS
from keras_retinanet.config.tiles import TilesConfig
from keras_retinanet.data.records import Dataset, Record
from keras_retinanet.evaluation.tables import EvaluationSet
from keras_retinanet.modeling.tiling import tile_windows


def most_objects(dataset: Dataset, tiles: TilesConfig | None = None) -> int:
    """Return how many boxes to find the fullest image of `dataset` has.

    Args:
        tiles: those that a model detects in: the number is that of the fullest tile.
    """
    if tiles is None or not tiles.side:
        return max((int((~record.ignore).sum()) for record in dataset.records), default=0)
    return max((_most_in_a_tile(record, tiles) for record in dataset.records), default=0)


def _most_in_a_tile(record: Record, tiles: TilesConfig) -> int:
    windows = [(0, 0, record.width, record.height)] if tiles.whole else []
    found = tile_windows(record.height, record.width, tile=tiles.side, overlap=tiles.overlap)
    boxes = record.boxes[~record.ignore]
    return max(count_inside(boxes, window) for window in [*found.tolist(), *windows])


def count_inside(boxes: np.ndarray, window: Sequence[float]) -> int:
    """Return how many of `boxes` (N, 4) xyxy share an area with `window` xyxy."""
    left, top, right, bottom = window
    x1, y1, x2, y2 = boxes.T
    return int(((x1 < right) & (x2 > left) & (y1 < bottom) & (y2 > top)).sum())


def most_of_a_class(pictures: EvaluationSet) -> int:
    """Return how many boxes to find of one class the image with the most has."""
    wanted = pictures.truths.select(~pictures.truths.ignore)
    pairs = np.stack([wanted.image, wanted.classes], axis=1)
    return int(np.unique(pairs, axis=0, return_counts=True)[1].max(initial=0))


def counted_detections(pictures: EvaluationSet, *, in_tiles: bool) -> int:
    """Return how many detections of an image and class COCO's metrics should count.

    100, as everywhere; more where a detector in tiles, whose limit is one of each tile, is scored
    on images that have more objects. AP would be of the best 100 of them, else.
    """
    return max_detections_for(most_of_a_class(pictures)) if in_tiles else USUAL_DETECTIONS


def max_detections_for(most: int) -> int:
    """Return what a `max_detections` of "auto" is where an image has `most` objects."""
    if most <= USUAL_DETECTIONS:
        return USUAL_DETECTIONS
    # Wrong detections take places too, so that there are more than objects.
    hundreds = math.ceil(1.5 * most / 100)
    return min(100 * hundreds, MOST_DETECTIONS)


def crowd_warning(most: int, max_detections: int) -> list[str]:
    """Return a line that warns of images whose objects cannot all be found; none: no line.

    Args:
        most: `most_objects` of the data.
        max_detections: that of the detector, for each image.
    """
    if most <= max_detections:
        return []
    return [
        f"Warning: an image has {most:,} objects, but this model gives at most {max_detections:,} "
        "detections per image (model.detections.max_detections): recall, F1 and AP stay below what "
        "it could reach. Train with model.detections.max_detections=auto, or evaluate an export "
        f"with --max_detections {max_detections_for(most)}."
    ]
