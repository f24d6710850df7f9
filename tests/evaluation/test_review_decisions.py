"""Accepted findings applied to labels; files that are none of the page's."""

import json

import numpy as np
import pytest
from writer_sets import CAT, CROWD, DOG, made_set

from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.review.decisions import Decision, corrected, read_decisions
from keras_retinanet.evaluation.review.judged_data import folds, reviewed_images

CAT_BOX, DOG_BOX, NEW = [1.5, 2.25, 10, 20], [0, 0, 40, 30], [20, 5, 30, 25]


def finding(kind, label, proposal, *, image_id="0", decision="accept"):
    return {
        "split": "train", "image_id": image_id, "image": "0.png", "kind": kind,
        "sure": 0.9, "cost": 0.1, "decision": decision,
        "label": label and {"box": label[0], "class": label[1]},
        "proposal": proposal and {"box": proposal[0], "class": proposal[1]},
    }  # fmt: skip


def apply(dataset, *rows):
    return corrected({"train": dataset}, [Decision.model_validate(row) for row in rows])["train"]


@pytest.mark.parametrize(
    ("row", "boxes", "classes", "areas"),
    [
        (
            finding("missing", None, (NEW, "dog")),
            [CAT_BOX, DOG_BOX, NEW],
            [0, 1, 1],
            [150.875, 1200, 200],
        ),
        (
            finding("class", (CAT_BOX, "cat"), (NEW, "dog")),
            [CAT_BOX, DOG_BOX],
            [1, 1],
            [150.875, 1200],
        ),
        (
            finding("loose", (CAT_BOX, "cat"), (NEW, "dog")),
            [NEW, DOG_BOX],
            [0, 1],
            [200, 1200],
        ),
        (finding("double", (CAT_BOX, "cat"), None), [DOG_BOX], [1], [1200]),
        (finding("nothing", (DOG_BOX, "dog"), None), [CAT_BOX], [0], [150.875]),
    ],
)
def test_an_accepted_finding_changes_its_label_alone(row, boxes, classes, areas):
    dataset = made_set([("0.png", [CAT, DOG, CROWD]), ("1.png", [CAT])])
    before = dataset.records[0].boxes.copy()
    record, other = apply(dataset, row).records
    kept = ~record.ignore
    np.testing.assert_array_equal(record.boxes[kept], np.array(boxes, np.float32))
    assert record.classes[kept].tolist() == classes
    np.testing.assert_allclose(record.areas[kept], areas, rtol=1e-6)
    assert record.ignore.sum() == 1
    assert other is dataset.records[1]
    np.testing.assert_array_equal(dataset.records[0].boxes, before)


def test_of_two_equal_labels_one_is_removed():
    row = finding("double", (CAT_BOX, "cat"), None)
    assert len(apply(made_set([("0.png", [CAT, CAT])]), row).records[0].boxes) == 1
    assert len(apply(made_set([("0.png", [CAT, CAT])]), row, row).records[0].boxes) == 0


def test_an_image_of_two_splits_is_corrected_in_both():
    train = made_set([("0.png", [CAT]), ("1.png", [])])
    splits = {"train": train, "trainval": train}
    joined, places = reviewed_images(splits)
    assert places == [("train", "0"), ("train", "1")] and len(joined.records) == 2
    row = Decision.model_validate(finding("nothing", (CAT_BOX, "cat"), None))
    for dataset in corrected(splits, [row]).values():
        assert [len(record.boxes) for record in dataset.records] == [0, 0]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (finding("nothing", (NEW, "cat"), None), "no box"),
        (finding("nothing", (CAT_BOX, "dog"), None), "no box"),
        (finding("nothing", (CAT_BOX, "horse"), None), "no class horse"),
        (finding("missing", None, (NEW, "horse")), "no class horse"),
        (finding("nothing", (CAT_BOX, "cat"), None, image_id="7"), "no such image"),
    ],
)
def test_decisions_about_other_data_are_refused(row, words):
    with pytest.raises(UserError, match=words):
        apply(made_set([("0.png", [CAT])]), row)


@pytest.mark.parametrize(
    "change",
    [
        {"review": 2},
        {"findings": [finding("missing", (CAT_BOX, "cat"), None)]},
        {"findings": [finding("class", (CAT_BOX, "cat"), None)]},
        {"findings": [finding("worse", (CAT_BOX, "cat"), None)]},
        {"findings": [finding("nothing", ([0, 0, 1, 1e300], "cat"), None)]},
        {"findings": [finding("nothing", (CAT_BOX, "cat"), None, decision="perhaps")]},
        {"findings": 3},
    ],
)
def test_other_files_are_no_decisions(tmp_path, change):
    path = tmp_path / "decisions.json"
    content = {"review": 1, "data": "made", "findings": []}
    path.write_text(json.dumps(content))
    assert read_decisions(path).accepted == []
    path.write_text(json.dumps(content | change))
    with pytest.raises(UserError, match="Save them again"):
        read_decisions(path)


def test_each_image_is_in_one_fold_and_like_ones_are_together():
    twin = made_set([("x.png", [])]).reader(made_set([("x.png", [])]).records[0].image)
    others = made_set([(str(index), []) for index in range(7)])
    contents = [twin, *(others.read_bytes(index) for index in range(1, 7)), twin]
    dataset = made_set([(str(index), []) for index in range(8)], contents=contents)
    parts = list(folds(dataset, 3, seed=4))
    assert sorted(index for _, part in parts for index in part) == list(range(8))
    assert {len(part) for _, part in parts} <= {2, 3}
    assert any({0, 7} <= set(part) for _, part in parts)
    for others, part in parts:
        names = {record.file_name for record in others.records}
        assert names == {str(index) for index in range(8)} - {str(index) for index in part}
    assert [part for _, part in folds(dataset, 3, seed=4)] == [part for _, part in parts]
    for count in (1, 5):
        with pytest.raises(UserError, match="folds"):
            list(folds(dataset, count, seed=4))
