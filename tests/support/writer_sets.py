"""What the tests of writers share: sets made in memory, and the comparison of two sets."""

import hashlib
import io

import numpy as np
from label_tools import Cvat, LabelStudio
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.data.sources import coco, csv_files, tfrecord, voc, yolo

READERS = {
    "coco": coco,
    "voc": voc,
    "csv": csv_files,
    "yolo": yolo,
    "tfrecord": tfrecord,
    "labelstudio": LabelStudio,
    "cvat": Cvat,
}
# They have no boxes to ignore.
WITHOUT_IGNORE = ("csv", "yolo", "labelstudio", "cvat")


def load_all(source, folder):
    config = DataConfig(data_dir=str(folder))
    return {split: READERS[source].load(config, split) for split in READERS[source].splits(config)}


def by_content(dataset):
    return {
        hashlib.sha256(dataset.read_bytes(index)).hexdigest(): record
        for index, record in enumerate(dataset.records)
    }


def assert_same(found, truth, *, without_ignore=False, atol=1e-3):
    """Asserts equal pictures, boxes and classes by name; returns the number of boxes."""
    found_by, truth_by = by_content(found), by_content(truth)
    assert found_by.keys() == truth_by.keys()
    for key, true in truth_by.items():
        read, kept = found_by[key], ~true.ignore if without_ignore else slice(None)
        assert (read.height, read.width) == (true.height, true.width)
        np.testing.assert_allclose(read.boxes, true.boxes[kept], atol=atol, rtol=0)
        names = [found.class_names[index] for index in read.classes]
        assert names == [truth.class_names[index] for index in true.classes[kept]]
        if not without_ignore:
            np.testing.assert_array_equal(read.ignore, true.ignore)
    return sum(len(record.boxes) for record in found.records)


def encoded(kind="PNG", seed=0):
    stream = io.BytesIO()
    content = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(content).save(stream, kind)
    return stream.getvalue()


def made_set(rows, *, split="train", names=("cat", "dog"), ids=(1, 2), contents=None):
    """Returns a data set in memory of rows (file name, objects) of 30 x 40 pictures."""
    problems = Problems()
    contents = contents or [encoded(seed=index) for index in range(len(rows))]
    records = [
        make_record(
            index, ImageRef(f"{split}:{index}"), (30, 40),
            file_name=name, objects=objects, problems=problems,
        )
        for index, (name, objects) in enumerate(rows)
    ]  # fmt: skip
    return Dataset(
        "made", split, list(names), list(ids), records, problems,
        reader=lambda image: contents[int(image.path.rpartition(":")[2])],
    )  # fmt: skip


CAT = ((1.5, 2.25, 10, 20), 0, False, None)
DOG = ((0, 0, 40, 30), 1, False, None)
CROWD = ((5, 5, 30, 20), 0, True, None)
