"""Which unlabeled images to label next: those that the model is uncertain of, unlike each other.

Shape letters: M images, N detections of an image, K classes.
"""

import numpy as np
from PIL import Image

from keras_retinanet.modeling.detections import Detections

# As many doubtful boxes make an image as uncertain as it can be: a crowd alone is no reason to
# label an image, for it is also more work.
MOST_UNCERTAIN = 10
# Side of the image, reduced, by which two images are compared: as in an average hash.
LOOK_SIDE = 8


def uncertainty(found: Detections, threshold: float | np.ndarray) -> float:
    """Return how uncertain a model is of an image, 0..1.

    A detection is most uncertain (1) at its threshold, where the model is undecided whether there
    is an object, and certain (0) with score 0 or 1. Of an image the mean of the ten most uncertain
    counts; fewer than ten are filled up with 0.

    Args:
        found: all detections, also those below the threshold.
        threshold: score from which on a detection is an object; (K,): of each class.
    """
    limits = np.broadcast_to(threshold, (len(found.class_names),))[found.classes]
    limits = np.clip(limits, 1e-6, 1 - 1e-6)
    scores = np.asarray(found.scores, np.float64)
    each = np.where(scores < limits, scores / limits, (1 - scores) / (1 - limits))
    return float(np.sort(each)[-MOST_UNCERTAIN:].sum() / MOST_UNCERTAIN)


def look(image: np.ndarray) -> np.ndarray:
    """Return the look of an image (H, W, 3) uint8: (192,) float32, by which others are compared."""
    small = Image.fromarray(image).resize((LOOK_SIDE, LOOK_SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel() / 255


def next_images(uncertainties: np.ndarray, looks: np.ndarray, count: int) -> list[int]:
    """Return the indices of the images to label, in their order.

    First the most uncertain one, then each time the one with the largest product of its
    uncertainty and its distance to the nearest image that is chosen already. So of two images that
    look the same only one is chosen while there are others.

    Args:
        uncertainties: (M,) 0..1.
        looks: (M, 192) float32.
        count: the budget; all M images where there are fewer.
    """
    chosen: list[int] = []
    distances = np.full(len(looks), np.inf)
    free = np.ones(len(looks), bool)
    for _ in range(min(count, len(looks))):
        gains = uncertainties * np.where(np.isinf(distances), 1.0, distances)
        # Among equals, such as images in which nothing is found, the most unlike one.
        order = np.lexsort((-np.arange(len(looks)), distances, gains, free))
        chosen.append(int(order[-1]))
        free[chosen[-1]] = False
        distances = np.minimum(distances, np.linalg.norm(looks - looks[chosen[-1]], axis=1))
    return chosen
