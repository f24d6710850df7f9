"""A user's function changes finished examples; what it breaks is one line that names the image."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.config import AugmentConfig, DataConfig
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.fetching import strict_errors
from keras_retinanet.data.pipeline.own_changes import Example, mistake, tidy
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.preprocessing import Preprocessing

SIDE = 64
PREPROCESSING = Preprocessing(short_side=SIDE, long_side=SIDE)
BOXES = [(4, 6, 30, 40), (20, 10, 60, 50), (0, 0, 64, 64)]

MODULE = """
import numpy as np


def mirror(image, boxes, classes, ignore, *, seed):
    assert image.dtype == np.uint8 and boxes.dtype == np.float32
    boxes[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]]
    image[:] = image[:, ::-1].copy()
    return image, boxes, classes, ignore


def draw(image, boxes, classes, ignore, *, seed):
    random = np.random.default_rng(seed)
    keep = random.random(len(boxes)) < 0.5
    image = random.integers(0, 256, image.shape, np.uint8)
    return image, boxes[keep], classes[keep], ignore[keep]


def wide(image, boxes, classes, ignore, *, seed):
    return image, boxes + 70, classes, ignore


def fails(image, boxes, classes, ignore, *, seed):
    raise KeyError("no such\\ntransform")


def nothing(image, boxes, classes, ignore, *, seed):
    pass


value = 3
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_augmentation.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_augmentation"


def write_dataset(folder, count=4):
    rng, records = np.random.default_rng(0), []
    for number in range(count):
        name = f"{number}.png"
        content = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(content).save(folder / name)
        objects = [(box, i, i == 1, None) for i, box in enumerate(BOXES)]
        record = make_record(
            number,
            ImageRef(str(folder / name)),
            (SIDE, SIDE),
            file_name=name,
            objects=objects,
            problems=Problems(),
        )
        records.append(record)
    return Dataset("set", "train", ["a", "b", "c"], [1, 2, 3], records)


def taken(dataset, count, *, augment, start_step=0):
    config = DataConfig(augment=augment, max_boxes="auto")
    batches = training_batches(
        dataset, PREPROCESSING, data_config=config, batch_size=2, seed=3, start_step=start_step
    )
    with strict_errors(dataset.problems):
        return list(itertools.islice(batches.as_numpy_iterator(), count))


@pytest.mark.long
def test_image_and_boxes_are_those_that_the_function_returns(tmp_path, own_module):
    dataset = write_dataset(tmp_path)
    plain = AugmentConfig(flip=0.0)
    mirrored = replace(plain, function=f"{own_module}:mirror")
    pairs = zip(taken(dataset, 3, augment=plain), taken(dataset, 3, augment=mirrored), strict=True)
    for (image, labels), (changed, found) in pairs:
        np.testing.assert_array_equal(changed, image[:, :, ::-1])
        x1, y1, x2, y2 = np.moveaxis(labels["boxes"], -1, 0)
        np.testing.assert_array_equal(found["boxes"], np.stack([64 - x2, y1, 64 - x1, y2], -1))
        for name in ("classes", "ignore"):
            np.testing.assert_array_equal(found[name], labels[name])


@pytest.mark.long
def test_the_seed_of_an_image_repeats_and_resumes(tmp_path, own_module):
    dataset = write_dataset(tmp_path)
    augment = AugmentConfig(flip=0.0, function=f"{own_module}:draw")
    whole = taken(dataset, 6, augment=augment)
    for start in (0, 3):
        rest = taken(dataset, 6 - start, augment=augment, start_step=start)
        for left, right in zip(whole[start:], rest, strict=True):
            np.testing.assert_array_equal(left[0], right[0])
            np.testing.assert_array_equal(left[1]["boxes"], right[1]["boxes"])
    assert len({image.tobytes() for images, _ in whole for image in images}) == 12
    # Flags and classes stay with their boxes: the second, of class 1, is ignored.
    for _, labels in whole:
        np.testing.assert_array_equal(labels["ignore"], labels["classes"] == 1)
        is_real = labels["classes"] >= 0
        expected = np.array(BOXES, np.float32)[labels["classes"][is_real]]
        np.testing.assert_array_equal(labels["boxes"][is_real], expected)
    counts = {int((row >= 0).sum()) for _, labels in whole for row in labels["classes"]}
    assert len(counts) > 1


@pytest.mark.long
def test_layers_come_before_the_function_and_leave_the_boxes(tmp_path, own_module):
    dataset = write_dataset(tmp_path)
    plain = AugmentConfig(flip=0.0)
    layered = replace(plain, layers=("RandomInvert", {"RandomBrightness": {"factor": 0.5}}))
    both = replace(layered, function=f"{own_module}:mirror")
    whole = taken(dataset, 4, augment=layered)
    rest = taken(dataset, 2, augment=layered, start_step=2)
    rows = zip(
        taken(dataset, 4, augment=plain), whole, taken(dataset, 4, augment=both), strict=True
    )
    for (image, labels), (changed, found), (mirrored, _) in rows:
        assert np.abs(changed - image).max() > 20
        np.testing.assert_array_equal(found["boxes"], labels["boxes"])
        np.testing.assert_array_equal(mirrored, np.round(changed)[:, :, ::-1])
    for left, right in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(left[0], right[0])


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wide", r"within 64 x 64 pixels. Received: 74, 76, 100, 110, for \d.png"),
        ("fails", r"Received: KeyError: 'no such.*transform' \(own_augmentation.py:24\), for \d"),
        ("nothing", r"return image, boxes, classes, ignore. Received: NoneType, for \d.png"),
    ],
)
def test_a_mistake_is_one_line_with_function_and_image(tmp_path, own_module, name, message):
    dataset = write_dataset(tmp_path)
    augment = AugmentConfig(flip=0.0, function=f"{own_module}:{name}")
    with pytest.raises(UserError, match=message) as caught:
        taken(dataset, 1, augment=augment)
    assert f"data.augment.function={own_module}:{name} " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mirror", "module:function. Received: mirror"),
        ("no_such_module_here:mirror", "that Python can import"),
        ("own_augmentation:absent", "that Python can import"),
        ("own_augmentation:value", "which is a int"),
    ],
)
def test_a_name_without_a_function_stops_before_an_image_is_read(
    tmp_path, own_module, name, message
):
    with pytest.raises(UserError, match=message):
        taken(write_dataset(tmp_path), 0, augment=AugmentConfig(function=name))


def test_a_blank_image_is_not_given_to_the_function(tmp_path, own_module):
    dataset = write_dataset(tmp_path)
    (tmp_path / "2.png").write_bytes(b"not an image")
    augment = AugmentConfig(flip=0.0, function=f"{own_module}:mirror")
    blank = [
        boxes
        for _, labels in taken(dataset, 4, augment=augment)
        for boxes in labels["boxes"]
        if boxes.min() < 0
    ]
    assert len(blank) == 2  # of two passes over the four images


GIVEN = Example(
    np.zeros((20, 30, 3), np.uint8),
    np.array([[1, 2, 9, 8], [3, 3, 30, 20]], np.float32),
    np.array([1, 0], np.int32),
    np.array([False, True]),
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"image": np.zeros((20, 30, 3), np.float32)}, r"shape \(20, 30, 3\), type float32"),
        ({"image": np.zeros((20, 31, 3), np.uint8)}, r"shape \(20, 31, 3\)"),
        ({"boxes": [[1, 2, 9, 8]]}, "of one length"),
        ({"boxes": [[1, 2], [3]]}, "rows of numbers"),
        ({"boxes": [["a", 2, 9, 8], [3, 3, 30, 20]]}, "rows of numbers"),
        ({"boxes": [[1, 2, np.nan, 8], [3, 3, 30, 20]]}, "Received: 1, 2, nan, 8"),
        ({"boxes": [[1, 2, 9, 8], [3, 3, 31.5, 20]]}, "Received: 3, 3, 31.5, 20"),
        ({"boxes": [[9, 2, 1, 8], [3, 3, 30, 20]]}, "with an area"),
        ({"classes": [1, 2]}, r"classes 0..1. Received: \[1.0, 2.0\]"),
        ({"classes": [1, 0.5]}, r"classes 0..1"),
        ({"ignore": [1, 2]}, "true or false"),
    ],
)
def test_what_cannot_be_used_is_said(change, expected):
    found = mistake(tuple(GIVEN._replace(**change)), GIVEN, class_count=2)
    assert re.search(expected, found), found


def test_more_boxes_than_given_are_refused():
    more = (GIVEN.image, *(np.concatenate([values] * 2) for values in GIVEN[1:]))
    assert "at most the 2 boxes it got. Received: 4" in mistake(more, GIVEN, class_count=2)


def test_a_rounded_pixel_is_cut_and_lists_are_taken():
    found = (GIVEN.image, [[-0.5, 2, 9, 8], [30.0, 3, 30.6, 20]], [1.0, 0.0], [0, 1])
    assert mistake(found, GIVEN, class_count=2) == ""
    boxes, classes, ignore = tidy(found, GIVEN)[1:]
    np.testing.assert_array_equal(boxes, [[0, 2, 9, 8]])  # the other has no area left
    assert (classes.tolist(), ignore.tolist()) == ([1], [False])
    assert (boxes.dtype, classes.dtype, ignore.dtype) == (np.float32, np.int32, bool)
    empty = (GIVEN.image, [], [], [])
    assert mistake(empty, GIVEN, class_count=2) == ""
    assert tidy(empty, GIVEN).boxes.shape == (0, 4)


@pytest.mark.parametrize("transform", ["flip", "rotate"])
def test_albumentations_keeps_boxes_classes_and_flags_in_step(
    tmp_path, monkeypatch, own_module, transform
):
    albumentations = pytest.importorskip("albumentations")
    import own_augmentation

    chosen = {
        "flip": albumentations.HorizontalFlip(p=1.0),
        "rotate": albumentations.Rotate(limit=40, p=1.0),
    }[transform]
    compose = albumentations.Compose(
        [chosen],
        bbox_params=albumentations.BboxParams("pascal_voc", label_fields=["classes", "ignore"]),
    )

    def change(image, boxes, classes, ignore, *, seed):
        compose.set_random_seed(seed)
        found = compose(image=image, bboxes=boxes, classes=classes, ignore=ignore)
        return found["image"], found["bboxes"], found["classes"], found["ignore"]

    monkeypatch.setattr(own_augmentation, "albumented", change, raising=False)
    dataset = write_dataset(tmp_path)
    augment = AugmentConfig(flip=0.0, function=f"{own_module}:albumented")
    runs = [taken(dataset, 3, augment=augment) for _ in range(2)]
    for (image, labels), (again, _) in zip(*runs, strict=True):
        np.testing.assert_array_equal(image, again)
        np.testing.assert_array_equal(labels["ignore"], labels["classes"] == 1)
    if transform == "flip":
        first = {box for _, labels in runs[0] for box in map(tuple, labels["boxes"][:, 0])}
        assert first == {(34.0, 6.0, 60.0, 40.0)}
