"""The formats that commands write data sets in."""

# Those of `data.writers.WRITERS`, which only a handler may import.
FORMS = ("coco", "voc", "csv", "yolo", "tfrecord", "labelstudio", "cvat")
