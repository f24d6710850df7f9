"""The boxes of a split in columns.

Shape letters: N boxes, M images, K classes.
"""

from dataclasses import dataclass

import numpy as np

from keras_retinanet.data.records import Dataset


@dataclass(frozen=True, eq=False)
class BoxTable:
    """All boxes of one split.

    Attributes:
        boxes: (N, 4) float32 xyxy in pixels of the stored image, as annotated.
        sizes: (N, 2) float32 (height, width) of each box's image in pixels.
        classes: (N,) int32.
        ignore: (N,) bool.
        pictures: (N,) int32 index of each box's record.
        picture_sizes: (M, 2) int32 (height, width) of all the split's images.
    """

    split: str
    boxes: np.ndarray
    sizes: np.ndarray
    classes: np.ndarray
    ignore: np.ndarray
    pictures: np.ndarray
    picture_sizes: np.ndarray

    @property
    def empty(self) -> np.ndarray:
        """The numbers of the images that have no box, not even an ignored one."""
        return np.flatnonzero(np.bincount(self.pictures, minlength=len(self.picture_sizes)) == 0)

    @property
    def per_picture(self) -> np.ndarray:
        """The number of boxes (M,) of each image, ignored ones skipped."""
        return np.bincount(self.pictures[~self.ignore], minlength=len(self.picture_sizes))

    def class_counts(self, num_classes: int) -> np.ndarray:
        """Return the number of boxes (K,) of each class, ignored ones skipped."""
        return np.bincount(self.classes[~self.ignore], minlength=num_classes)


def box_table(dataset: Dataset) -> BoxTable:
    """Return the columns of one split; reads each record once."""
    records = list(dataset.records)
    counts = [len(record.boxes) for record in records]
    sizes = [(record.height, record.width) for record in records]
    picture_sizes = np.array(sizes, np.int32).reshape(-1, 2)
    pictures = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return BoxTable(
        split=dataset.split,
        boxes=np.concatenate([np.zeros((0, 4), np.float32), *(record.boxes for record in records)]),
        sizes=picture_sizes[pictures].astype(np.float32),
        classes=np.concatenate([np.zeros(0, np.int32), *(record.classes for record in records)]),
        ignore=np.concatenate([np.zeros(0, bool), *(record.ignore for record in records)]),
        pictures=pictures,
        picture_sizes=picture_sizes,
    )


def box_sides(boxes: np.ndarray) -> np.ndarray:
    """Return the square root of the area (N,) of boxes (N, 4), in pixels."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    return np.sqrt(np.maximum(width, 0) * np.maximum(height, 0))
