"""VOC folders: BCCD's counts, devkits and plain folders, and what real files do wrong."""

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.loading import load_dataset, load_train_val
from keras_retinanet.data.sources import voc
from keras_retinanet.errors import UserError

OBJECT = (
    "<object><name>{name}</name><part><name>head</name><bndbox><xmin>0</xmin></bndbox></part>"
    "<difficult>{difficult}</difficult><bndbox><xmin>{0}</xmin><ymin>{1}</ymin>"
    "<xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"
)


def write_picture(root, name, objects=(("cat", (1, 1, 100, 60), 0),), suffix=".jpg"):
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rows = [OBJECT.format(*box, name=label, difficult=hard) for label, box, hard in objects]
    xml = f"<annotation><filename>/etc/passwd</filename>{''.join(rows)}</annotation>"
    (root / "Annotations" / f"{name}.xml").write_text(xml, encoding="utf-8")
    Image.new("RGB", (100, 60)).save(root / "JPEGImages" / f"{name}{suffix}")


def write_split(root, split, names):
    text = "\n".join(names) + "\n"
    (root / "ImageSets/Main" / f"{split}.txt").write_text(text, encoding="utf-8")


def load(folder, split="train", **options):
    return voc.load(DataConfig(source="voc", data_dir=str(folder), **options), split)


def test_bccd(bccd):
    config = DataConfig(source="voc", data_dir=str(bccd))
    parts = {split: load_dataset(config, split) for split in ("train", "val", "test")}
    assert [len(part.records) for part in parts.values()] == [16, 8, 72]
    counts, problems = np.zeros(3, int), []
    for split in ("train", "val", "test"):
        part = parts[split]
        assert part.class_names == ["Platelets", "RBC", "WBC"] and part.class_ids == [1, 2, 3]
        counts += np.bincount(np.concatenate([r.classes for r in part.records]), minlength=3)
        problems += part.problems.get("box without area", [])
    # As counted in the XML files, without the two boxes that have no area.
    assert counts.tolist() == [98, 1190, 96]
    assert sorted(name.split()[0] for name in problems) == [
        "BloodImage_00338.jpg",
        "BloodImage_00343.jpg",
    ]
    everything = voc.load(config, None).records
    first = next(r for r in everything if r.image_id == "BloodImage_00000")
    assert len(everything) == 96
    # A plain folder: boxes as written.
    assert first.boxes[0].tolist() == [260, 177, 491, 376]


def test_devkit_boxes_lose_one_on_the_left_and_top(tmp_path):
    root = tmp_path / "VOC2007"
    write_picture(root, "000001", [("cat", (1, 1, 100, 60), 0), ("dog", (11, 5, 20, 30), 1)])
    write_split(root, "train", ["000001"])
    write_split(root, "cat_train", ["000001  1"])
    for folder in (tmp_path, root):
        dataset = load(folder)
        record = dataset.records[0]
        assert record.boxes.tolist() == [[0, 0, 100, 60], [10, 4, 20, 30]]
        assert record.ignore.tolist() == [False, True]
        assert len(dataset.class_names) == 20 and record.classes.tolist() == [7, 11]
    assert load(tmp_path, one_based=False).records[0].boxes[0].tolist() == [1, 1, 100, 60]
    assert voc.splits(DataConfig(source="voc", data_dir=str(tmp_path))) == ["train"]


def test_years_of_a_devkit(tmp_path):
    for year in ("2007", "2012"):
        write_picture(tmp_path / f"VOC{year}", f"{year}_1")
        write_split(tmp_path / f"VOC{year}", "train", [f"{year}_1"])
    assert [r.image_id for r in load(tmp_path).records] == ["2007_1", "2012_1"]
    for name in ("2012", "VOC2012"):
        assert [r.image_id for r in load(tmp_path, name=name).records] == ["2012_1"]
    with pytest.raises(UserError, match="VOC2007, VOC2012"):
        load(tmp_path, name="2010")


def test_own_classes_are_those_of_all_splits(tmp_path):
    write_picture(tmp_path, "a", [("zebra", (1, 1, 9, 9), 0)])
    write_picture(tmp_path, "b", [("ant", (1, 1, 9, 9), 0)], suffix=".PNG")
    write_split(tmp_path, "train", ["a"])
    write_split(tmp_path, "val", ["b"])
    train, val = load_train_val(DataConfig(source="voc", data_dir=str(tmp_path)))
    assert train.class_names == val.class_names == ["ant", "zebra"]
    assert train.records[0].classes.tolist() == [1] and val.records[0].classes.tolist() == [0]
    with pytest.raises(UserError, match="train, val"):
        load(tmp_path, "test")


def test_without_splits_a_tenth_is_held_out(tmp_path, capsys):
    for index in range(20):
        write_picture(tmp_path, f"p{index:02}")
    config = DataConfig(source="voc", data_dir=str(tmp_path))
    train, val = load_train_val(config, seed=3)
    assert (len(train.records), len(val.records)) == (18, 2)
    assert "of its 20 images, 2 held out (seed 3)" in capsys.readouterr().out
    again = load_dataset(config, "val", seed=3)
    assert [r.image_id for r in again.records] == [r.image_id for r in val.records]
    assert len(load_dataset(config, "all").records) == 20


def test_validation_part_of_a_set_that_has_no_val(tmp_path):
    for index in range(20):
        write_picture(tmp_path, f"p{index:02}")
    write_split(tmp_path, "trainval", [f"p{index:02}" for index in range(18)])
    write_split(tmp_path, "test", ["p18", "p19"])
    config = DataConfig(source="voc", data_dir=str(tmp_path))
    train, val = load_train_val(config)
    held_out = {r.image_id for r in val.records}
    assert len(held_out) == 2 and not held_out & {"p18", "p19"}
    assert not held_out & {r.image_id for r in train.records}
    assert {r.image_id for r in load_dataset(config).records} == held_out
    assert len(load_dataset(config, "test").records) == 2


def test_broken_files_are_skipped_and_counted(tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY b "cccc">]><annotation>&b;</annotation>'
    for name in ("good", "cut", "bomb", "text", "nobox", "header"):
        write_picture(tmp_path, name)
    (tmp_path / "Annotations/cut.xml").write_text("<annotation><object>")
    (tmp_path / "Annotations/bomb.xml").write_text(bomb)
    write_picture(tmp_path, "text", [("cat", ("one", 1, 5, 5), 0), ("cat", (1, 1, 5, 5), 0)])
    (tmp_path / "Annotations/nobox.xml").write_text("<annotation><object/></annotation>")
    (tmp_path / "JPEGImages/header.jpg").write_bytes(b"words")
    (tmp_path / "Annotations/lonely.xml").write_text("<annotation/>")
    (tmp_path / "JPEGImages/unmarked.jpg").write_bytes(b"words")
    names = ["good", "cut", "bomb", "text", "nobox", "header", "lonely", "unmarked"]
    write_split(tmp_path, "train", [*names, "../../secret", "good"])
    dataset = load(tmp_path)
    boxes = {record.image_id: len(record.boxes) for record in dataset.records}
    assert boxes == {"good": 1, "text": 1, "nobox": 0}
    assert {kind: len(what) for kind, what in dataset.problems.items()} == {
        "missing picture": 1,
        "picture outside the data folder": 1,
        "picture id twice": 1,
        "missing annotation": 1,
        "unreadable annotation": 2,
        "malformed annotation": 2,
        "unreadable picture": 1,
    }
    assert dataset.problems["malformed annotation"][0].startswith("text.xml, line 1: ('cat', '0'")


def test_absent_folder_shows_the_layout(tmp_path):
    with pytest.raises(UserError, match=r"JPEGImages.*--data_dir"):
        load(tmp_path)


@pytest.mark.parametrize("suffix", [".JPG", ".png", ".bmp", ".webp", ".gif", ".tif"])
def test_suffixes(tmp_path, suffix):
    write_picture(tmp_path, "a", suffix=suffix)
    dataset = load(tmp_path, None)
    assert [record.file_name for record in dataset.records] == [f"a{suffix}"]
    assert not dataset.problems


def test_lines_of_a_list(tmp_path):
    for name in ("my cat", "b 1", "c", "d", "e", "sub/f"):
        (tmp_path / "Annotations" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "JPEGImages" / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(tmp_path, name)
    lines = ["\ufeffmy cat", "b 1", "c  1", "d -1\r", "e.jpg", "", "sub\\f", "MY CAT"]
    write_split(tmp_path, "train", lines)
    dataset = load(tmp_path)
    ids = ["my cat", "b 1", "c", "d", "e", "sub/f"]
    assert [record.image_id for record in dataset.records] == ids
    assert dataset.records[-1].file_name == "sub/f.jpg"
    assert dict(dataset.problems) == {
        "picture name with backslashes": ["sub\\f (train.txt, line 7)"],
        "picture name in another case": ["MY CAT (train.txt, line 8)"],
        "picture id twice": ["my cat (train.txt, line 8)"],
    }


def test_list_in_another_encoding_is_the_users_error(tmp_path):
    write_picture(tmp_path, "a")
    (tmp_path / "ImageSets/Main/train.txt").write_bytes(b"a\nb\n\xfcber\n")
    with pytest.raises(UserError, match=r"train\.txt, line 3"):
        load(tmp_path)


def write_beside(folder, name, label):
    write_picture(folder / "made", name, [(label, (1, 1, 50, 40), 0)])
    folder.mkdir(exist_ok=True)
    (folder / "made/Annotations" / f"{name}.xml").rename(folder / f"{name}.xml")
    (folder / "made/JPEGImages" / f"{name}.jpg").rename(folder / f"{name}.jpg")


def test_xml_beside_the_pictures(tmp_path):
    write_beside(tmp_path / "train", "a", "zebra")
    write_beside(tmp_path / "valid", "b", "ant")
    config = DataConfig(source="voc", data_dir=str(tmp_path))
    assert voc.splits(config) == ["train", "valid"]
    train, val = load_train_val(config)
    assert [record.image_id for record in train.records] == ["a"]
    assert [record.image_id for record in val.records] == ["b"]
    assert train.class_names == val.class_names == ["ant", "zebra"]
    # Boxes as written, as of any plain folder.
    assert train.records[0].boxes.tolist() == [[1, 1, 50, 40]]
    assert voc.splits(DataConfig(source="voc", data_dir=str(tmp_path / "train"))) == []
    assert [record.image_id for record in load(tmp_path / "train", None).records] == ["a"]


ENCODINGS = ["utf-8", "utf-16", "iso-8859-15", "gb2312", "gb18030", "shift_jis", "euc-jp"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings_that_the_xml_declares(tmp_path, encoding):
    name = "M\xfcnze" if encoding == "iso-8859-15" else "\u732b"
    write_picture(tmp_path, "a", [(name, (1, 1, 50, 40), 0)])
    file = tmp_path / "Annotations/a.xml"
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n' + file.read_text(encoding="utf-8")
    file.write_bytes(text.encode(encoding))
    dataset = load(tmp_path, None)
    assert dataset.class_names == [name] and not dataset.problems


def test_the_first_of_two_equal_fields_counts(tmp_path):
    write_picture(tmp_path, "a")
    file = tmp_path / "Annotations/a.xml"
    file.write_text(file.read_text().replace("</name>", "</name><name>dog</name>", 1))
    assert load(tmp_path, None).class_names == ["cat"]
