"""What a plan depends on: figures of the data, and of the class of machine.

Shape letters: M images, N boxes, K classes.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import psutil
import tensorflow as tf

from keras_retinanet.data.records import Dataset
from keras_retinanet.doctor.box_table import box_sides, box_table
from keras_retinanet.errors import counted
from keras_retinanet.evaluation.crowds import most_objects

GIB = 2**30
# Bounds within which boxes show no up and down: correlation of size and height in the image,
# logarithm of width / height, distance of the boxes' middle from the image's; and what it takes to
# be sure.
NO_TREND, NO_STRETCH, NO_SHIFT = 0.1, 0.1, 0.04
SURE_BOXES, SURE_PER_IMAGE = 200, 5


@dataclass(frozen=True, eq=False)
class DataFacts:
    """Figures of the images to train on; boxes to ignore are not counted.

    Attributes:
        dataset: the images themselves.
        sizes: (M, 2) int (height, width) in pixels.
        pixel_boxes, boxes: (N, 4) float xyxy in pixels, and divided by the sides of their images.
        sides: (N,) float, the square roots of the boxes' areas in pixels.
        relative_sides: (N,) float, those divided by the long sides of their images.
        class_images: (K,) int, the number of images with each class.
        most_objects: number of boxes of the fullest image, also of validation.
        val_images: number of images to validate on.
    """

    dataset: Dataset
    sizes: np.ndarray
    pixel_boxes: np.ndarray
    boxes: np.ndarray
    sides: np.ndarray
    relative_sides: np.ndarray
    class_images: np.ndarray
    most_objects: int
    val_images: int

    @property
    def class_names(self) -> list[str]:
        return self.dataset.class_names

    @property
    def images(self) -> int:
        return len(self.sizes)

    @cached_property
    def long_side(self) -> int:
        """The median long side of the images."""
        return int(np.median(self.sizes.max(axis=1)))

    @cached_property
    def aspect(self) -> float:
        """The median of short / long side."""
        return float(np.median(self.sizes.min(axis=1) / self.sizes.max(axis=1)))

    @cached_property
    def has_no_up(self) -> bool:
        """Whether the boxes look as from above: spread evenly, and as tall as wide everywhere.

        In photographs of the world, what is lower in the image is nearer and larger, and most
        objects stand or lie.
        """
        rows = self.boxes[:, 1::2].mean(axis=1)
        if len(rows) < max(SURE_BOXES, SURE_PER_IMAGE * self.images):
            return False
        width, height = (self.pixel_boxes[:, 2:] - self.pixel_boxes[:, :2]).T
        stretch = np.log(width / height).mean()
        trend = np.corrcoef(rows, np.log(self.relative_sides))[0, 1] if np.ptp(self.sides) else 0.0
        return bool(
            abs(stretch) < NO_STRETCH
            and abs(trend) < NO_TREND
            and abs(rows.mean() - 0.5) < NO_SHIFT
        )

    def __str__(self) -> str:
        size = f"{round(self.long_side * self.aspect)}x{self.long_side}"
        box = f" of about {np.median(self.sides):.0f} px" if len(self.sides) else ""
        return (
            f"{counted(self.images, 'image')} of about {size} px, "
            f"{counted(len(self.class_names), 'class')}, {counted(len(self.sides), 'box')}{box}, "
            f"up to {self.most_objects} in an image"
        )


def look_at(train: Dataset, val: Dataset | None) -> DataFacts:
    """Return the figures of a data set; its annotations alone are read."""
    table = box_table(train)
    kept = ~table.ignore
    # At the stored size: a box that its annotation lets stand out of the image counts whole.
    sides = box_sides(table.boxes)[kept]
    boxes = (table.boxes / np.tile(table.sizes[:, ::-1], 2))[kept]
    pairs = np.unique(np.stack([table.pictures, table.classes], axis=1)[kept], axis=0)
    return DataFacts(
        dataset=train,
        sizes=table.picture_sizes,
        pixel_boxes=table.boxes[kept],
        boxes=boxes,
        sides=sides,
        relative_sides=sides / table.sizes[kept].max(axis=1),
        class_images=np.bincount(pairs[:, 1], minlength=len(train.class_names)),
        most_objects=max(most_objects(data) for data in (train, val) if data is not None),
        val_images=0 if val is None else len(val.records),
    )


@dataclass(frozen=True)
class Machine:
    """A class of machines, coarse so that the same data has the same plan on all of one class.

    Attributes:
        cores: of the CPU that this process may use.
        memory: a power of two, GiB: the machine has at least that.
        gpus: number of GPUs.
        bfloat16: whether the GPUs multiply bfloat16 (compute capability 8.0 and later).
    """

    cores: int
    memory: int
    gpus: int = 0
    bfloat16: bool = False

    def __str__(self) -> str:
        gpus = counted(self.gpus, "GPU") if self.gpus else "no GPU"
        return f"{counted(self.cores, 'core')}, {self.memory} GiB or more, {gpus}"


def this_machine() -> Machine:
    """Return the class of this machine."""
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    capabilities = [d.get("compute_capability", (0, 0)) for d in details]
    total = psutil.virtual_memory().total
    return Machine(
        cores=len(psutil.Process().cpu_affinity()) or 1,
        # A machine sold as 16 GiB has a little less.
        memory=2 ** max(0, math.floor(math.log2(1.1 * total / GIB))),
        gpus=len(gpus),
        bfloat16=bool(gpus) and min(capabilities) >= (8, 0),
    )
