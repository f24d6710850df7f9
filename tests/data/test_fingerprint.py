"""The fingerprint of a data set: equal for equal sets, another for each change."""

from dataclasses import replace

import numpy as np

from keras_retinanet.data.fingerprint import fingerprint
from keras_retinanet.data.records import Dataset, ImageRef, Record


def record(name="a.jpg", **changes):
    facts = {
        "image_id": name,
        "image": ImageRef(name),
        "height": 30,
        "width": 40,
        "boxes": np.array([[1, 2, 11, 12], [5, 6, 25, 26]], np.float32),
        "classes": np.array([0, 1], np.int32),
        "ignore": np.array([False, False]),
        "areas": np.array([100, 400], np.float32),
        "file_name": name,
    }
    return Record(**(facts | changes))


def dataset(records, names=("cat", "dog")):
    return Dataset("pets", "train", list(names), [1, 2], records)


def test_a_set_that_is_read_again_has_the_same_fingerprint():
    one, other = (dataset([record(), record("b.jpg")]) for _ in range(2))
    assert fingerprint(one) == fingerprint(other)
    moved = replace(one, records=[replace(r, image=ImageRef("/mnt/x")) for r in one.records])
    assert fingerprint(moved) == fingerprint(one)


def test_each_change_gives_another_fingerprint():
    two = [record(), record("b.jpg")]
    boxes = two[0].boxes + np.array([[0, 0, 0, 0.5], [0, 0, 0, 0]], np.float32)
    sets = [
        dataset(two),
        dataset(two[::-1]),
        dataset(two[:1]),
        dataset(two, names=("dog", "cat")),
        dataset([record(boxes=boxes), two[1]]),
        dataset([record(classes=np.array([1, 1], np.int32)), two[1]]),
        dataset([record(ignore=np.array([False, True])), two[1]]),
        dataset([record(height=31), two[1]]),
        dataset([record("\udce9.jpg"), two[1]]),
    ]
    assert len({fingerprint(each) for each in sets}) == len(sets)
