"""COCO's figures: the published ones, pycocotools' own wording, hand-made cases and faults."""

import contextlib
import copy
import csv
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_retinanet.data.records import Dataset, ImageRef, Record
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.coco_figures import FIGURES, per_class
from keras_retinanet.evaluation.metrics.coco_metric import (
    coco_metrics,
    format_metrics,
    ground_truth,
    match,
    score_files,
)
from keras_retinanet.evaluation.results import coco_results, write_coco_json, write_csv
from keras_retinanet.modeling.detections import Detections

# Published with the sample: 12 figures in the order of FIGURES.
PUBLISHED = [
    *(0.5045806987, 0.6969727247, 0.5729816670, 0.5856257209, 0.5193996948, 0.5013978986),
    *(0.3868127796, 0.5936795763, 0.5953529829, 0.6398109626, 0.5664205979, 0.5642905983),
]


@pytest.fixture(scope="module")
def sample(coco_sample):
    names = "instances_val2014_100.json", "instances_val2014_fakebbox100_results.json"
    return tuple(coco_sample / name for name in names)


def scene(annotations, categories=((7, "cat"), (3, "dog")), images=(1, 2)):
    """COCO content of 100x100 pictures; annotations are (image, category, bbox, crowd)."""
    return {
        "images": [{"id": i, "height": 100, "width": 100} for i in images],
        "categories": [{"id": i, "name": name} for i, name in categories],
        "annotations": [
            {"id": number, "image_id": image, "category_id": category, "bbox": bbox}
            | {"area": bbox[2] * bbox[3], "iscrowd": crowd}
            for number, (image, category, bbox, crowd) in enumerate(annotations, start=1)
        ],
    }


def hit(image, category, bbox, score=0.9):
    return {"image_id": image, "category_id": category, "bbox": bbox, "score": score}


def test_published_figures(sample):
    metrics = score_files(*sample)
    assert list(metrics) == list(FIGURES)
    # Ten digits are published.
    np.testing.assert_allclose(list(metrics.values()), PUBLISHED, rtol=0, atol=1e-9)


def test_published_figures_from_content_leave_it_unchanged(sample):
    annotations, detections = (json.loads(path.read_text()) for path in sample)
    before = copy.deepcopy((annotations, detections))
    metrics = coco_metrics(annotations, detections)
    np.testing.assert_allclose(list(metrics.values()), PUBLISHED, rtol=0, atol=1e-9)
    assert (annotations, detections) == before


def test_twelve_lines_are_those_of_pycocotools(sample):
    annotations, detections = map(str, sample)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(annotations)
        evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        evaluation.summarize()
    lines = format_metrics(score_files(*sample))
    assert lines + "\n" == printed.getvalue()
    assert lines.startswith(
        " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.505\n"
    )


def test_hand_made_scene():
    truth = scene(
        [(1, 7, [10, 10, 20, 20], 0), (2, 7, [0, 0, 50, 50], 0), (1, 3, [50, 50, 9, 9], 0)]
    )
    found = [
        hit(1, 7, [10, 10, 20, 20], 0.9),
        # IoU .7 with the box of picture 2: right at .50 .. .70, at 5 of 10 thresholds.
        hit(2, 7, [0, 0, 50, 35.01], 0.8),
    ]
    metrics, classes = coco_metrics(truth, found), per_class(match(truth, found))
    assert classes["cat"]["AP50"] == pytest.approx(1)
    # Recall 1 at five thresholds; at the other five precision 1 up to recall .5: 51 of 101 points.
    assert classes["cat"]["AP"] == pytest.approx(0.5 + 0.5 * 51 / 101)
    assert classes["dog"] == {"AP": 0.0, "AP50": 0.0}
    assert metrics["AP"] == pytest.approx(classes["cat"]["AP"] / 2)
    assert metrics["AP50"] == pytest.approx(0.5)
    assert metrics["AR100"] == pytest.approx((0.75 + 0) / 2)
    assert metrics["AP_large"] == -1


def test_annotation_with_id_zero_can_be_found():
    # pycocotools alone takes a match with annotation 0 for a miss.
    truth = scene([(1, 7, [10, 10, 20, 20], 0)])
    truth["annotations"][0]["id"] = 0
    assert coco_metrics(truth, [hit(1, 7, [10, 10, 20, 20])])["AP"] == pytest.approx(1)


def test_own_files_may_lack_area_and_iscrowd():
    truth = scene([(1, 7, [10, 10, 20, 20], 0)])
    for key in ("id", "area", "iscrowd"):
        del truth["annotations"][0][key]
    metrics = coco_metrics(truth, [hit(1, 7, [10, 10, 20, 20])])
    assert metrics["AP_small"] == metrics["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("annotations", "detections", "expected"),
    [
        ([(1, 7, [10, 10, 20, 20], 0)], [], 0),
        ([], [hit(1, 7, [10, 10, 20, 20])], -1),
        ([], [], -1),
        ([(1, 7, [10, 10, 20, 20], 1)], [hit(1, 7, [10, 10, 20, 20])], -1),
    ],
    ids=["no detection", "no box", "neither", "crowd only"],
)
def test_nothing_to_compare(annotations, detections, expected):
    truth = scene(annotations)
    assert coco_metrics(truth, detections)["AP"] == expected
    assert per_class(match(truth, detections))["cat"] == {"AP": expected, "AP50": expected}
    assert format_metrics(coco_metrics(truth, detections)).count("\n") == 11


def test_no_picture_and_no_class():
    assert set(coco_metrics(scene([], (), ()), []).values()) == {-1}


def test_crowd_takes_detections_out_of_the_count():
    truth = scene([(1, 7, [0, 0, 60, 60], 1), (1, 7, [70, 70, 20, 20], 0)])
    inside = [hit(1, 7, [x, x, 20, 20], 0.95) for x in (0, 15, 30)]
    assert coco_metrics(truth, [*inside, hit(1, 7, [70, 70, 20, 20])])["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{not json", "must be a JSON file"),
        ('{"a": 1}', "must be a JSON list"),
        ('[{"image_id": 1, "category_id": 7, "score": 0.5}]', "entry 1 with KeyError: 'bbox'"),
        ("[3]", "entry 1 with TypeError"),
        ('[{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3], "score": 0.5}]', "4 numbers"),
        ('[{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, NaN], "score": 0.5}]', "finite"),
        ('[{"image_id": [1], "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.5}]', "entry 1"),
        ('[{"image_id": 99, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.5}]', "image_id=99"),
        (
            '[{"image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4], "score": 0.5}]',
            "category_id=0",
        ),
    ],
)
def test_bad_results_file_is_one_clear_line(tmp_path, content, words):
    annotations, detections = tmp_path / "a.json", tmp_path / "d.json"
    annotations.write_text(json.dumps(scene([(1, 7, [10, 10, 20, 20], 0)])))
    detections.write_text(content)
    with pytest.raises(UserError) as error:
        score_files(annotations, detections)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "truth",
    [
        [],
        {"images": [], "categories": []},
        {"images": [{}], "categories": [], "annotations": []},
        {"images": [], "categories": [], "annotations": [{"image_id": 1, "category_id": 1}]},
        {"images": [], "categories": [], "annotations": ["box"]},
    ],
)
def test_bad_annotations_are_one_clear_line(truth):
    with pytest.raises(UserError, match="COCO instances file") as error:
        coco_metrics(truth, [])
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"Cannot read .*a\.json"):
        score_files(tmp_path / "a.json", tmp_path / "d.json")


def dataset(image_ids):
    record = {
        "image": ImageRef("a.jpg"),
        "height": 100,
        "width": 120,
        "boxes": np.array([[10, 20, 30, 60], [0, 0, 50, 50]], np.float32),
        "classes": np.array([1, 0], np.int32),
        "ignore": np.array([False, True]),
        "areas": np.array([512.5, 2500], np.float32),
        "file_name": "a.jpg",
    }
    records = [Record(image_id=image_id, **record) for image_id in image_ids]
    return Dataset("set", "val", ["dog", "cat"], [3, 7], records, {})


def test_ground_truth_of_a_data_set():
    truth = ground_truth(dataset([42]))
    assert truth["images"] == [{"id": 42, "file_name": "a.jpg", "height": 100, "width": 120}]
    assert truth["categories"] == [{"id": 3, "name": "dog"}, {"id": 7, "name": "cat"}]
    assert truth["annotations"] == [
        {"id": 1, "image_id": 42, "category_id": 7, "bbox": [10, 20, 20, 40]}
        | {"area": 512.5, "iscrowd": 0},
        {"id": 2, "image_id": 42, "category_id": 3, "bbox": [0, 0, 50, 50]}
        | {"area": 2500, "iscrowd": 1},
    ]
    json.dumps(truth)


def test_names_as_image_ids_become_numbers():
    truth = ground_truth(dataset(["b", "a"]))
    assert [image["id"] for image in truth["images"]] == [1, 2]
    assert [a["image_id"] for a in truth["annotations"]] == [1, 1, 2, 2]


def test_results_files(tmp_path):
    boxes = np.array([[1.5, 2, 11.5, 22]], np.float32)
    results = coco_results(boxes, np.array([0.5], np.float32), category_ids=[7], image_id=4)
    assert results == [hit(4, 7, [1.5, 2, 10, 20], 0.5)]
    write_coco_json(results, tmp_path / "d.json")
    assert json.loads((tmp_path / "d.json").read_text()) == results
    write_coco_json([], tmp_path / "d.json")
    assert json.loads((tmp_path / "d.json").read_text()) == []

    found = Detections(boxes, np.array([0.5], np.float32), np.array([1]), ["dog", "cat, black"])
    write_csv([("a,b.jpg", found)], tmp_path / "d.csv")
    with open(tmp_path / "d.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "x1", "y1", "x2", "y2", "class", "score"],
            ["a,b.jpg", "1.50", "2.00", "11.50", "22.00", "cat, black", "0.50000"],
        ]
