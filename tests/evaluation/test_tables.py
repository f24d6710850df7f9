"""Columns of ground truth and detections: what they hold, and COCO's forms there and back."""

import json

import numpy as np
import pytest

from keras_retinanet.data.records import Dataset, ImageRef, Record
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.coco_metric import ground_truth
from keras_retinanet.evaluation.results import coco_results
from keras_retinanet.evaluation.tables import (
    Found,
    Truths,
    evaluation_set,
    found_from_results,
    results_from_found,
    set_from_annotations,
    xywh_to_xyxy,
)
from keras_retinanet.modeling.detections import xyxy_to_xywh


def record(image_id, boxes, classes, *, ignore=None, size=(100, 120)):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Record(
        image_id=image_id,
        image=ImageRef(f"{image_id}.jpg"),
        height=size[0],
        width=size[1],
        boxes=boxes,
        classes=np.array(classes, np.int32),
        ignore=np.zeros(len(boxes), bool) if ignore is None else np.array(ignore),
        areas=np.full(len(boxes), 12.5, np.float32),
        file_name=f"{image_id}.jpg",
    )


def dataset(*records):
    return Dataset("set", "val", ["dog", "cat"], [3, 7], list(records))


def test_a_data_set_as_columns():
    made = evaluation_set(
        dataset(
            record(42, [[10, 20, 30, 60], [0, 0, 50, 50]], [1, 0], ignore=[False, True]),
            record(7, [], []),
            record(9, [[1.5, 2, 3, 4]], [1], size=(30, 40)),
        )
    )
    assert (made.image_ids, made.file_names) == ([42, 7, 9], ["42.jpg", "7.jpg", "9.jpg"])
    assert (made.class_names, made.class_ids) == (["dog", "cat"], [3, 7])
    assert made.sizes.tolist() == [[100, 120], [100, 120], [30, 40]]
    truths = made.truths
    assert truths.image.tolist() == [0, 0, 2]
    assert truths.classes.tolist() == [1, 0, 1]
    assert truths.boxes.tolist() == [[10, 20, 30, 60], [0, 0, 50, 50], [1.5, 2, 3, 4]]
    assert truths.xywh.tolist() == [[10, 20, 20, 40], [0, 0, 50, 50], [1.5, 2, 1.5, 2]]
    assert truths.areas.tolist() == [12.5] * 3
    assert truths.ignore.tolist() == [False, True, False]
    assert truths.boxes.dtype == truths.areas.dtype == np.float64
    assert truths.image.dtype == truths.classes.dtype == np.int32


def test_a_data_set_without_anything():
    made = evaluation_set(dataset())
    assert made.truths.boxes.shape == (0, 4)
    assert made.sizes.shape == (0, 2)
    assert evaluation_set(dataset(record(1, [], []))).truths.ignore.shape == (0,)


def test_columns_are_those_of_the_annotation_file_bit_for_bit(rng):
    corners = rng.uniform(0, 600, (50, 4)).astype(np.float32)
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:] + 1], axis=1)
    data = dataset(record("b", boxes[:30], [0] * 30), record("a", boxes[30:], [1] * 20))
    direct = evaluation_set(data)
    read = set_from_annotations(json.loads(json.dumps(ground_truth(data))))
    for name in ("image", "classes", "boxes", "xywh", "areas", "ignore"):
        np.testing.assert_array_equal(getattr(direct.truths, name), getattr(read.truths, name))
    assert direct.image_ids == read.image_ids == [1, 2]


def test_boxes_of_a_file_keep_their_sides():
    # (473.07 + 38.65) - 473.07 is not 38.65 in floating point.
    bbox = [473.07, 395.93, 38.65, 28.67]
    content = {
        "images": [{"id": 5}],
        "categories": [{"id": 2, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 2, "bbox": bbox}],
    }
    made = set_from_annotations(content)
    rows = [{"image_id": 5, "category_id": 2, "bbox": bbox, "score": 0.5}]
    found = found_from_results(rows, made)
    assert made.truths.xywh.tolist() == found.xywh.tolist() == [bbox]
    assert made.truths.areas[0] == bbox[2] * bbox[3]
    assert xyxy_to_xywh(found.boxes)[0, 2] != bbox[2]
    assert results_from_found(found, made) == rows
    assert (made.sizes.tolist(), made.file_names) == ([[0, 0]], ["5"])


def test_what_the_file_does_not_list_is_left_out():
    content = {
        "images": [{"id": 5}],
        "categories": [{"id": 2, "name": "cat"}, {"id": 1}],
        "annotations": [
            {"image_id": 5, "category_id": 2, "bbox": [0, 0, 1, 1]},
            {"image_id": 6, "category_id": 2, "bbox": [0, 0, 2, 2]},
            {"image_id": 5, "category_id": 9, "bbox": [0, 0, 3, 3]},
            {"image_id": 5, "category_id": 1, "bbox": [0, 0, 4, 4], "iscrowd": 1},
        ],
    }
    made = set_from_annotations(content)
    assert made.class_names == ["cat", "1"]
    assert made.truths.areas.tolist() == [1, 16]
    assert made.truths.ignore.tolist() == [False, True]


def test_own_results_give_back_the_corners(rng):
    made = evaluation_set(dataset(record(4, [], []), record(8, [], [])))
    boxes = rng.uniform(0, 300, (20, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    scores = rng.uniform(size=20).astype(np.float32)
    rows = coco_results(boxes, scores, category_ids=np.full(20, 7), image_id=8)
    found = found_from_results(rows, made)
    np.testing.assert_array_equal(found.boxes, boxes.astype(np.float64))
    np.testing.assert_array_equal(found.scores, scores.astype(np.float64))
    assert set(found.image) == {1} and set(found.classes) == {1}
    assert results_from_found(found, made) == rows


def test_rows_keep_their_order_and_unknown_classes_are_named():
    made = evaluation_set(dataset(record(4, [], [])))
    rows = [
        {"image_id": 4, "category_id": category, "bbox": [category, 0, 1, 1], "score": 0.5}
        for category in (7, 1, 3, 2, 7)
    ]
    with pytest.raises(UserError) as error:
        found_from_results(rows, made)
    assert "that the annotations declare: category_id 3, 7. Received: 2 of 5 detections with " in (
        str(error.value)
    )
    assert "category_id=1, 2. Write the original ids, and" in str(error.value)
    found = found_from_results([row for row in rows if row["category_id"] in (3, 7)], made)
    assert found.classes.tolist() == [1, 0, 1]
    assert found.boxes[:, 0].tolist() == [7, 3, 7]
    assert found_from_results([], made).boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bbox": [1, 2, 3]}, "entry 2 with ValueError"),
        ({"bbox": None}, "entry 2 with TypeError"),
        ({"bbox": [1, 2, 3, None]}, "entry 2 with TypeError"),
        ({"score": float("nan")}, "entry 2 with ValueError: a number is not finite"),
        ({"score": "high"}, "entry 2 with ValueError"),
        ({"image_id": 5}, "image_id=5"),
        ({"image_id": None}, "image_id=None"),
    ],
)
def test_faults_name_the_row(change, words):
    made = evaluation_set(dataset(record(4, [], [])))
    row = {"image_id": 4, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.5}
    with pytest.raises(UserError) as error:
        found_from_results([row, row | change], made)
    assert words in str(error.value)


@pytest.mark.parametrize("change", [{"bbox": [0, 0, None, 1]}, {"area": None}, {"area": "big"}])
def test_numbers_of_annotations_must_be_finite(change):
    row = {"image_id": 5, "category_id": 2, "bbox": [0, 0, 1, 1]} | change
    content = {"images": [{"id": 5}], "categories": [{"id": 2}], "annotations": [row]}
    with pytest.raises(UserError, match="COCO instances file"):
        set_from_annotations(content)


def test_corners_and_sides_undo_each_other():
    boxes = np.array([[1.0, 2, 3, 5], [0, 0, 0.5, 0.25]])
    np.testing.assert_array_equal(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes)
    columns = (np.zeros(2, np.int32), np.zeros(2, np.int32), boxes)
    assert Truths(*columns, np.ones(2), np.zeros(2, bool)).xywh.tolist()[0] == [1, 2, 2, 3]
    assert Found(*columns, np.ones(2)).xywh.tolist()[0] == [1, 2, 2, 3]
