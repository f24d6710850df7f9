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
    def per_picture(self) -> np.ndarray:
        """The number of boxes (M,) of each image, ignored ones skipped."""
        return np.bincount(self.pictures[~self.ignore], minlength=len(self.picture_sizes))

    def class_counts(self, num_classes: int) -> np.ndarray:
        """Return the number of boxes (K,) of each class, ignored ones skipped."""
        return np.bincount(self.classes[~self.ignore], minlength=num_classes)


def box_table(dataset: Dataset) -> BoxTable:
    """Return the columns of one split; reads each record once."""
    counts, sizes, boxes, classes, ignore = [], [], [], [], []
    for record in dataset.records:
        counts.append(len(record.boxes))
        sizes.append((record.height, record.width))
        boxes.append(record.boxes)
        classes.append(record.classes)
        ignore.append(record.ignore)
    picture_sizes = np.array(sizes, np.int32).reshape(-1, 2)
    pictures = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return BoxTable(
        split=dataset.split,
        boxes=np.concatenate([np.zeros((0, 4), np.float32), *boxes]),
        sizes=picture_sizes[pictures].astype(np.float32),
        classes=np.concatenate([np.zeros(0, np.int32), *classes]),
        ignore=np.concatenate([np.zeros(0, bool), *ignore]),
        pictures=pictures,
        picture_sizes=picture_sizes,
    )


def box_sides(boxes: np.ndarray) -> np.ndarray:
    """Return the square root of the area (N,) of boxes (N, 4), in pixels."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    return np.sqrt(np.maximum(width, 0) * np.maximum(height, 0))
