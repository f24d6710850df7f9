"""The held-out tenth: copies on one side, every class on both."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.data.holding_out import hold_out
from keras_retinanet.data.near_duplicates import alike_groups
from keras_retinanet.data.records import Dataset, ImageRef, Record
from keras_retinanet.data.splits import random_split


def scene(number):
    """Return an image of its own, smooth enough to be compared reduced."""
    cells = np.random.default_rng(number).integers(0, 255, (6, 8, 3), np.uint8)
    return Image.fromarray(cells).resize((160, 120), Image.Resampling.BILINEAR)


def encoded(image, **options):
    stream = io.BytesIO()
    image.save(stream, **options)
    return stream.getvalue()


def dataset(files, classes=None):
    """Return a data set of encoded images, by default each with a box of class 0."""
    records = []
    for number in range(len(files)):
        names = np.array([0] if classes is None else classes[number], np.int32)
        boxes = np.tile(np.float32([5, 5, 50, 50]), (len(names), 1))
        columns = boxes, names, np.zeros(len(names), bool), np.full(len(names), 2025.0)
        ref = ImageRef("images", number)
        records.append(Record(number, ref, 120, 160, *columns, f"{number}.png"))
    names = [f"class {number}" for number in range(9)]
    options = {"reader": lambda image: files[image.offset]}
    return Dataset("set", "all", names, list(range(9)), records, **options)


def ids(part):
    return [record.image_id for record in part.records]


@pytest.fixture(scope="module")
def different():
    return [encoded(scene(number), format="png") for number in range(40)]


def test_without_copies_or_rare_classes_the_split_is_the_plain_one(different):
    for seed in range(5):
        train, val = random_split(dataset(different), seed)
        plain = np.random.default_rng(seed).permutation(40)[:4]
        assert ids(val) == sorted(plain.tolist())
        assert sorted(ids(train) + ids(val)) == list(range(40))


def test_copies_and_near_copies_are_one_group(different):
    near = [encoded(scene(4), format="jpeg", quality=60),
            encoded(scene(4).resize((320, 240)), format="png")]  # fmt: skip
    files = [*different[:6], different[2], *near, b"broken"]
    assert alike_groups(dataset(files)) == [[2, 6], [4, 7, 8]]


def test_beyond_many_images_bytes_alone_are_compared(different, monkeypatch):
    monkeypatch.setattr("keras_retinanet.data.near_duplicates.MANY_IMAGES", 3)
    files = [*different[:3], different[2], encoded(scene(1), format="jpeg")]
    assert alike_groups(dataset(files)) == [[2, 3]]


def test_copies_stay_on_one_side_for_every_seed(different):
    files = [*different[:20], *(encoded(scene(n), format="jpeg", quality=70) for n in range(20))]
    for seed in range(10):
        train, val = random_split(dataset(files), seed)
        assert len(val.records) == 4
        assert {number % 20 for number in ids(train)}.isdisjoint(n % 20 for n in ids(val))
        assert ids(random_split(dataset(files), seed)[1]) == ids(val)


def test_a_rare_class_is_on_both_sides(different):
    classes = [[0]] * 36 + [[0, 1], [1], [0, 2], [2, 2]]
    for seed in range(10):
        train, val = random_split(dataset(different, classes), seed)
        for part in (train, val):
            assert {name for record in part.records for name in record.classes} == {0, 1, 2}
        assert len(val.records) == 4


def test_a_class_of_one_image_or_one_group_moves_nothing():
    order, nothing = list(range(20)), [{0}] * 18
    assert hold_out(order, [], [*nothing, {1}, {0}], wanted=2) == {0, 1}
    assert hold_out(order, [[18, 19]], [*nothing, {1}, {1}], wanted=2) == {0, 1}
    assert hold_out(order, [], [*nothing, {1}, {1}], wanted=2) == {0, 18}


def test_a_group_larger_than_the_part_is_left_to_train_on():
    order = [3, 0, 1, 2, 4, 5]
    assert hold_out(order, [[1, 2, 3]], [{0}] * 6, wanted=2) == {0, 4}
    # Where there is nothing smaller, the smallest group is held out; one alone is parted.
    assert hold_out(order, [[0, 1, 2, 3], [4, 5]], [{0}] * 6, wanted=1) == {4, 5}
    assert hold_out(order, [[0, 1, 2, 3, 4, 5]], [{0}] * 6, wanted=1) == {3}
