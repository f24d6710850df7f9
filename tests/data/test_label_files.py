"""Label files matched with images by their names, and what is refused."""

import pytest
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.loading import load_dataset, load_train_val
from keras_retinanet.data.sources.label_files import match_names, refuse_unmatched
from keras_retinanet.errors import UserError


@pytest.mark.parametrize(
    ("pictures", "labels", "matched"),
    [
        ("a b", "b a", {"a": "a", "b": "b"}),
        ("a A", "A", {"A": "A"}),
        ("a", "A", {"a": "A"}),
        ("a", "a1b2c3d4-a", {"a": "a1b2c3d4-a"}),
        ("a1b2c3d4-A", "a", {"a1b2c3d4-A": "a"}),
        ("x/a", "x/a1b2c3d4-a", {"x/a": "x/a1b2c3d4-a"}),
        ("x/a y/b", "a b", {"x/a": "a", "y/b": "b"}),
        # Two of a kind are no match, and neither are two prefixes, a date or another folder.
        ("a", "a1b2c3d4-a b1b2c3d4-a", {}),
        ("a1b2c3d4-a", "b1b2c3d4-a", {}),
        ("a", "20240131-a", {}),
        ("x/a", "y/a", {}),
        ("x/a y/a", "a", {}),
        ("", "a", {}),
    ],
)
def test_matches(pictures, labels, matched):
    assert match_names(pictures.split(), labels.split()) == matched


@pytest.mark.parametrize(
    ("pictures", "labels", "count", "is_refused"),
    [(2, 2, 10, True), (1, 9, 10, False), (9, 1, 10, False), (4, 9, 100, False), (5, 9, 100, True)],
)
def test_many_of_both_are_refused(pictures, labels, count, is_refused):
    lists = ["a.jpg"] * pictures, ["a.txt"] * labels

    def check(config):
        refuse_unmatched(*lists, count=count, config=config, where="here")

    check(DataConfig(unmatched="accept"))
    if not is_refused:
        check(DataConfig())
        return
    with pytest.raises(UserError, match=rf"{pictures} of {count} images.*{labels} label files"):
        check(DataConfig())


def draw(folder, labels, images="images"):
    (folder / "classes.txt").write_text("cat\n")
    for name in "abcd":
        (folder / images).mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(folder / images / f"{name}.jpg")
    for name in labels:
        path = folder / "labels" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0 .5 .5 .2 .2\n")


def test_objects_are_no_background(tmp_path):
    draw(tmp_path, ["a.txt", "frame_b.txt", "frame_c.txt", "more/d.txt"])
    config = DataConfig(source="yolo", data_dir=str(tmp_path))
    with pytest.raises(UserError, match=r"images/b\.jpg.*labels/frame_b\.txt.*--unmatched accept"):
        load_dataset(config, "all")
    accepted = load_dataset(DataConfig(**{**vars(config), "unmatched": "accept"}), "all")
    assert [len(record.boxes) for record in accepted.records] == [1, 0, 0, 0]
    assert len(accepted.problems["missing picture"]) == 3


def test_renamed_labels_say_what_they_were_taken_for(tmp_path):
    draw(tmp_path, ["A.TXT", "a1b2c3d4-b.txt", "c.txt"], images="Images")
    dataset = load_dataset(DataConfig(source="yolo", data_dir=str(tmp_path)), "all")
    assert [len(record.boxes) for record in dataset.records] == [1, 1, 1, 0]
    renamed = ["A for a", "a1b2c3d4-b for b"]
    assert dataset.problems == {"label file of another name": renamed}


def test_images_without_any_label_are_no_secret(tmp_path):
    draw(tmp_path, [])
    with pytest.raises(UserError, match="4 images without any label file"):
        load_train_val(DataConfig(source="yolo", data_dir=str(tmp_path)))


@pytest.mark.parametrize("kind", ["voc", "kitti"])
def test_other_sources_refuse_and_match_too(kind, tmp_path):
    places = {
        "voc": ("JPEGImages", "Annotations", ".xml", "<annotation/>"),
        "kitti": ("image_2", "label_2", ".txt", "Car 0 0 0 1 2 30 20 1 1 1 1 1 1 1\n"),
    }
    images, labels, suffix, text = places[kind]
    draw(tmp_path, [], images=images)
    (tmp_path / "classes.txt").unlink()
    (tmp_path / labels).mkdir()
    names = ["a", "a1b2c3d4-b", "x", "y"]
    for name in names:
        (tmp_path / labels / f"{name}{suffix}").write_text(text)
    config = DataConfig(source=kind, data_dir=str(tmp_path))
    with pytest.raises(UserError, match=r"2 of .* images have no label file .*2 label files"):
        load_dataset(config, "all")
    (tmp_path / labels / f"y{suffix}").unlink()
    dataset = load_dataset(config, "all")
    assert [record.image_id for record in dataset.records] == ["a", "b"]
    assert dataset.problems["label file of another name"] == ["a1b2c3d4-b for b"]
