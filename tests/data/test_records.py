"""Records: boxes that teach nothing, class selection; and which split is meant."""

import numpy as np
import pytest

from keras_retinanet.config import DataConfig
from keras_retinanet.data.loading import SOURCES, load_dataset, load_train_val
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import (
    Dataset,
    ImageRef,
    align_classes,
    make_record,
    read_slice,
    select_classes,
)
from keras_retinanet.data.splits import match_split, random_split, training_splits
from keras_retinanet.errors import UserError


def record(objects, image_id=1):
    problems = Problems()
    made = make_record(
        image_id,
        ImageRef("a.jpg"),
        (100, 200),
        file_name="a.jpg",
        objects=objects,
        problems=problems,
    )
    return made, problems


def dataset(count=1, names=("cat", "dog", "owl")):
    objects = [((i, 0, i + 10, 10), i, False, None) for i in range(len(names))]
    records = [record(objects, image_id)[0] for image_id in range(count)]
    return Dataset("set", "train", list(names), [3, 5, 9][: len(names)], records)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("box", "kinds"),
    [
        ((5, 5, 5, 9), ["box without area"]),
        ((5, 5, 9, 5), ["box without area"]),
        # Apart as float64, one number as float32.
        ((1e9, 0, 1e9 + 1, 5), ["box without area"]),
        ((NAN, 0, 5, 5), ["box not finite"]),
        ((0, 0, 5, NAN), ["box not finite"]),
        ((0, 0, INF, 5), ["box not finite"]),
        ((-INF, 0, INF, 5), ["box not finite"]),
        ((0, 0, 1e300, 5), ["box not finite"]),
        ((-1e38, -1e38, 1e38, 1e38), ["box not finite"]),
        ((200, 0, 210, 5), ["box outside the picture"]),
        ((0, -9, 5, 0), ["box outside the picture"]),
        ((250, 50, 240, 40), ["box with swapped corners", "box outside the picture"]),
    ],
)
def test_boxes_that_teach_nothing_are_dropped_and_named(box, kinds):
    made, problems = record([((1, 2, 3, 4), 0, False, None), (box, 1, False, None)])
    assert made.boxes.tolist() == [[1, 2, 3, 4]]
    assert problems == {kind: [f"a.jpg {[float(side) for side in box]}"] for kind in kinds}


def test_boxes_that_are_repaired_are_counted():
    boxes = [(9, 5, 5, 8), (-5.0, 2.5, 500.0, 8.0), (-1, 0, 201, 100)]
    made, problems = record([(box, 1, False, None) for box in boxes])
    # Not clipped: the scoring must see the file's own boxes. A rounded pixel is not counted.
    assert made.boxes.tolist() == [[5, 5, 9, 8], [-5, 2.5, 500, 8], [-1, 0, 201, 100]]
    np.testing.assert_allclose(made.areas, [12, 505 * 5.5, 20200])
    assert {kind: len(what) for kind, what in problems.items()} == {
        "box with swapped corners": 1,
        "box partly outside": 1,
    }


def test_record_without_objects_keeps_its_shapes():
    made, _ = record([])
    assert made.boxes.shape == (0, 4) and made.boxes.dtype == np.float32
    assert made.classes.shape == made.ignore.shape == made.areas.shape == (0,)
    assert made.ignore.dtype == bool and made.classes.dtype == np.int32


def test_annotations_own_area_is_kept():
    made, _ = record([((0, 0, 10, 10), 0, True, 42.0)])
    assert made.areas.tolist() == [42] and made.ignore.tolist() == [True]


def test_read_slice(tmp_path):
    path = tmp_path / "shard"
    path.write_bytes(b"0123456789")
    assert read_slice(ImageRef(str(path), 3, 4)) == b"3456"
    assert read_slice(ImageRef(str(path))) == b"0123456789"


def test_selected_classes_are_renumbered_in_their_order():
    chosen = select_classes(dataset(), ["owl", "cat"])
    assert (chosen.class_names, chosen.class_ids) == (["owl", "cat"], [9, 3])
    assert chosen.records[0].classes.tolist() == [1, 0]
    assert chosen.records[0].boxes[:, 0].tolist() == [0, 2]
    assert len(select_classes(dataset(), ["dog"]).records[0].areas) == 1


@pytest.mark.parametrize("names", [["cow"], ["cat", "cat"]])
def test_unknown_or_repeated_class_is_the_users_error(names):
    with pytest.raises(UserError, match="cat, dog, owl"):
        select_classes(dataset(), names)


def test_classes_of_two_splits_are_matched_by_name():
    other = dataset(names=("owl", "cat"))
    aligned = align_classes(other, dataset())
    assert aligned.class_names == ["cat", "dog", "owl"] and aligned.class_ids == [3, 5, 9]
    assert aligned.records[0].classes.tolist() == [2, 0]
    with pytest.raises(UserError, match="dog"):
        align_classes(dataset(), other)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("val", "val2017"), ("val2014", "val2014"), ("test-dev", "test-dev2017"), ("train", "train")],
)
def test_split_names_with_and_without_year(wanted, found):
    available = ["train", "train2014", "val2014", "val2017", "test-dev2017"]
    assert match_split(wanted, available, "x") == found


def test_roboflow_calls_validation_valid():
    assert match_split("val", ["train", "valid"], "x") == "valid"


def test_unknown_split_lists_those_there():
    with pytest.raises(UserError, match=r"train, val.*split=tset"):
        match_split("tset", ["train", "val"], "x")


@pytest.mark.parametrize(
    ("available", "split", "val_split", "expected"),
    [
        (["train", "val", "trainval"], None, None, ("train", "val")),
        (["trainval", "test"], None, None, ("trainval", None)),
        (["train", "val", "trainval"], "trainval", None, ("trainval", None)),
        (["train", "val"], "val", None, ("val", None)),
        (["train", "val", "test"], None, "test", ("train", "test")),
        (["things"], None, None, ("things", None)),
    ],
)
def test_which_splits_train_and_validate(available, split, val_split, expected):
    assert training_splits(available, split, val_split, "x") == expected


def test_random_split_is_a_partition_by_seed():
    whole = dataset(count=30)
    train, val = random_split(whole, seed=1)
    ids = [[r.image_id for r in part.records] for part in (train, val)]
    assert len(ids[1]) == 3 and sorted(ids[0] + ids[1]) == list(range(30))
    assert ids[0] == sorted(ids[0])
    assert [r.image_id for r in random_split(whole, seed=1)[1].records] == ids[1]
    assert [r.image_id for r in random_split(whole, seed=2)[1].records] != ids[1]
    with pytest.raises(UserError, match="at least 2"):
        random_split(dataset(count=1), seed=0)


def test_unknown_source_lists_the_known():
    with pytest.raises(UserError, match=", ".join(SOURCES)):
        load_dataset(DataConfig(source="cocoo"))


def test_classes_and_splits_of_a_source():
    config = DataConfig(source="shapes", shapes_train=5, shapes_val=2, classes=("star", "circle"))
    train, val = load_train_val(config)
    assert val is not None and train.class_names == val.class_names == ["star", "circle"]
    assert (len(train.records), len(val.records), len(load_dataset(config).records)) == (5, 2, 2)
    assert load_dataset(config, "train").class_ids == [4, 1]
    none = DataConfig(source="shapes", shapes_train=2, val_split="none")
    assert load_train_val(none)[1] is None
