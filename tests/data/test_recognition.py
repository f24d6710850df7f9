"""Recognition: every layout by its names, what was recognised and why, and what is refused."""

import json
from pathlib import Path

import pytest

from keras_retinanet.data.sources.recognition import recognise
from keras_retinanet.errors import UserError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("source", "names", "why"),
    [
        ("coco", ["annotations/instances_val2017.json"], "annotations/instances_val2017.json"),
        ("coco", ["train/_annotations.coco.json"], "train/_annotations.coco.json"),
        ("coco", ["_annotations.coco.json"], "_annotations.coco.json"),
        ("voc", ["Annotations/a.xml", "JPEGImages/a.jpg"], "Annotations/a.xml"),
        ("voc", ["Annotations/a.xml", "classes.txt"], "Annotations/a.xml"),
        ("voc", ["VOC2012/Annotations/a.xml"], "VOC2012/Annotations"),
        ("voc", ["VOCdevkit/VOC2007/Annotations/a.xml"], "VOCdevkit/VOC2007/Annotations"),
        ("csv", ["train.csv", "val.csv", "a.jpg"], "train.csv"),
        ("csv", ["annotations.csv", "classes.csv"], "annotations.csv"),
        ("csv", ["train/_annotations.csv"], "train/_annotations.csv"),
        ("yolo", ["data.yaml", "images/train/a.jpg"], "data.yaml"),
        ("yolo", ["classes.txt", "images/a.jpg", "labels/a.txt"], "classes.txt"),
        ("yolo", ["labels/classes.txt", "images/a.jpg"], "labels/classes.txt"),
        ("openimages", ["oidv6-train-annotations-bbox.csv"], "oidv6-train-annotations-bbox.csv"),
        ("kitti", ["training/label_2/0.txt", "training/image_2/0.png"], "training/label_2"),
        ("kitti", ["label_2/0.txt", "image_2/0.png"], "label_2"),
        ("tfrecord", ["train-00000-of-00001.tfrecord"], "train-00000-of-00001.tfrecord"),
        ("tfrecord", ["a.tfrecord-00000-of-00010"], "a.tfrecord-00000-of-00010"),
    ],
)
def test_folders(tmp_path, source, names, why):
    touch(tmp_path, *names)
    keys, sentence = recognise(tmp_path)
    assert keys == {"source": source, "data_dir": str(tmp_path)}
    assert sentence == f"{tmp_path} is recognized as {source}: {why}."


def test_a_lone_folder_is_what_it_holds(tmp_path):
    touch(tmp_path, "pets/pets/data.yaml", "__MACOSX/pets/data.yaml")
    assert recognise(tmp_path)[0]["data_dir"] == str(tmp_path / "pets/pets")


def test_a_pattern_of_tfrecord_files(tmp_path):
    touch(tmp_path, "train-0.tfrecord", "train-1.tfrecord", "val-0.tfrecord", "notes.txt")
    place = tmp_path / "train-*"
    keys, sentence = recognise(place)
    assert keys == {"source": "tfrecord", "data_dir": str(place)}
    assert sentence == f"{place} is recognized as tfrecord: train-0.tfrecord, train-1.tfrecord."
    with pytest.raises(UserError, match=r"matches notes\.txt\. Name the folder"):
        recognise(tmp_path / "n*")
    with pytest.raises(UserError, match="matches nothing"):
        recognise(tmp_path / "test-*")


def test_only_a_few_names_are_shown(tmp_path):
    touch(tmp_path, *(f"Annotations/{name}.xml" for name in "abcde"))
    shown = "Annotations/a.xml, Annotations/b.xml, Annotations/c.xml, 2 more."
    assert recognise(tmp_path)[1].endswith(shown)


def test_lone_json(tmp_path):
    touch(tmp_path, "boxes.json", "images/a.jpg")
    keys, sentence = recognise(tmp_path)
    assert keys == {
        "source": "coco",
        "annotations": str(tmp_path / "boxes.json"),
    }
    assert "coco" in sentence and "boxes.json" in sentence


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("a.json", {"source": "coco", "annotations": "a.json"}),
        ("a.csv", {"source": "csv", "annotations": "a.csv"}),
        ("test-annotations-bbox.csv", {"source": "openimages"}),
        ("coco8.yaml", {"source": "yolo", "annotations": "coco8.yaml"}),
        ("a.tfrecord-00000-of-00010", {"source": "tfrecord", "data_dir": ""}),
    ],
)
def test_files(tmp_path, name, keys):
    touch(tmp_path, name)
    found, sentence = recognise(str(tmp_path / name))
    expected = {k: str(tmp_path / v) if k != "source" else v for k, v in keys.items()}
    assert expected.items() <= found.items()
    assert f"recognized as {keys['source']}" in sentence


def test_prepared_tfds_folder(tmp_path):
    version = tmp_path / "datasets/coco/2017/1.1.0"
    touch(version, "coco-train.tfrecord-00000-of-00001", "features.json")
    (version / "dataset_info.json").write_text(json.dumps({"name": "coco", "version": "1.1.0"}))
    expected = {
        "source": "tfds",
        "name": "coco/2017:1.1.0",
        "data_dir": str(tmp_path / "datasets"),
    }
    for place in (version, version.parent, version.parent.parent, version / "dataset_info.json"):
        assert recognise(place)[0] == expected
    for content in ("", "[]", '{"name": 3}', '{"name": "other"}', "[" * 100_000):
        (version / "dataset_info.json").write_text(content)
        with pytest.raises(UserError, match=r"dataset_info\.json"):
            recognise(version)


@pytest.mark.parametrize(
    "place", ["labels/b.txt", "labels/train/b.txt", "train/labels/b.txt", "b.txt"]
)
def test_yolo_labels_without_the_names_of_classes_are_told(place, tmp_path):
    touch(tmp_path, "images/a.jpg", "images/b.jpg", str(Path(place).with_name("a.txt")))
    (tmp_path / place).write_text("\n0 .5 0.5 1e-2 .25\n")
    with pytest.raises(UserError, match=r"b\.txt looks like YOLO's: .*classes\.txt"):
        recognise(tmp_path)
    (tmp_path / "classes.txt").write_text("cell\n")
    assert recognise(tmp_path)[0]["source"] == "yolo"


def test_unknown_and_ambiguous(tmp_path):
    with pytest.raises(UserError, match="not there"):
        recognise(tmp_path / "absent")
    with pytest.raises(UserError, match=r"instances_\*\.json.*data\.yaml.*label_2.*tfrecord"):
        recognise(tmp_path)
    touch(tmp_path, "a.json", "b.json")
    with pytest.raises(UserError, match="without them"):
        recognise(tmp_path)
    touch(tmp_path, "words.doc")
    with pytest.raises(UserError, match=r"words\.doc"):
        recognise(tmp_path / "words.doc")
    touch(tmp_path, "data.yaml", "Annotations/a.xml")
    with pytest.raises(UserError, match=r"voc: Annotations/a\.xml; yolo: data\.yaml.*train voc"):
        recognise(tmp_path)


def test_real_folders(bccd, real_coco):
    assert recognise(bccd)[0]["source"] == "voc"
    assert recognise(real_coco)[0]["source"] == "coco"
