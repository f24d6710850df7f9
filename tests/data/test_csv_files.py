"""CSV: fizyr's rows, headers, class files, and what real files do wrong."""

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.sources import csv_files
from keras_retinanet.errors import UserError


def write_pictures(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (100, 60)).save(folder / name)


def load(folder, split="train", **options):
    return csv_files.load(DataConfig(source="csv", data_dir=str(folder), **options), split)


def counts(dataset):
    return {kind: len(what) for kind, what in dataset.problems.items()}


def test_rows_of_a_picture_may_lie_apart(tmp_path):
    write_pictures(tmp_path, "img/a.png", "img/b.png", "c.png")
    (tmp_path / "train.csv").write_text(
        "img/a.png,10,20,40,50.5,dog\nimg/b.png,,,,,\nc.png,,,,,\nimg/a.png,0,0,5,6,cat\n"
        "c.png,1,2,3,4,cat\n"
    )
    (tmp_path / "val.csv").write_text("c.png,1,1,9,9,ant\n")
    assert csv_files.splits(DataConfig(source="csv", data_dir=str(tmp_path))) == ["train", "val"]
    dataset = load(tmp_path)
    # The names of both files, so that both number alike.
    assert (dataset.class_names, dataset.class_ids) == (["ant", "cat", "dog"], [1, 2, 3])
    assert [r.file_name for r in dataset.records] == ["img/a.png", "img/b.png", "c.png"]
    assert [r.boxes.tolist() for r in dataset.records] == [
        [[10, 20, 40, 50.5], [0, 0, 5, 6]],
        [],
        [[1, 2, 3, 4]],
    ]
    assert dataset.records[0].classes.tolist() == [2, 1]
    assert (dataset.records[0].height, dataset.records[0].width) == (60, 100)
    assert not dataset.problems
    assert load(tmp_path, "val").records[0].classes.tolist() == [0]
    with pytest.raises(UserError, match="train, val"):
        load(tmp_path, "test")


def test_class_file_keeps_its_ids(tmp_path):
    write_pictures(tmp_path, "a.png")
    (tmp_path / "train.csv").write_text("a.png,1,1,9,9,cat\na.png,1,1,9,9,cow\n")
    (tmp_path / "names").write_text("dog,5\ncat,0\n")
    dataset = load(tmp_path, class_file=str(tmp_path / "names"))
    assert (dataset.class_names, dataset.class_ids) == (["cat", "dog"], [0, 5])
    assert dataset.records[0].classes.tolist() == [0]
    assert dataset.problems == {"undeclared class": ["train.csv, line 2: cow"]}
    # classes.csv beside the rows is taken by itself; a name a line counts from 1.
    (tmp_path / "classes.csv").write_text("cow\ncat\n")
    dataset = load(tmp_path)
    assert (dataset.class_names, dataset.class_ids) == (["cow", "cat"], [1, 2])
    assert dataset.records[0].classes.tolist() == [1, 0]


@pytest.mark.parametrize("content", ["cat,x\n", "cat,0\ncat,1\n", "cat,0\ndog,0\n", "a,1,2\n", ""])
def test_bad_class_file_is_named(tmp_path, content):
    write_pictures(tmp_path, "a.png")
    (tmp_path / "train.csv").write_text("a.png,1,1,9,9,cat\n")
    (tmp_path / "classes.csv").write_text(content)
    with pytest.raises(UserError, match=r"classes\.csv"):
        load(tmp_path)


def test_header_says_which_column_is_which(tmp_path):
    write_pictures(tmp_path, "train/a.png")
    (tmp_path / "train/_annotations.csv").write_text(
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,100,60,cat,10,20,30,40\n"
    )
    record = load(tmp_path).records[0]
    assert record.boxes.tolist() == [[10, 20, 30, 40]]
    (tmp_path / "train.csv").write_text("path,x1,y1,x2,y2,class\ntrain/a.png,1,2,3,4,cat\n")
    assert load(tmp_path).records[0].boxes.tolist() == [[1, 2, 3, 4]]
    (tmp_path / "train.csv").write_text("path,a,b,c,d,class\ntrain/a.png,1,2,3,4,cat\n")
    with pytest.raises(UserError, match=r"train\.csv, line 1: path,a,b,c,d,class"):
        load(tmp_path)


def test_bytes_as_other_programs_write_them(tmp_path):
    write_pictures(tmp_path, "größe, 猫.png")
    (tmp_path / "train.csv").write_bytes(
        '\ufeff"größe, 猫.png", 1, 2, 3, 4, "кот"\r\n\r\n,,,,,\r\n'.encode()
    )
    dataset = load(tmp_path)
    assert dataset.class_names == ["кот"] and not dataset.problems
    assert dataset.records[0].boxes.tolist() == [[1, 2, 3, 4]]


def test_what_is_wrong_with_rows_is_counted_with_its_line(tmp_path):
    write_pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "text.png").write_bytes(b"words")
    rows = [
        "a.png,1,1,9,9,cat",
        "a.png,1,1,9,cat",
        "a.png,one,1,9,9,cat",
        '"a.\npng",1,,9,9,cat',
        "a.png,1_0,1,99,9,cat",
        "a.png,1,1,9,9,",
        "a.png,nan,1,9,9,cat",
        "a.png,1e999,1,9,9,cat",
        "a.png,9,9,1,1,cat",
        "a.png,5,5,5,9,cat",
        "a.png,500,5,600,9,cat",
        "gone.png,1,1,9,9,cat",
        "../out.png,1,1,9,9,cat",
        f"{tmp_path.parent}/out.png,1,1,9,9,cat",
        ".\\B.png,1,1,9,9,cat",
        "b.PNG,2,2,9,9,cat",
        "text.png,1,1,9,9,cat",
    ]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    dataset = load(tmp_path)
    assert counts(dataset) == {
        "malformed annotation": 5,
        "box not finite": 2,
        "box with swapped corners": 1,
        "box without area": 1,
        "box outside the picture": 1,
        "missing picture": 1,
        "picture outside the data folder": 2,
        "picture name in another case": 2,
        "unreadable picture": 1,
    }
    assert dataset.problems["malformed annotation"][0] == "train.csv, line 2: a.png,1,1,9,cat"
    assert all("\n" not in what for kind in dataset.problems.values() for what in kind)
    assert dataset.problems["missing picture"] == ["gone.png (train.csv, line 13)"]
    # b.png under two names is one picture.
    assert [len(r.boxes) for r in dataset.records] == [2, 2]
    write_pictures(tmp_path.parent, "out.png")
    outside = load(tmp_path, allow_outside=True)
    assert [len(r.boxes) for r in outside.records] == [2, 2, 2]
    with pytest.raises(UserError, match=r"train\.csv, line 2"):
        load(tmp_path, strict=True)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"a.png,1,1,9,9,cat\na.png,1,1,9,9,\xff\n", "line 2: not UTF-8"),
        ("a.png,1,1,9,9,cat\n".encode("utf-16"), "line 1: not UTF-8"),
        (b'a.png,1,1,9,9,cat\na.png,"1,1,9,9,cat\nb.png,1,2,3,4,cat\n', "line 2: unexpected end"),
        (b'a.png,1,1,9,9,cat\n"' + b"x,\n" * 70_000, "line 2: field larger"),
        (b"a" * (1 << 21), "line 1: longer than"),
    ],
)
def test_broken_file_is_named_with_its_line(tmp_path, content, where):
    write_pictures(tmp_path, "a.png")
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"train\.csv, {where}"):
        load(tmp_path)


def test_one_named_file(tmp_path):
    write_pictures(tmp_path, "pictures/a.png")
    (tmp_path / "mine.csv").write_text("a.png,1,1,9,9,cat\n")
    config = DataConfig(
        source="csv", annotations=str(tmp_path / "mine.csv"), images=str(tmp_path / "pictures")
    )
    assert csv_files.splits(config) == [] and len(csv_files.load(config, None).records) == 1
    with pytest.raises(UserError, match=r"absent\.csv"):
        csv_files.load(DataConfig(source="csv", annotations="absent.csv"), None)
    (tmp_path / "mine.csv").unlink()
    with pytest.raises(UserError, match=r"train\.csv.*--annotations"):
        load(tmp_path)


def test_fizyr_form_of_a_real_set_keeps_every_box(real_coco, tmp_path):
    from keras_retinanet.data.sources import coco

    truth = coco.load(DataConfig(data_dir=str(real_coco)), "val")
    rows = [f"{name},{i}" for name, i in zip(truth.class_names, truth.class_ids, strict=True)]
    (tmp_path / "classes.csv").write_text("\n".join(rows))
    with open(tmp_path / "val.csv", "w") as stream:
        for record in truth.records:
            for box, index in zip(record.boxes.tolist(), record.classes, strict=True):
                sides = ",".join(map(repr, box))
                print(record.file_name, sides, truth.class_names[index], sep=",", file=stream)
    images = str(real_coco / "val2017")
    dataset = load(tmp_path, "val", images=images)
    assert dataset.class_ids == truth.class_ids
    by_name = {record.file_name: record for record in dataset.records}
    for record in truth.records:
        if len(record.boxes):
            np.testing.assert_array_equal(by_name[record.file_name].boxes, record.boxes)
            np.testing.assert_array_equal(by_name[record.file_name].classes, record.classes)


def test_lists_of_boxes_in_a_cell(tmp_path):
    write_pictures(tmp_path, "a.png", "b.png")
    rows = ['a,"[1.0, 2, 30, 40, 5,6,7,8]",dog', "b,,", "b,[],cat", "a,1 2 3 4,cat", "a,1 2 3,cat"]
    rows += ["a,1 2 3 four,cat", "a,{'x': 1},cat", "a,1 2 3 4,"]
    (tmp_path / "train.csv").write_text("image_id,bbox,label\n" + "\n".join(rows))
    dataset = load(tmp_path)
    first, second = dataset.records
    assert first.boxes.tolist() == [[1, 2, 31, 42], [5, 6, 12, 14], [1, 2, 4, 6]]
    assert first.classes.tolist() == [1, 1, 0] and len(second.boxes) == 0
    assert counts(dataset)["malformed annotation"] == 4


def test_without_a_class_column_there_is_one_class(tmp_path):
    write_pictures(tmp_path, "a.png")
    (tmp_path / "train.csv").write_text("image_id,width,height,bbox\na.png,100,60,1 2 3 4\n")
    assert load(tmp_path).class_names == ["object"]
    (tmp_path / "train.csv").write_text("image_id,bbox,animal\na.png,1 2 3 4,cat\n")
    with pytest.raises(UserError, match="image_id,bbox,animal"):
        load(tmp_path)


def test_columns_of_sizes_are_no_corners(tmp_path):
    write_pictures(tmp_path, "a.png")
    (tmp_path / "train.csv").write_text("path,x,y,w,h,class\na.png,1,2,30,40,cat\n")
    assert load(tmp_path).records[0].boxes.tolist() == [[1, 2, 31, 42]]


@pytest.mark.parametrize(
    ("header", "sides"),
    [
        ("path,x,y,w,h,rotation,class", "10,20,40,20"),
        ("path,xmin,ymin,xmax,ymax,angle,class", "10,20,50,40"),
        ("path,bbox,rotation,class", '"[10, 20, 40, 20]"'),
    ],
)
def test_a_turned_box_counts_as_its_bounds(header, sides, tmp_path):
    write_pictures(tmp_path, "a.png")
    rows = [f"a.png,{sides},{angle},cat" for angle in (90, -180, 0, "", 45, "x")]
    (tmp_path / "train.csv").write_text("\n".join([header, *rows]))
    dataset = load(tmp_path)
    # A quarter turn about (30, 30); by 45 degrees the half sides are (20 + 10) / root of 2.
    half = 30 / 2**0.5
    expected = [[20, 10, 40, 50], *[[10, 20, 50, 40]] * 3]
    expected.append([30 - half, 30 - half, 30 + half, 30 + half])
    np.testing.assert_allclose(dataset.records[0].boxes, expected, rtol=1e-6)
    assert counts(dataset) == {"rotated box": 2, "malformed annotation": 1}
