"""How often each image is drawn in a pass over the data, so that rare classes come more often.

Repeat factors of Gupta et al. 2019, "LVIS", section "Repeat factor sampling". N images, K classes.
"""

import numpy as np

from keras_retinanet.data.pipeline.random_windows import windows_per_epoch
from keras_retinanet.data.records import Dataset

# Told apart from the stream that shuffles the same epoch.
ROUNDING_STREAM = 1


def repeat_factors(dataset: Dataset, threshold: float) -> np.ndarray:
    """Return (N,) float64, at least 1: how often a pass draws each image on average.

    The factor of a class is max(1, sqrt(threshold / f)), where f is the fraction of images with
    the class; that of an image is the largest of its classes'. Ignored boxes do not count.

    Args:
        threshold: classes in a smaller fraction of the images are repeated; 0: none.
    """
    count = len(dataset.records)
    if threshold == 0:
        return np.ones(count)
    classes = [np.unique(record.classes[~record.ignore]) for record in dataset.records]
    images = np.bincount(np.concatenate(classes), minlength=len(dataset.class_names))  # (K,)
    by_class = np.maximum(1.0, np.sqrt(threshold * count / np.maximum(images, 1)))
    return np.array([by_class[present].max(initial=1.0) for present in classes])


def draws_per_pass(dataset: Dataset, threshold: float, tile: int) -> np.ndarray:
    """Return (N,) float64: how often a pass draws each image, or windows of it with a `tile`."""
    return repeat_factors(dataset, threshold) * windows_per_epoch(dataset, tile)


def images_per_pass(dataset: Dataset, threshold: float, tile: int = 0) -> int:
    """Return how many images, or windows of them, a pass over the data draws on average."""
    return round(draws_per_pass(dataset, threshold, tile).sum())


def draw_epoch(factors: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return the images (int64, in order) that one epoch draws, each as often as its factor says.

    The fraction of a factor is the probability of one more, so that factors hold on average. All
    factors 1 draw each image once.
    """
    random = np.random.default_rng([seed, epoch, ROUNDING_STREAM])
    repeats = np.floor(factors + random.random(len(factors))).astype(np.int64)
    return np.repeat(np.arange(len(factors)), repeats)
