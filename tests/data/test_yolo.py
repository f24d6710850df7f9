"""YOLO: Ultralytics' and Roboflow's layouts, every kind of row, and what real files do wrong."""

import pytest
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.sources import yolo
from keras_retinanet.errors import UserError

YAML = "train: images/train\nval: images/val\nnames: [cat, 'no', no]\n"


def write_picture(folder, name, label=None, *, split="train", images="images"):
    """Writes a picture of 200 x 100 (w x h) and, unless None, its txt."""
    picture = folder / images / split / name
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (200, 100)).save(picture)
    if label is not None:
        text = (
            folder / images.replace("images", "labels") / split / picture.with_suffix(".txt").name
        )
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(label)


def config(folder, **options):
    return DataConfig(source="yolo", data_dir=str(folder), **options)


def load(folder, split="train", **options):
    return yolo.load(config(folder, **options), split)


def names(dataset):
    return [record.file_name for record in dataset.records]


def test_rows_and_backgrounds(tmp_path):
    (tmp_path / "data.yaml").write_text("names: {0: cat, 3: dog}\n" + YAML.rpartition("names")[0])
    write_picture(tmp_path, "a.png", "0 .5 .5 .2 .4\n\n3 0.25 0.25 0.5 0.5 0.9\n")
    # An outline of three points and one of four (oriented boxes): their bounds.
    write_picture(tmp_path, "b.png", "0 .1 .2 .5 .6 .3 .1\n3.0 .1 .1 .2 .1 .2 .4 .1 .4\n")
    write_picture(tmp_path, "c.png", "")
    write_picture(tmp_path, "d.png")
    write_picture(tmp_path, "e.png", "3 .5 .5 1 1\n", split="val")
    assert yolo.splits(config(tmp_path)) == ["train", "val"]
    dataset = load(tmp_path)
    assert (dataset.class_names, dataset.class_ids) == (["cat", "dog"], [0, 3])
    assert names(dataset) == [f"images/train/{name}.png" for name in "abcd"]
    first, second, third, fourth = (record.boxes.round(3).tolist() for record in dataset.records)
    assert first == [[80, 30, 120, 70], [0, 0, 100, 50]]
    assert second == [[20, 10, 100, 60], [20, 10, 40, 40]]
    assert third == fourth == []
    assert dataset.records[0].classes.tolist() == [0, 1] and not dataset.problems
    assert load(tmp_path, "val").records[0].boxes.tolist() == [[0, 0, 200, 100]]
    with pytest.raises(UserError, match="train, val"):
        load(tmp_path, "test")


def test_names_are_texts_as_written(tmp_path):
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [no, 'on', 1e3]\nnc: 3\n")
    write_picture(tmp_path, "a.png", "0 .5 .5 .2 .4\n")
    assert load(tmp_path).class_names == ["no", "on", "1e3"]


def test_key_points_are_no_outline(tmp_path):
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\nkpt_shape: [2, 2]\n")
    write_picture(tmp_path, "a.png", "0 .5 .5 .2 .4 0 0 1 1\n")
    assert load(tmp_path).records[0].boxes.round(3).tolist() == [[80, 30, 120, 70]]


def test_roboflow_leads_out_of_its_folder_by_name_only(tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: [cat]\n"
    )
    write_picture(folder, "a.png", "0 .5 .5 .2 .4\n", split="", images="train/images")
    write_picture(folder, "b.png", "0 .5 .5 .2 .4\n", split="", images="valid/images")
    # What really lies there is another's, and is not looked at.
    write_picture(tmp_path, "secret.png", "0 .5 .5 .2 .4\n", split="", images="train/images")
    assert yolo.splits(config(folder)) == ["train", "val"]
    assert names(load(folder)) == ["train/images/a.png"]
    assert len(load(folder, "val").records[0].boxes) == 1
    # As Ultralytics: if asked to look outside, the name as written comes first.
    outside = load(folder, allow_outside=True)
    assert names(outside) == ["../train/images/secret.png"]
    assert len(outside.records[0].boxes) == 1


@pytest.mark.parametrize("path", ["/content/datasets/pets", "../datasets/pets", "pets", "."])
def test_path_of_another_machine(tmp_path, path):
    (tmp_path / "data.yaml").write_text(f"path: {path}\n{YAML}")
    write_picture(tmp_path, "a.png", "0 .5 .5 .2 .4\n")
    assert names(load(tmp_path)) == ["images/train/a.png"]


def test_lists_of_pictures(tmp_path):
    (tmp_path / "data.yaml").write_text("train: [train.txt, more]\nnames: [cat]\n")
    write_picture(tmp_path, "a.png", "0 .5 .5 .2 .4\n")
    write_picture(tmp_path, "b.png", "0 .5 .5 .2 .4\n", images="more/images")
    lines = ["./images/train/a.png", "", "images/train/a.png", "images/gone.png", "../x.png"]
    lines += [str(tmp_path / "images/train/a.png"), "/etc/x.png", ".\\images\\train\\a.png"]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    dataset = load(tmp_path)
    assert names(dataset) == ["images/train/a.png", "more/images/train/b.png"]
    assert {kind: len(what) for kind, what in dataset.problems.items()} == {
        "picture id twice": 3,
        "missing picture": 1,
        "picture outside the data folder": 2,
        "picture name with backslashes": 1,
    }
    assert dataset.problems["missing picture"] == ["images/gone.png (train.txt, line 4)"]
    (tmp_path / "train.txt").write_bytes(b"a.png\n\xff\n")
    with pytest.raises(UserError, match=r"train\.txt, line 2"):
        load(tmp_path)


def test_without_yaml(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    write_picture(tmp_path, "a.png", "1 .5 .5 .2 .4\n", split="")
    assert yolo.splits(config(tmp_path)) == []
    dataset = load(tmp_path, None)
    assert names(dataset) == ["images/a.png"] and dataset.records[0].classes.tolist() == [1]
    (tmp_path / "images/a.png").unlink()
    write_picture(tmp_path, "b.png", "0 .5 .5 .2 .4\n")
    assert yolo.splits(config(tmp_path)) == ["train"]


def test_labels_beside_the_pictures(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\n")
    Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("0 .5 .5 .2 .4\n")
    dataset = load(tmp_path, None)
    assert len(dataset.records[0].boxes) == 1 and not dataset.problems


def test_what_is_wrong_with_labels_is_counted(tmp_path):
    (tmp_path / "data.yaml").write_text(YAML)
    rows = ["0 .5 .5 .2 .4", "9 .5 .5 .2 .4", "-1 .5 .5 .2 .4", "0.5 .5 .5 .2 .4", "0 .5 .5 .2"]
    rows += ["cat .5 .5 .2 .4", "0 .1 .1 .2 .2 .3 .3 .4", "nan .5 .5 .2 .4", "0 nan .5 .2 .4"]
    rows += ["0 .5 .5 0 .4", "0 .5 .5 -.2 .4", "0 100 50 20 20", "inf .5 .5 .2 .4"]
    write_picture(tmp_path, "a.png", "\n".join(rows))
    write_picture(tmp_path, "bad.png", "0 .5 .5 .2 .4\n")
    (tmp_path / "labels/train/bad.txt").write_bytes(b"0 .5 .5 .2 .4\n\xff\xfe\n")
    write_picture(tmp_path, "words.png", "0 .5 .5 .2 .4\n")
    (tmp_path / "images/train/words.png").write_bytes(b"words")
    (tmp_path / "images/train/folder.png").mkdir()
    (tmp_path / "labels/train/orphan.txt").write_text("0 .5 .5 .2 .4\n")
    dataset = load(tmp_path)
    assert names(dataset) == ["images/train/a.png"] and len(dataset.records[0].boxes) == 2
    assert {kind: len(what) for kind, what in dataset.problems.items()} == {
        "undeclared class": 2,
        "malformed annotation": 6,
        "unreadable annotation": 1,
        "unreadable picture": 1,
        "missing picture": 1,
        "box not finite": 1,
        "box without area": 1,
        "box with swapped corners": 1,
        "box outside the picture": 1,
    }
    assert dataset.problems["undeclared class"][0] == "labels/train/a.txt, line 2: 9"
    assert dataset.problems["unreadable annotation"] == ["bad.txt, line 2: not UTF-8 text"]
    with pytest.raises(UserError, match=r"labels/train/orphan\.txt"):
        load(tmp_path, strict=True)


def test_pictures_without_any_label_are_no_backgrounds(tmp_path):
    (tmp_path / "data.yaml").write_text(YAML)
    write_picture(tmp_path, "a.png")
    assert not load(tmp_path).has_annotations
    write_picture(tmp_path, "a.png", "")
    assert load(tmp_path).has_annotations


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nnames: *b\ntrain: images\n"


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("train: images\nnames: [cat", "line 2"),
        (BOMB, r"line 2: .*an alias"),
        ("names: " + "[" * 100_000, "nested too deep|line 1"),
        ("- a\n- b\n", "line 1"),
        ("", "line 1"),
        ("train: images\n", "names"),
        ("names: [cat]\n", "train, val"),
        ("names: {a: cat}\ntrain: images\n", "names"),
        ("names: [[cat]]\ntrain: images\n", "names"),
        ("names: [cat]\nnc: 2\ntrain: images\n", "nc: 1"),
        ("names: [cat]\ntrain: {a: b}\n", "train"),
        ("names: [cat]\ntrain: images\n#" + "x" * (1 << 20), "more than"),
        (b"names: [\xff]\n", "line 1: not UTF-8"),
        ("names: [!!python/object/apply:os.system [ls]]\ntrain: images\n", "names"),
    ],
)
def test_broken_yaml_is_named(tmp_path, content, where):
    write_picture(tmp_path, "a.png", "")
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "data.yaml").write_bytes(data)
    with pytest.raises(UserError, match=rf"data\.yaml.*({where})"):
        load(tmp_path)


def test_absent_places(tmp_path):
    with pytest.raises(UserError, match=r"data\.yaml.*--annotations"):
        load(tmp_path)
    (tmp_path / "data.yaml").write_text("train: ../other\nnames: [cat]\n")
    (tmp_path.parent / "other").mkdir(exist_ok=True)
    with pytest.raises(UserError, match=r"\.\./other.*allow_outside"):
        load(tmp_path)
    # Found by fuzzing: no file can have such a name.
    (tmp_path / "data.yaml").write_text(f"train: {'a' * 5000}\nnames: [cat]\n")
    with pytest.raises(UserError, match="aaaa, which is not there"):
        load(tmp_path)
