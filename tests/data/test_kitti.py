"""KITTI: its columns, regions nobody annotated, splits, and what real files do wrong."""

import pytest
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.records import select_classes
from keras_retinanet.data.sources import kitti
from keras_retinanet.data.sources.recognition import recognise
from keras_retinanet.errors import UserError

# A row of the devkit's own example.
CAR = "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59"


def row(name, box="10 20 30 40", score=""):
    return f"{name} 0.00 0 -1.58 {box} 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59 {score}\n"


def write_picture(root, name, *rows, label=True):
    for folder in ("image_2", "label_2"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (1242, 375)).save(root / f"image_2/{name}.png")
    if label:
        (root / f"label_2/{name}.txt").write_text("".join(rows))


def load(folder, split=None, **options):
    return kitti.load(DataConfig(source="kitti", data_dir=str(folder), **options), split)


def test_rows(tmp_path):
    root = tmp_path / "training"
    write_picture(root, "000000", CAR + "\n", row("Misc"), row("Pedestrian", score="0.9"))
    write_picture(root, "000001", row("DontCare", "500 100 600.5 200"), row("Tram"))
    write_picture(root, "000002")
    assert kitti.splits(DataConfig(source="kitti", data_dir=str(tmp_path))) == []
    dataset = load(tmp_path)
    assert dataset.class_names == ["Car", "Pedestrian", "Tram", "Misc"]
    assert dataset.class_ids == [1, 2, 3, 4] and not dataset.problems
    first, second, third = dataset.records
    assert first.boxes[0].round(2).tolist() == pytest.approx([587.01, 173.33, 614.12, 200.12])
    assert first.classes.tolist() == [0, 3, 1] and not first.ignore.any()
    # Objects first, then the region once for each class: any class may hide in it.
    assert second.ignore.tolist() == [False] + [True] * 4
    assert second.classes.tolist() == [2, 0, 1, 2, 3]
    assert second.boxes[1:].tolist() == [[500, 100, 600.5, 200]] * 4
    assert (third.boxes.shape, third.height, third.width) == ((0, 4), 375, 1242)
    cars = select_classes(dataset, ["Car"])
    assert [record.ignore.tolist() for record in cars.records] == [[False], [True], []]


def test_folders_right_in_data_dir_and_other_names(tmp_path):
    write_picture(tmp_path, "a", row("zebra"), row("Van"), row("ant"))
    dataset = load(tmp_path)
    assert dataset.class_names == ["Van", "ant", "zebra"]
    assert dataset.records[0].classes.tolist() == [2, 0, 1]


@pytest.mark.parametrize("place", ["ImageSets", "training/ImageSets"])
def test_splits_number_the_classes_alike(tmp_path, place):
    root = tmp_path / "training"
    write_picture(root, "000000", row("Van"))
    write_picture(root, "000001", row("Car"))
    (tmp_path / place).mkdir()
    (tmp_path / place / "train.txt").write_text("000000\n\n000000\n")
    (tmp_path / place / "val.txt").write_text("000001\n000009\n../000000\n")
    # Its ids are those of testing/: the same numbers for other pictures.
    (tmp_path / place / "test.txt").write_text("000000\n")
    assert kitti.splits(DataConfig(source="kitti", data_dir=str(tmp_path))) == ["train", "val"]
    train, val = load(tmp_path, "train"), load(tmp_path, "val")
    assert train.class_names == val.class_names == ["Car", "Van"]
    assert [r.image_id for r in train.records] == ["000000"]
    assert [r.image_id for r in val.records] == ["000001"]
    assert val.problems == {"missing picture": ["000009", "../000000"]}
    assert len(load(tmp_path).records) == 2
    (tmp_path / place / "val.txt").write_bytes(b"000001\n\xff")
    with pytest.raises(UserError, match=r"val\.txt, line 2"):
        load(tmp_path, "val")


def test_what_is_wrong_is_counted_with_its_line(tmp_path):
    rows = ["Car 1 2 3\n", row("Car", "1 2 x 4"), row("Car", "nan 2 3 4"), row("Car", "9 9 3 4")]
    rows += [row("Car", "5 5 5 9"), row("Car", "2000 5 3000 9"), row("Car", score="1 2"), "\n"]
    write_picture(tmp_path, "a", *rows, row("Car"))
    write_picture(tmp_path, "bad")
    (tmp_path / "label_2/bad.txt").write_bytes(b"\n\xff")
    write_picture(tmp_path, "bare", label=False)
    (tmp_path / "label_2/lone.txt").write_text(row("Car"))
    write_picture(tmp_path, "words", row("Car"))
    (tmp_path / "image_2/words.png").write_bytes(b"words")
    dataset = load(tmp_path)
    assert [(r.image_id, len(r.boxes)) for r in dataset.records] == [("a", 2)]
    assert {kind: len(what) for kind, what in dataset.problems.items()} == {
        "malformed annotation": 3,
        "unreadable annotation": 1,
        "missing annotation": 1,
        "missing picture": 1,
        "unreadable picture": 1,
        "box not finite": 1,
        "box with swapped corners": 1,
        "box without area": 1,
        "box outside the picture": 1,
    }
    assert dataset.problems["malformed annotation"][0] == "a.txt, line 1: Car 1 2 3"
    assert dataset.problems["unreadable annotation"] == ["bad.txt, line 2: not UTF-8 text"]
    with pytest.raises(UserError, match=r"a\.txt, line 1"):
        load(tmp_path, strict=True)


def test_absent_folder_shows_the_layout(tmp_path):
    with pytest.raises(UserError, match=r"training/image_2.*--data_dir"):
        load(tmp_path)


@pytest.mark.parametrize("names", [("images", "labels"), ("data", "labels")])
def test_the_folders_of_other_tools_are_recognized_by_a_label(tmp_path, names):
    write_picture(tmp_path, "a", row("person"), row("bag", "1 2 30 40"))
    write_picture(tmp_path, "0")
    for ours, theirs in zip(("image_2", "label_2"), names, strict=True):
        (tmp_path / ours).rename(tmp_path / theirs)
    keys, why = recognise(tmp_path)
    assert keys == {"source": "kitti", "data_dir": str(tmp_path)}
    assert why.endswith("is recognized as kitti: labels/0.txt, labels/a.txt.")
    dataset = load(tmp_path)
    assert dataset.class_names == ["bag", "person"]
    assert [len(record.boxes) for record in dataset.records] == [0, 2]


def test_labels_of_another_form_are_not_taken_for_kitti(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for text in ("0 .5 .5 .1 .1\n", "1 " + "0.5 " * 14, "a b c d e f g h i j k l m n o\n"):
        (tmp_path / "labels/a.txt").write_text(text)
        with pytest.raises(UserError, match="Expected the files of one of these"):
            recognise(tmp_path)
