"""Open Images: its columns, groups, the hierarchy, the part that is there, and broken files."""

import json

import pytest
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.sources import openimages
from keras_retinanet.errors import UserError

HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
    "IsDepiction,IsInside\n"
)
CLASSES = "/m/cat,Cat\n/m/animal,Animal\n/m/car,Car\n/m/pet,Pet\n"
HIERARCHY = {
    "LabelName": "/m/0bl9f",
    "Subcategory": [
        {"LabelName": "/m/car", "Part": [{"LabelName": "/m/wheel"}]},
        {
            "LabelName": "/m/animal",
            "Subcategory": [
                {"LabelName": "/m/mammal", "Subcategory": [{"LabelName": "/m/cat"}]},
            ],
        },
        {"LabelName": "/m/pet", "Subcategory": [{"LabelName": "/m/cat"}]},
    ],
}


def row(image="a", label="/m/cat", sides=".1,.5,.2,.8", group=0):
    return f"{image},xclick,{label},1,{sides},0,1,{group},0,0\n"


def write(folder, *rows, pictures=("a",), split="train", prefix=""):
    (folder / split).mkdir(parents=True, exist_ok=True)
    for name in pictures:
        Image.new("RGB", (200, 100)).save(folder / split / f"{name}.jpg")
    (folder / f"{prefix}{split}-annotations-bbox.csv").write_text(HEADER + "".join(rows))
    (folder / "class-descriptions-boxable.csv").write_text(CLASSES)
    (folder / "bbox_labels_600_hierarchy.json").write_text(json.dumps(HIERARCHY))


def load(folder, split="train", **options):
    return openimages.load(DataConfig(source="openimages", data_dir=str(folder), **options), split)


def test_rows_of_the_pictures_that_are_there(tmp_path):
    rows = [row("b"), row(), row("b", "/m/car", "0,1,0,1", group=1), row("absent")]
    write(tmp_path, *rows, pictures=("a", "b", "c"), prefix="oidv6-")
    write(tmp_path, row(), split="validation")
    config = DataConfig(source="openimages", data_dir=str(tmp_path))
    assert openimages.splits(config) == ["train", "validation"]
    dataset = load(tmp_path)
    assert dataset.class_names == ["Cat", "Animal", "Car", "Pet"]
    assert dataset.class_ids == [1, 2, 3, 4]
    assert [r.image_id for r in dataset.records] == ["a", "b"]
    first, second = dataset.records
    # XMin, XMax, YMin, YMax of a picture of 200 x 100.
    assert first.boxes.round(4).tolist() == [[20, 20, 100, 80]]
    assert second.boxes.round(4).tolist() == [[20, 20, 100, 80], [0, 0, 200, 100]]
    assert second.classes.tolist() == [0, 2] and second.ignore.tolist() == [False, True]
    # A picture without rows was never annotated; rows of other pictures are no problem.
    assert dataset.problems == {"missing annotation": ["c.jpg"]}
    assert len(load(tmp_path, "val").records) == 1


def test_hierarchy(tmp_path):
    write(tmp_path, row(), row(label="/m/car", group=1))
    record = load(tmp_path, hierarchy=True).records[0]
    # The cat is an animal by way of a label without a class here, and a pet; the root is no class.
    assert record.classes.tolist() == [0, 3, 1, 2] or record.classes.tolist() == [0, 1, 3, 2]
    assert len({tuple(box) for box in record.boxes[:3].tolist()}) == 1
    assert record.ignore.tolist() == [False, False, False, True]
    assert load(tmp_path).records[0].classes.tolist() == [0, 2]
    file = tmp_path / "bbox_labels_600_hierarchy.json"
    for content in ('{"LabelName": "a", ', "[" * 100_000, "[]", '{"LabelName": 3}', "\ud800"):
        file.write_bytes(content.encode("utf-8", "surrogatepass"))
        with pytest.raises(UserError, match=r"bbox_labels_600_hierarchy\.json"):
            load(tmp_path, hierarchy=True)
    file.unlink()
    with pytest.raises(UserError, match="hierarchy"):
        load(tmp_path, hierarchy=True)


def test_other_places(tmp_path):
    write(tmp_path, row())
    (tmp_path / "annotations").mkdir()
    for name in ("train-annotations-bbox.csv", "class-descriptions-boxable.csv"):
        (tmp_path / name).rename(tmp_path / "annotations" / name)
    (tmp_path / "images").mkdir()
    (tmp_path / "train").rename(tmp_path / "images/train")
    (tmp_path / "annotations/class-descriptions-boxable.csv").write_text(
        "LabelName,DisplayName\n" + CLASSES + "/m/cat2,Cat\n"
    )
    dataset = load(tmp_path)
    assert dataset.class_names[0] == "Cat" and len(dataset.class_names) == 4
    config = DataConfig(
        source="openimages",
        annotations=str(tmp_path / "annotations/train-annotations-bbox.csv"),
        images=str(tmp_path / "images/train"),
    )
    assert openimages.splits(config) == []
    assert len(openimages.load(config, None).records[0].boxes) == 1


def test_what_is_wrong_is_counted_with_its_line(tmp_path):
    rows = [row(), row(label="/m/what"), row(sides="x,1,0,1"), row(sides=".5,.1,.2,.8")]
    rows += [row(sides="nan,1,0,1"), row(sides=".1,.1,0,1"), row(sides="2,3,0,1"), "a,b\n", "x\n"]
    write(tmp_path, *rows, row("b", "/m/what"), row("w"), pictures=("a", "b", "w"))
    (tmp_path / "train/w.jpg").write_bytes(b"words")
    (tmp_path / "train/words.txt").write_text("words")
    dataset = load(tmp_path)
    assert [(r.image_id, len(r.boxes)) for r in dataset.records] == [("a", 2), ("b", 0)]
    assert {kind: len(what) for kind, what in dataset.problems.items()} == {
        "undeclared class": 2,
        "malformed annotation": 2,
        "unreadable picture": 1,
        "box with swapped corners": 1,
        "box not finite": 1,
        "box without area": 1,
        "box outside the picture": 1,
    }
    found = dataset.problems["undeclared class"][0]
    assert found == "train-annotations-bbox.csv, line 3: /m/what"
    with pytest.raises(UserError, match=r"line 3: /m/what"):
        load(tmp_path, strict=True)


def test_broken_files_are_named(tmp_path):
    write(tmp_path, row())
    boxes = tmp_path / "train-annotations-bbox.csv"
    for content, where in (
        ("", "line 1"),
        ("ImageID,Source\n", "line 1"),
        (HEADER + '"', "line 2"),
    ):
        boxes.write_text(content)
        with pytest.raises(UserError, match=rf"train-annotations-bbox\.csv, {where}"):
            load(tmp_path)
    write(tmp_path, row())
    classes = tmp_path / "class-descriptions-boxable.csv"
    classes.write_text("/m/cat\n")
    with pytest.raises(UserError, match=r"boxable\.csv, line 1"):
        load(tmp_path)
    classes.unlink()
    with pytest.raises(UserError, match="class-descriptions-boxable"):
        load(tmp_path)
    (tmp_path / "train/a.jpg").unlink()
    write(tmp_path, row(), pictures=())
    with pytest.raises(UserError, match="none there"):
        load(tmp_path)
    with pytest.raises(UserError, match=r"train-annotations-bbox\.csv.*--data_dir"):
        load(tmp_path / "absent")
