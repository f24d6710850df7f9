"""Images with more objects than a detector may give for one image."""

import math

from keras_retinanet.config.post_processing import MOST_DETECTIONS, USUAL_DETECTIONS
from keras_retinanet.data.records import Dataset


def most_objects(dataset: Dataset) -> int:
    """Return how many boxes to find the fullest image of `dataset` has."""
    return max((int((~record.ignore).sum()) for record in dataset.records), default=0)


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
