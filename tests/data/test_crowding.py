"""More boxes than there is room for: the first are kept, the others are ignored regions."""

import pytest
import tensorflow as tf

from keras_retinanet.config import AugmentConfig, DataConfig
from keras_retinanet.data.pipeline.crowding import (
    CROWDED,
    REGIONS,
    note_crowded,
    pad_labels,
    room_for_boxes,
)
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.modeling.labeling import BACKGROUND, IGNORED, AnchorLabeler

CANVAS = tf.constant([80, 160])  # cells of 20 x 40


def labels(boxes):
    return {
        "boxes": tf.reshape(tf.constant(boxes, tf.float32), [-1, 4]),
        "classes": tf.range(len(boxes)),
        "ignore": tf.zeros(len(boxes), tf.bool),
    }


def pad(boxes, max_boxes, regions=0):
    padded = pad_labels(labels(boxes), CANVAS, max_boxes=max_boxes, regions=regions)
    return {name: values.numpy() for name, values in padded.items()}


def test_padded_labels():
    padded = pad([[1, 2, 3, 4], [5, 6, 7, 8]], 3)
    assert padded["classes"].tolist() == [0, 1, -1]
    assert padded["boxes"][2].tolist() == [0, 0, 0, 0]
    assert padded["ignore"].tolist() == [False] * 3
    assert pad([], 2)["classes"].tolist() == [-1, -1]


def test_boxes_beyond_the_room_are_covered_by_regions_of_their_cells():
    boxes = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 2, 14, 9], [100, 50, 120, 60], [150, 70, 170, 90]]
    padded = pad(boxes, 1, REGIONS)
    assert padded["boxes"].shape == (1 + REGIONS, 4)
    # The second and third share a cell; the last stands out of the canvas.
    expected = [[1, 2, 3, 4], [5, 2, 14, 9], [100, 50, 120, 60], [150, 70, 170, 90]]
    assert padded["boxes"][:4].tolist() == expected
    assert padded["ignore"].tolist() == [False, True, True, True] + [False] * (REGIONS - 3)
    assert padded["classes"].tolist() == [0, 0, 0, 0] + [-1] * (REGIONS - 3)
    assert pad(boxes[:1], 1, REGIONS)["ignore"].sum() == 0


def make_dataset(*counts):
    problems = Problems()
    records = [
        make_record(
            number, ImageRef(f"{number}.png"), (50, 50), file_name=f"{number}.png",
            objects=[((1, 1, 9, 9), 0, False, None)] * count, problems=problems,
        )
        for number, count in enumerate(counts)
    ]  # fmt: skip
    return Dataset("drawn", "train", ["cat"], [1], records, problems)


@pytest.mark.parametrize(
    ("max_boxes", "augment", "room"),
    [
        (7, {}, (7, 0)),
        (6, {}, (6, REGIONS)),
        ("auto", {}, (7, 0)),
        (20, {"mosaic": 0.5}, (20, REGIONS)),
        ("auto", {"mosaic": 0.5}, (28, 0)),
        ("auto", {"mixup": 0.5}, (14, 0)),
    ],
)
def test_room_follows_the_fullest_image(max_boxes, augment, room):
    config = DataConfig(max_boxes=max_boxes, augment=AugmentConfig(**augment))
    assert room_for_boxes(make_dataset(0, 7, 2), config) == room


def test_crowded_images_are_counted_once():
    dataset = make_dataset(3, 5)
    note_crowded(dataset, DataConfig(max_boxes="auto"))
    assert not dataset.problems
    for _ in range(2):
        note_crowded(dataset, DataConfig(max_boxes=4))
    assert dataset.problems == {CROWDED: ["1.png (5 boxes)"]}


def test_an_anchor_in_a_region_is_neither_object_nor_background():
    padded = pad_labels(
        labels([[0, 0, 20, 20], [100, 40, 120, 60]]), CANVAS, max_boxes=1, regions=REGIONS
    )
    anchors = tf.constant([[0, 0, 20, 20], [100, 40, 120, 60], [60, 60, 80, 80]], tf.float32)
    batch = {name: values[None] for name, values in padded.items()}
    classes = AnchorLabeler()(anchors, batch).classes
    assert classes.numpy().tolist() == [[0, IGNORED, BACKGROUND]]
