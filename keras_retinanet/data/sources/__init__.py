"""One file a format, `SOURCES` by name, each giving a `Dataset`."""

from types import ModuleType

from keras_retinanet.data.sources import (
    coco,
    csv_files,
    kitti,
    openimages,
    shapes,
    tfds,
    tfrecord,
    voc,
    yolo,
)

# Each has `splits(config) -> list of names` (none: one set without splits) and
# `load(config, split name or None) -> Dataset`.
SOURCES: dict[str, ModuleType] = {
    "coco": coco,
    "csv": csv_files,
    "kitti": kitti,
    "openimages": openimages,
    "shapes": shapes,
    "tfds": tfds,
    "tfrecord": tfrecord,
    "voc": voc,
    "yolo": yolo,
}
