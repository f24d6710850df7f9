"""COCO files: the real sample's counts, all layouts, and what real files do wrong."""

import json

import numpy as np
import pytest
from PIL import Image
from real_sets import CROWDS, IMAGES, SPLITS

from keras_retinanet.config import DataConfig
from keras_retinanet.data.loading import load_dataset, load_train_val
from keras_retinanet.data.sources import coco
from keras_retinanet.errors import UserError

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 2, "name": "cat"}]


def annotation(image_id=1, box=(10, 20, 30, 40), category=7, **more):
    return {"image_id": image_id, "category_id": category, "bbox": box} | more


def write_split(folder, images=None, annotations=None, *, path="annotations/instances_train.json"):
    """Writes an annotation file with one present picture a.png of 100 x 60 (w x h)."""
    content = {"categories": CATEGORIES}
    content["images"] = images or [{"id": 1, "file_name": "a.png", "height": 60, "width": 100}]
    content["annotations"] = [annotation()] if annotations is None else annotations
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    pictures = file.parent if "_annotations" in path else folder / "train"
    pictures.mkdir(exist_ok=True)
    Image.new("RGB", (100, 60)).save(pictures / "a.png")
    return file


def load(folder, split="train"):
    return coco.load(DataConfig(data_dir=str(folder)), split)


def test_tiny_coco(tiny_coco):
    train, val = load_train_val(DataConfig(data_dir=str(tiny_coco)))
    for dataset, boxes in ((train, 465), (val, 377)):
        ignore = np.concatenate([record.ignore for record in dataset.records])
        assert len(dataset.records) == 50 and not dataset.problems
        assert ((~ignore).sum(), ignore.sum()) == (boxes, 5)
    assert (train.split, val.split) == ("train2017", "val2017")
    assert len(train.class_names) == 80 and train.class_names[0] == "person"
    # The gaps in COCO's ids: 12 is missing, the last is 90.
    assert train.class_ids[10:12] == [11, 13] and train.class_ids[-1] == 90


def test_real_images(real_coco):
    train, val = load_train_val(DataConfig(data_dir=str(real_coco)))
    for dataset in (train, val):
        assert len(dataset.records) == IMAGES and not dataset.problems
        assert sum(record.ignore.sum() for record in dataset.records) == CROWDS
        assert min(len(record.boxes) for record in dataset.records) == 0
    assert (train.split, val.split) == SPLITS
    assert train.class_names == ["Platelets", "RBC", "WBC", "never seen"]
    assert train.class_ids == [2, 3, 13, 90]


@pytest.mark.parametrize("name", ["real_coco", "tiny_coco"])
def test_records_are_what_pycocotools_reads(request, name):
    from pycocotools.coco import COCO

    folder = request.getfixturevalue(name)
    truth = COCO(str(folder / "annotations/instances_val2017.json"))
    dataset = load(folder, "val")
    for record in dataset.records:
        rows = truth.loadAnns(truth.getAnnIds(record.image_id))
        boxes = np.array([row["bbox"] for row in rows]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_allclose(record.boxes, boxes, rtol=1e-6)
        np.testing.assert_allclose(record.areas, [row["area"] for row in rows], rtol=1e-6)
        original = [dataset.class_ids[c] for c in record.classes]
        assert original == [row["category_id"] for row in rows]
        assert record.ignore.tolist() == [bool(row["iscrowd"]) for row in rows]


def test_classes_are_contiguous_in_the_order_of_ids(tmp_path):
    write_split(tmp_path, annotations=[annotation(), annotation(category=2, iscrowd=1, area=9)])
    dataset = load(tmp_path)
    assert (dataset.class_names, dataset.class_ids) == (["cat", "dog"], [2, 7])
    record = dataset.records[0]
    assert record.classes.tolist() == [1, 0] and record.ignore.tolist() == [False, True]
    assert record.boxes[0].tolist() == [10, 20, 40, 60] and record.areas.tolist() == [1200, 9]
    assert dataset.read_bytes(0) == (tmp_path / "train/a.png").read_bytes()


def test_bad_entries_are_skipped_and_counted(tmp_path):
    images = [
        {"id": 1, "file_name": "a.png", "height": 60, "width": 100},
        {"id": 2, "file_name": "gone.png", "height": 60, "width": 100},
        {"id": 3, "file_name": "../../secret.png", "height": 60, "width": 100},
        {"id": 4, "file_name": str(tmp_path.parent / "secret.png"), "height": 60, "width": 100},
        {"id": 1, "file_name": "a.png", "height": 60, "width": 100},
        {"file_name": "a.png"},
        "words",
    ]
    annotations = [
        annotation(),
        annotation(category=99),
        annotation(box=[1, 2, 3]),
        annotation(box=[5, 5, 0, 5]),
        annotation(box="words"),
        annotation(image_id=50),
        "words",
    ]
    Image.new("RGB", (100, 60)).save(tmp_path.parent / "secret.png")
    write_split(tmp_path, images, annotations)
    dataset = load(tmp_path)
    assert [len(record.boxes) for record in dataset.records] == [1]
    assert {kind: len(what) for kind, what in dataset.problems.items()} == {
        "undeclared class": 1,
        "malformed annotation": 3,
        "box without area": 1,
        "annotations of an unlisted picture": 1,
        "missing picture": 1,
        "picture outside the data folder": 2,
        "picture id twice": 1,
        "malformed picture entry": 2,
    }


def test_size_comes_from_the_header_where_the_file_has_none(tmp_path):
    write_split(tmp_path, [{"id": 1, "file_name": "a.png"}])
    record = load(tmp_path).records[0]
    assert (record.height, record.width) == (60, 100)


@pytest.mark.parametrize("content", ["[1, 2]", '{"images": []}', '{"images": 3}', "null"])
def test_file_of_another_form_is_named(tmp_path, content):
    path = write_split(tmp_path)
    path.write_text(content)
    with pytest.raises(UserError, match=r"COCO's form.*instances_train\.json"):
        load(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_read(tmp_path, encoding):
    path = write_split(tmp_path)
    path.write_text(path.read_text(), encoding=encoding)
    assert load(tmp_path).class_names == ["cat", "dog"]


def test_whole_numbers_of_any_length_are_numbers(tmp_path):
    file = write_split(tmp_path, annotations=[annotation(box=[1, 2, 3, 123456789]), annotation()])
    file.write_text(file.read_text().replace("123456789", "9" * 5000))
    dataset = load(tmp_path)
    assert len(dataset.records[0].boxes) == 1
    assert list(dataset.problems) == ["box not finite"]


def test_the_last_of_two_equal_keys_counts(tmp_path):
    file = write_split(tmp_path)
    file.write_text(file.read_text().replace('"bbox"', '"bbox": [0, 0, 1, 1], "bbox"'))
    assert load(tmp_path).records[0].boxes.tolist() == [[10, 20, 40, 60]]


def test_texts_of_numbers_are_numbers_and_counted(tmp_path):
    images = [{"id": 1, "file_name": "a.png", "height": "60", "width": 100.0}]
    row = {"image_id": "1", "category_id": "7", "bbox": ["10", 20.0, 30, 40], "iscrowd": "1"}
    write_split(tmp_path, images, [row | {"area": "9.5"}])
    dataset = load(tmp_path)
    record = dataset.records[0]
    assert (record.height, record.width) == (60, 100)
    assert record.boxes.tolist() == [[10, 20, 40, 60]] and record.classes.tolist() == [1]
    assert record.ignore.tolist() == [True] and record.areas.tolist() == [9.5]
    assert {kind: len(what) for kind, what in dataset.problems.items()} == {"number as text": 6}
    assert dataset.problems["number as text"][2] == (
        "instances_train.json, annotations[0]: bbox ['10', 20.0, 30, 40]"
    )


def test_sizes_that_cannot_be_are_read_from_the_picture(tmp_path):
    for height in (0, -60, True, None, [60], float("nan"), 60.5, 10**400, 10**8, "words"):
        write_split(tmp_path, [{"id": 1, "file_name": "a.png", "height": height, "width": 100}])
        record = load(tmp_path).records[0]
        assert (record.height, record.width) == (60, 100)


def test_ids_of_texts_stay_texts(tmp_path):
    images = [{"id": "007", "file_name": "a.png"}]
    write_split(tmp_path, images, [annotation(image_id="007")])
    dataset = load(tmp_path)
    assert dataset.records[0].image_id == "007" and len(dataset.records[0].boxes) == 1
    assert not dataset.problems


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}],
        [{"name": "cat"}],
        [{"id": True, "name": "cat"}],
        [{"id": "one", "name": "cat"}],
        [{"id": 1, "name": None}],
        [{"id": 1, "name": "\ud800"}],
        ["cat"],
    ],
)
def test_categories_that_cannot_be_told_apart_are_refused(tmp_path, rows):
    file = write_split(tmp_path)
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"categories": rows}))
    with pytest.raises(UserError, match=r"Expected categories.*instances_train\.json"):
        load(tmp_path)


def test_roboflow(tmp_path):
    write_split(tmp_path, path="train/_annotations.coco.json")
    write_split(tmp_path, path="valid/_annotations.coco.json")
    train, val = load_train_val(DataConfig(data_dir=str(tmp_path)))
    assert (train.split, val.split) == ("train", "valid")
    assert train.records[0].image.path == str(tmp_path / "train/a.png")


def test_annotation_file_and_picture_folder(tmp_path):
    file = write_split(tmp_path)
    config = DataConfig(annotations=str(file), images=str(tmp_path / "train"))
    dataset = load_dataset(config)
    assert len(dataset.records) == 1 and dataset.split == "all"
    with pytest.raises(UserError, match="--images"):
        load_dataset(DataConfig(annotations=str(file)))
    with pytest.raises(UserError, match=r"absent\.json"):
        load_dataset(DataConfig(annotations="absent.json"))


def test_split_without_annotations(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "test2017").mkdir()
    Image.new("RGB", (100, 60)).save(tmp_path / "test2017/a.png")
    images = [{"id": 1, "file_name": "a.png", "height": 60, "width": 100}]
    file = tmp_path / "annotations/image_info_test-dev2017.json"
    file.write_text(json.dumps({"images": images, "categories": CATEGORIES}))
    dataset = load(tmp_path, "test-dev")
    assert not dataset.has_annotations and dataset.records[0].boxes.shape == (0, 4)
    with pytest.raises(UserError, match="not public"):
        load_train_val(DataConfig(data_dir=str(tmp_path), split="test-dev"))


def test_absent_folder_shows_the_layout(tmp_path):
    with pytest.raises(UserError, match=r"instances_train2017\.json.*--annotations"):
        load(tmp_path)


def test_two_ids_of_one_name_are_one_class(tmp_path):
    file = write_split(tmp_path)
    content = json.loads(file.read_text())
    content["categories"] = [{"id": 0, "name": "dog"}, {"id": 7, "name": "dog"}]
    file.write_text(json.dumps(content))
    dataset = load(tmp_path)
    assert (dataset.class_names, dataset.class_ids) == (["dog"], [7])
