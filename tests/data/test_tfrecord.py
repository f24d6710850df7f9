"""TFRecords with the Object Detection API's keys: names of files, classes, and what is wrong."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.sources import tfrecord
from keras_retinanet.data.sources.shards import write_shard
from keras_retinanet.errors import UserError


def encoded(width=40, height=20):
    stream = io.BytesIO()
    Image.new("RGB", (width, height)).save(stream, "PNG")
    return stream.getvalue()


def example(**features):
    """Returns a serialised example of one 40 x 20 picture; keys below image/, "__" for "/"."""
    given = {"encoded": [encoded()], "source_id": [b"7"], "filename": [b"a/b c.png"]} | features
    keyed = {}
    for key, values in given.items():
        if values is None:
            continue
        if all(isinstance(value, bytes) for value in values):
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        elif all(isinstance(value, int) for value in values):
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        else:
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=values))
        keyed["image/" + key.replace("__", "/")] = feature
    return tf.train.Example(features=tf.train.Features(feature=keyed)).SerializeToString(
        deterministic=True
    )


def objects(boxes, *, texts=None, labels=None, **columns):
    """Returns the keys of boxes (N, 4) xyxy in fractions."""
    sides = zip(*boxes, strict=True)
    given = {f"object__bbox__{side}": list(values) for side, values in zip(
        ("xmin", "ymin", "xmax", "ymax"), sides, strict=True)}  # fmt: skip
    given |= {f"object__{key}": values for key, values in columns.items()}
    return given | {"object__class__text": texts, "object__class__label": labels}


BOX = (0.25, 0.5, 0.5, 1.0)  # 10, 10, 20, 20 in pixels
CAT = objects([BOX], texts=[b"cat"], labels=[5])


def load(folder, split=None, **options):
    return tfrecord.load(DataConfig(source="tfrecord", data_dir=str(folder), **options), split)


def splits(folder):
    return tfrecord.splits(DataConfig(source="tfrecord", data_dir=str(folder)))


def test_boxes_flags_areas_and_bytes(tmp_path):
    flags = {"is_crowd": [1, 0, 0, 0], "difficult": [0, 1, 0, 0], "group_of": [0, 0, 1, 0]}
    found = objects([BOX] * 4, texts=[b"cat"] * 4, area=[1.5, 2.5, 3.5, 4.5], **flags)
    write_shard(tmp_path / "train.tfrecord", [example(), example(**found, source_id=[b"007"])])
    dataset = load(tmp_path, "train")
    empty, record = dataset.records
    assert (empty.image_id, record.image_id) == (7, "007")
    assert empty.boxes.shape == (0, 4) and record.boxes.tolist() == [[10, 10, 20, 20]] * 4
    assert record.ignore.tolist() == [True, True, True, False]
    assert record.areas.tolist() == [1.5, 2.5, 3.5, 4.5]
    assert (record.height, record.width, record.file_name) == (20, 40, "a/b c.png")
    assert [dataset.read_bytes(index) for index in (1, 0)] == [encoded()] * 2
    assert (dataset.class_names, dataset.class_ids, dataset.problems) == (["cat"], [1], {})


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["train-00000-of-00002.tfrecord", "train-00001-of-00002.tfrecord"], ["train"]),
        (["train.tfrecord", "val.record", "test.tfrecords"], ["test", "train", "val"]),
        (["coco_train.record-00000-of-00001", "coco_val.record-00000-of-00001"], ["train", "val"]),
        (["x-train2017.tfrecord-00000-of-00001", "x-val2017.tfrecord"], ["train2017", "val2017"]),
        (["a_train.tfrecord", "b_train.tfrecord"], ["a_train", "b_train"]),
        (["x-testdev.record", "x-validation.record"], ["testdev", "validation"]),
        (["photos.tfrecord-00000-of-00001"], []),
        (["one.tfrecord", "two.tfrecord", "notes.txt"], ["one", "two"]),
    ],
)
def test_splits_by_name(tmp_path, names, found):
    for name in names:
        write_shard(tmp_path / name, [example(**CAT)])
    assert splits(tmp_path) == found
    for split in found or [None]:
        assert len(load(tmp_path, split).records) == len(names) // len(found or [None])


def test_label_map_numbers_the_classes(tmp_path):
    (tmp_path / "coco_label_map.pbtxt").write_text(
        "item { id: 5 name: 'n05' display_name: 'cat' } item { id: 2 name: 'dog' }"
    )
    boxes = [BOX] * 3
    write_shard(
        tmp_path / "train.tfrecord",
        [
            example(**objects(boxes, texts=[b"n05", b"dog", b"cow"], labels=[5, 2, 9])),
            example(**objects(boxes, labels=[2, 5, 0]), source_id=[b"8"]),
        ],
    )
    dataset = load(tmp_path, "train")
    assert (dataset.class_names, dataset.class_ids) == (["dog", "cat"], [2, 5])
    assert [record.classes.tolist() for record in dataset.records] == [[1, 0], [0, 1]]
    assert len(dataset.problems["undeclared class"]) == 2


def test_labels_txt_and_nothing(tmp_path):
    rows = objects([BOX] * 2, labels=[2, 1])
    write_shard(tmp_path / "train.tfrecord", [example(**rows)])
    assert load(tmp_path).class_names == ["1", "2"]
    assert load(tmp_path).records[0].classes.tolist() == [1, 0]
    (tmp_path / "labels.txt").write_text("zebra\nant\n")
    assert load(tmp_path).class_names == ["zebra", "ant"]
    assert load(tmp_path).records[0].classes.tolist() == [1, 0]


def test_names_are_sorted_whichever_shard_comes_first(tmp_path):
    for number, name in enumerate([b"zebra", b"ant", b"cow"]):
        write_shard(
            tmp_path / f"train-0000{number}-of-00003.tfrecord",
            [example(**objects([BOX], texts=[name]), source_id=[b"%d" % number])],
        )
    dataset = load(tmp_path)
    assert (dataset.class_names, dataset.class_ids) == (["ant", "cow", "zebra"], [1, 2, 3])
    assert [record.classes.tolist() for record in dataset.records] == [[2], [0], [1]]


def test_equal_or_absent_ids_become_places(tmp_path):
    write_shard(tmp_path / "train.tfrecord", [example(), example()])
    assert [record.image_id for record in load(tmp_path).records] == [
        "train.tfrecord@12",
        f"train.tfrecord@{12 + len(example()) + 16}",
    ]
    write_shard(tmp_path / "train.tfrecord", [example(source_id=None)])
    assert load(tmp_path).records[0].image_id == "train.tfrecord@12"


def test_bad_examples_are_skipped_and_counted(tmp_path):
    bad = {
        "unreadable picture": [example(encoded=[b"words"]), example(encoded=None)],
        "unreadable annotation": [
            b"\xff\xff\xff",
            example(**CAT | {"object__bbox__xmin": [0.1, 0.2]}),
            example(**CAT | {"object__class__text": [], "object__class__label": None}),
        ],
        "picture of another size than annotated": [example(height=[1], width=[40])],
        "box not finite": [example(**objects([(np.nan, 0.0, 1.0, 1.0)], texts=[b"cat"]))],
    }
    write_shard(tmp_path / "train.tfrecord", [row for rows in bad.values() for row in rows])
    dataset = load(tmp_path)
    counts = {kind: len(what) for kind, what in dataset.problems.items()}
    assert counts == {kind: len(rows) for kind, rows in bad.items()}
    assert [len(record.boxes) for record in dataset.records] == [0, 0]
    assert "train.tfrecord@" in dataset.problems["unreadable picture"][0]
    with pytest.raises(UserError, match="unreadable picture"):
        load(tmp_path, strict=True)


def test_damaged_record_and_missing_shard(tmp_path):
    path = tmp_path / "train-00001-of-00003.tfrecord"
    write_shard(path, [example(), example(source_id=[b"8"])])
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    dataset = load(tmp_path)
    assert [record.image_id for record in dataset.records] == [8]
    assert dataset.problems == {
        "missing shard": ["train-00000-of-00003.tfrecord", "train-00002-of-00003.tfrecord"],
        "damaged record": [f"{path}, byte 12"],
    }


@pytest.mark.long
def test_no_damage_is_more_than_an_error_or_a_count(tmp_path):
    write_shard(tmp_path / "train.tfrecord", [example(**CAT, height=[20], width=[40])] * 3)
    whole = (tmp_path / "train.tfrecord").read_bytes()
    rng = np.random.default_rng(0)
    errors, read = [], 0
    for _ in range(80):
        content = bytearray(whole)
        content[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        cut = rng.integers(len(whole)) if rng.random() < 0.3 else len(whole)
        (tmp_path / "train.tfrecord").write_bytes(content[:cut])
        try:
            dataset = load(tmp_path)
        except UserError as error:
            errors.append(str(error))
        else:
            lost = sum(len(what) for what in dataset.problems.values())
            assert len(dataset.records) + lost == 3 or cut < len(whole)
            read += 1
    assert len(errors) > 10 < read and all("train.tfrecord" in error for error in errors)


def test_mutated_examples_never_crash(tmp_path):
    whole = example(**CAT, height=[20], width=[40])
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(1000):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(len(whole))] = rng.integers(256)
        rows.append(bytes(content))
    write_shard(tmp_path / "train.tfrecord", rows)
    dataset = load(tmp_path)
    skipped = ("unreadable annotation", "unreadable picture", "huge picture")
    lost = sum(len(dataset.problems.get(kind, ())) for kind in skipped)
    assert len(dataset.records) + lost == 1000 and 100 < lost < 900


def test_a_pattern_of_names_chooses_shards(tmp_path):
    for split, count in (("train", 3), ("val", 2)):
        for number in range(count):
            name = f"{split}-{number:05d}-of-{count:05d}.tfrecord"
            write_shard(tmp_path / name, [example(**CAT, source_id=[b"%d" % number])])
    assert splits(tmp_path / "train-*") == ["train"]
    assert splits(tmp_path / "*-0000[01]-of-*") == ["train", "val"]
    chosen = load(tmp_path / "train-0000[12]*", "train")
    assert [record.image_id for record in chosen.records] == [1, 2]
    assert chosen.problems == {}  # the first one is there
    (tmp_path / "train-00000-of-00003.tfrecord").unlink()
    chosen = load(tmp_path / "train-*", "train")
    assert chosen.problems == {"missing shard": ["train-00000-of-00003.tfrecord"]}
    with pytest.raises(UserError, match=r"Received: data_dir=.*/test-\*, without them"):
        splits(tmp_path / "test-*")
    folder = tmp_path / "a[1]"  # the name of a folder that looks like a pattern
    folder.mkdir()
    write_shard(folder / "val.tfrecord", [example(**CAT)])
    assert splits(folder) == ["val"]


def test_folder_without_shards(tmp_path):
    (tmp_path / "record.txt").write_text("no")
    with pytest.raises(UserError, match="Expected TFRecord files"):
        splits(tmp_path)


def test_a_file_for_each_image_is_one_set(tmp_path):
    (tmp_path / "tf_label_map.pbtxt").write_text("item { id: 5 name: 'cat' }")
    for name in ("thumb1", "thumb2"):
        write_shard(tmp_path / f"{name}.tfrecord", [example(**CAT)])
    assert splits(tmp_path) == []
    assert len(load(tmp_path).records) == 2
    (tmp_path / "tf_label_map.pbtxt").unlink()
    assert splits(tmp_path) == ["thumb1", "thumb2"]  # two sets, for all that can be told
    write_shard(tmp_path / "thumb3.tfrecord", [example(**CAT)])
    assert splits(tmp_path) == [] and len(load(tmp_path).records) == 3


def test_folders_that_are_splits(tmp_path):
    for name in ("train", "valid"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pets_label_map.pbtxt").write_text("item { id: 5 name: 'cat' }")
        write_shard(tmp_path / name / "pets.tfrecord", [example(**CAT)])
    assert splits(tmp_path) == ["train", "valid"]
    assert load(tmp_path, "val").class_ids == [5]


def test_boxes_in_pixels_where_they_are_said_to_be(tmp_path):
    pixels = objects([(10.0, 10.0, 20.0, 20.0)], texts=[b"cat"])
    write_shard(tmp_path / "train.tfrecord", [example(**pixels)])
    assert load(tmp_path, units="pixels").records[0].boxes.tolist() == [[10, 10, 20, 20]]
