"""Forms of small sets: names, what a form loses, and nothing half-written."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from writer_sets import CAT, CROWD, DOG, assert_same, encoded, load_all, made_set

from keras_retinanet.config import DataConfig
from keras_retinanet.data.sources import shapes
from keras_retinanet.data.writers import WRITERS, shared, write_dataset
from keras_retinanet.data.writers.shared import PictureNames, WriteOptions, decimal
from keras_retinanet.errors import UserError

FILE_NAMES = [
    "a/1.png", "b/1.png", "A/1.PNG", "1.png", "a_1.png", "with space.png", "日本 é.png",
    "..\\up.png", "/root/x.png", "../../up.png", "a.b.c.png", "no_suffix", "x:y?.png", "...png",
    ".jpg",
    "comma,quote\".png", "line\nbreak.png",
]  # fmt: skip


@pytest.mark.parametrize("form", WRITERS)
def test_names_of_all_kinds_keep_their_pictures(tmp_path, form):
    rows = [(name, [CAT] if index % 3 else []) for index, name in enumerate(FILE_NAMES)]
    truth = made_set(rows)
    write_dataset({"train": truth}, tmp_path / "out", form)
    found = load_all(form, tmp_path / "out")["train"]
    assert_same(found, truth)
    assert not found.problems and len(found.records) == len(FILE_NAMES)
    # Nothing beside the folder, nothing outside of it.
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.long
@settings(max_examples=25, deadline=None)
@given(
    boxes=st.lists(
        st.tuples(st.floats(-3, 39, width=32), st.floats(-3, 29, width=32),
                  st.floats(1, 60, width=32), st.floats(1, 60, width=32)),
        max_size=4,
    )
)  # fmt: skip
def test_any_box_there_and_back(tmp_path_factory, boxes):
    objects = [((x, y, x + w, y + h), 1, False, None) for x, y, w, h in boxes]
    truth = made_set([("a.png", objects), ("b.png", [CAT])])
    for form in WRITERS:
        folder = tmp_path_factory.mktemp("any") / form
        lost = write_dataset({"train": truth}, folder, form)
        found = load_all(form, folder)["train"]
        if any("cut at the border" in sentence for sentence in lost):
            assert form == "yolo"
            sides = [0, 0, 0, 0], [40, 30, 40, 30]
            clipped = [replace(r, boxes=np.clip(r.boxes, *sides)) for r in truth.records]
            read = [replace(r, boxes=np.clip(r.boxes, *sides)) for r in found.records]
            assert_same(replace(found, records=read), replace(truth, records=clipped))
        else:
            assert_same(found, truth)


def test_what_each_form_says_it_loses(tmp_path):
    rows = [("a.png", [CAT, CROWD, ((1, 1, 9, 9), 1, False, 7.0)]), ("b.png", [])]
    data = made_set(rows, names=["zebra", "ant", "cow"], ids=[3, 8, 90])
    lost = {form: write_dataset({"train": data}, tmp_path / form, form) for form in WRITERS}
    assert lost["coco"] == lost["tfrecord"] == []
    ids = "2 images with an id that is lost."
    area = "1 box with an area that is lost: the box's counts."
    assert lost["csv"] == ["1 box to ignore (crowds), skipped: CSV has none.", area, ids]
    assert lost["yolo"] == [
        "1 box to ignore (crowds), skipped: YOLO has none.",
        area,
        ids,
        "The ids of 3 classes become 0, 1, ...",
    ]
    assert lost["voc"] == [
        "1 box to ignore (crowds), written as difficult ones.",
        area,
        ids,
        "The ids of 3 classes become 1, 2, ...",
        "The order of the classes becomes that of the alphabet.",
        "1 class without a box, in no file.",
    ]
    names, class_ids = ["zebra", "ant", "cow"], [3, 8, 90]
    for form in ("coco", "csv", "tfrecord"):
        found = load_all(form, tmp_path / form)["train"]
        assert (found.class_names, found.class_ids) == (names, class_ids)
    assert load_all("yolo", tmp_path / "yolo")["train"].class_names == names


def test_suffix_follows_the_bytes(tmp_path):
    kinds = ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"]
    contents = [encoded(kind, seed) for seed, kind in enumerate(kinds)]
    data = made_set([(f"{kind}.jpg", [CAT]) for kind in kinds], contents=contents)
    lost = write_dataset({"train": data}, tmp_path / "out", "voc")
    names = sorted(path.name for path in (tmp_path / "out/JPEGImages").iterdir())
    assert names == ["BMP.bmp", "GIF.gif", "JPEG.jpg", "PNG.png", "TIFF.tif", "WEBP.webp"]
    assert "5 images with another name." in lost
    record_names = PictureNames()
    png = replace(data.records[1], file_name="x.JPEG")
    assert [record_names.of(png, contents[1]) for _ in range(2)] == ["x.png"] * 2


def test_classes_are_joined_by_name(tmp_path):
    train = made_set([("a.png", [CAT])], names=["cat", "dog"], ids=[4, 9])
    val = made_set([("b.png", [CAT])], split="val", names=["dog", "emu"], ids=[9, 11])
    write_dataset({"train": train, "val": val}, tmp_path / "out", "coco")
    found = load_all("coco", tmp_path / "out")
    assert found["val"].class_names == ["cat", "dog", "emu"] == found["train"].class_names
    assert found["val"].class_ids == [4, 9, 11] and found["val"].records[0].classes == [1]


def test_one_picture_in_two_splits_is_one_file_where_the_form_allows(tmp_path):
    data = made_set([("a.png", [CAT]), ("b.png", [DOG])])
    splits = {"train": replace(data, records=data.records[:1]), "trainval": data}
    for form, folder in (("voc", "JPEGImages"), ("csv", "images")):
        write_dataset(splits, tmp_path / form, form)
        names = sorted(path.name for path in (tmp_path / form / folder).iterdir())
        assert names == ["a.png", "b.png"]
    assert len(load_all("voc", tmp_path / "voc")["trainval"].records) == 2


@pytest.mark.parametrize("form", WRITERS)
def test_unreadable_pictures_are_left_out(tmp_path, form):
    contents = [encoded(), b"words", b""]
    data = made_set([("a.png", [CAT]), ("b.png", []), ("c.png", [DOG])], contents=contents)
    write_dataset({"train": data}, tmp_path / "out", form)
    assert len(load_all(form, tmp_path / "out")["train"].records) == 1
    assert [what.split()[0] for what in data.problems["unreadable picture"]] == ["b.png", "c.png"]
    data.problems.strict = True
    with pytest.raises(UserError, match=r"b\.png"):
        write_dataset({"train": data}, tmp_path / "strict", form)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_true_size_counts(tmp_path):
    data = made_set([("a.png", [CAT])])
    data = replace(data, records=[replace(data.records[0], height=60, width=80)])
    write_dataset({"train": data}, tmp_path / "out", "yolo")
    assert load_all("yolo", tmp_path / "out")["train"].records[0].boxes.tolist() == [list(CAT[0])]
    assert data.problems == {"picture of another size than annotated": ["a.png"]}


@pytest.mark.parametrize("form", WRITERS)
def test_nothing_half_written_stays(tmp_path, form, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(shared, "image_size", fail)
    with pytest.raises(KeyboardInterrupt):
        write_dataset({"train": made_set([("a.png", [CAT])])}, tmp_path / "out", form)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(tmp_path):
    data = {"train": made_set([("a.png", [CAT])])}
    (tmp_path / "empty").mkdir()
    write_dataset(data, tmp_path / "empty", "coco")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="new or an empty folder"):
        write_dataset(data, tmp_path / "empty", "voc")
    with pytest.raises(UserError, match="new or an empty folder"):
        write_dataset(data, tmp_path / "empty/annotations/instances_train.json", "voc")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_form_cannot_hold_at_all(tmp_path):
    named = {"train": made_set([("a.png", [CAT])], names=[" cat\n", "dog"])}
    for form in ("voc", "csv"):
        with pytest.raises(UserError, match="printable"):
            write_dataset(named, tmp_path / "out", form)
    with pytest.raises(UserError, match="VOC2012"):
        write_dataset({"train": made_set([("a.png", [CAT])])}, tmp_path / "VOC2012", "voc")
    turned = made_set([("a.png", [CAT])])
    turned = replace(turned, records=[replace(turned.records[0], orientation=6)])
    with pytest.raises(UserError, match="exif=stored"):
        write_dataset({"train": turned}, tmp_path / "out", "coco")
    with pytest.raises(UserError, match="forms coco"):
        write_dataset(named, tmp_path / "out", "xml")
    assert list(tmp_path.iterdir()) == []


def test_splits_without_public_boxes(tmp_path):
    hidden = replace(made_set([("a.png", [])], split="test"), has_annotations=False)
    data = {"train": made_set([("a.png", [CAT])]), "test": hidden}
    assert write_dataset(data, tmp_path / "csv", "csv")[0] == (
        "Split test has no public boxes and is not written."
    )
    write_dataset(data, tmp_path / "coco", "coco")
    assert not load_all("coco", tmp_path / "coco")["test"].has_annotations
    with pytest.raises(UserError, match="none"):
        write_dataset({"test": hidden}, tmp_path / "voc", "voc")


def test_drawn_scenes_can_be_written(tmp_path):
    data = shapes.load(DataConfig(shapes_train=3, shapes_size=64), "train")
    for form in WRITERS:
        write_dataset({"train": data}, tmp_path / form, form)
        assert_same(load_all(form, tmp_path / form)["train"], data)
    names = sorted(path.name for path in (tmp_path / "yolo/images/train").iterdir())
    assert names == [f"shapes_train_{index}_64.bmp" for index in range(3)]


def test_class_id_0_makes_way_for_the_background(tmp_path):
    data = {"train": made_set([("a.png", [CAT])], ids=[0, 1])}
    assert "0 is the background's" in write_dataset(data, tmp_path / "out", "tfrecord")[0]
    assert load_all("tfrecord", tmp_path / "out")["train"].class_ids == [1, 2]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_decimals_give_the_same_float32(value):
    shown = decimal(value)
    assert np.float32(shown) == np.float32(value) and "e" not in shown


def scored_set():
    data = made_set([("a b&.png", [CAT, DOG]), ("b.png", [])], names=['<"cat"&>', "dog"])
    scores = [np.float32([0.25, 0.5]), np.zeros(0, np.float32)]
    records = [replace(r, scores=s) for r, s in zip(data.records, scores, strict=True)]
    return replace(data, records=records)


@pytest.mark.parametrize("form", WRITERS)
def test_the_score_of_detected_boxes_is_written_or_its_loss_is_said(tmp_path, form):
    sentences = write_dataset({"train": scored_set()}, tmp_path / "out", form)
    assert_same(load_all(form, tmp_path / "out")["train"], scored_set())
    loses = "2 boxes with a score that is lost." in sentences
    assert loses == (form not in ("coco", "labelstudio"))


def test_where_detected_boxes_have_their_score(tmp_path):
    for form in ("coco", "labelstudio", "cvat"):
        write_dataset({"train": scored_set()}, tmp_path / form, form, WriteOptions(model="best"))
    coco_file = json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())
    assert [row["score"] for row in coco_file["annotations"]] == [0.25, 0.5]
    tasks = json.loads((tmp_path / "labelstudio/tasks_train.json").read_text())
    (found,), (empty,) = (task["predictions"] for task in tasks)
    assert (found["model_version"], found["score"]) == ("best", 0.25)
    assert [region["score"] for region in found["result"]] == [0.25, 0.5]
    assert empty == {"model_version": "best", "result": []}
    assert tasks[0]["data"]["image"].endswith("?d=labelstudio/images/train/a%20b%26.png")
    text = (tmp_path / "cvat/train/annotations.xml").read_text()
    assert text.count('source="auto"') == 2 and 'source="manual"' not in text


def test_ground_truth_is_an_annotation_of_the_tools(tmp_path):
    data = {"train": made_set([("a.png", [CAT, CROWD])])}
    sentences = write_dataset(data, tmp_path / "labelstudio", "labelstudio")
    assert "1 box to ignore (crowds), skipped: Label Studio has none." in sentences
    (task,) = json.loads((tmp_path / "labelstudio/tasks_train.json").read_text())
    (annotation,) = task["annotations"]
    (region,) = annotation["result"]
    # 1.5, 2.25, 10, 20 of 40 x 30 pixels.
    assert region["value"] == {
        **{"x": 3.75, "y": 7.5, "width": 21.25, "height": pytest.approx(100 * 17.75 / 30)},
        **{"rotation": 0, "rectanglelabels": ["cat"]},
    }
    sentences = write_dataset(data, tmp_path / "cvat", "cvat")
    assert "1 box to ignore (crowds), skipped: CVAT has none." in sentences
    assert 'source="manual"' in (tmp_path / "cvat/train/annotations.xml").read_text()
