"""Real sets written in every form: round trips, and what pycocotools, TensorFlow and TFDS read."""

import hashlib
import json

import numpy as np
import pytest
import tensorflow as tf
from real_sets import CROWDS, IMAGES
from writer_sets import CAT, CROWD, WITHOUT_IGNORE, assert_same, encoded, load_all, made_set

from keras_retinanet.data.sources import tfrecord
from keras_retinanet.data.splits import match_split
from keras_retinanet.data.writers import WRITERS, write_dataset
from keras_retinanet.data.writers import tfrecord as tfrecord_writer
from keras_retinanet.data.writers.shared import WriteOptions

# With crowds.
BOXES = {"train2017": 246, "val2017": 258}


@pytest.fixture(scope="module")
def real(real_coco):
    return load_all("coco", real_coco)


@pytest.mark.parametrize("form", WRITERS)
def test_a_real_set_there_and_back(real, tmp_path, form):
    write_dataset(real, tmp_path / "there", form, WriteOptions(shards=3, workers=1))
    there = load_all(form, tmp_path / "there")
    write_dataset(there, tmp_path / "back", "coco")
    back = load_all("coco", tmp_path / "back")
    loses = form in WITHOUT_IGNORE
    for split, boxes in BOXES.items():
        for found in (there, back):
            name = match_split(split[:-4], list(found), "")
            count = assert_same(found[name], real[split], without_ignore=loses)
            assert count == boxes - (CROWDS if loses else 0) and not found[name].problems


def test_what_coco_and_tfrecord_keep_beside_boxes(real, tmp_path):
    for form in ("coco", "tfrecord"):
        assert write_dataset(real, tmp_path / form, form) == []
        for split, found in load_all(form, tmp_path / form).items():
            truth = real[split]
            assert (found.class_names, found.class_ids) == (truth.class_names, truth.class_ids)
            for read, true in zip(found.records, truth.records, strict=True):
                assert (read.image_id, read.file_name) == (true.image_id, true.file_name)
                np.testing.assert_array_equal(read.areas, true.areas)


def test_pycocotools_reads_our_coco(real, tmp_path, capsys):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    write_dataset(real, tmp_path / "out", "coco")
    peer = COCO(str(tmp_path / "out/annotations/instances_val2017.json"))
    assert (len(peer.imgs), len(peer.anns), len(peer.cats)) == (IMAGES, BOXES["val2017"], 4)
    for record in real["val2017"].records:
        rows = peer.loadAnns(peer.getAnnIds(record.image_id))
        boxes = np.array([row["bbox"] for row in rows]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_allclose(boxes, record.boxes, atol=1e-4)
    # The truth as detections scores 1.
    found = [row | {"score": 1.0} for row in peer.anns.values() if not row["iscrowd"]]
    scores = COCOeval(peer, peer.loadRes(found), "bbox")
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
    assert scores.stats[0] == pytest.approx(1)


def test_tensorflow_parses_our_records(real, tmp_path):
    write_dataset({"val": real["val2017"]}, tmp_path / "out", "tfrecord", WriteOptions(shards=2))
    paths = sorted(map(str, (tmp_path / "out").glob("*.tfrecord-*")))
    assert [path[-14:] for path in paths] == ["00000-of-00002", "00001-of-00002"]
    rows = list(tf.data.TFRecordDataset(paths).as_numpy_iterator())
    sides = {f"image/object/bbox/{side}": tf.float32 for side in tfrecord.SIDES}
    kinds = sides | {"image/object/class/label": tf.int64, "image/object/class/text": tf.string}
    spec = {key: tf.io.RaggedFeature(kind) for key, kind in kinds.items()}
    spec |= {f"image/{key}": tf.io.FixedLenFeature([], tf.int64) for key in ("height", "width")}
    spec |= {f"image/{key}": tf.io.FixedLenFeature([], tf.string) for key in ("format", "encoded")}
    parsed = tf.io.parse_example(rows, spec)
    names = dict(zip(real["val2017"].class_ids, real["val2017"].class_names, strict=True))
    for index, record in enumerate(real["val2017"].records):
        boxes = np.stack([parsed[key][index] for key in sides], axis=-1)
        scale = [record.width, record.height] * 2
        np.testing.assert_allclose(boxes * scale, record.boxes, atol=1e-3)
        labels = parsed["image/object/class/label"][index].numpy().tolist()
        texts = parsed["image/object/class/text"][index].numpy().tolist()
        assert [names[label].encode() for label in labels] == texts
        size = tf.io.decode_jpeg(parsed["image/encoded"][index]).shape[:2]
        assert size == (record.height, record.width) == (
            parsed["image/height"][index], parsed["image/width"][index])  # fmt: skip
        assert parsed["image/format"][index] == b"jpeg"


def test_tfds_reads_our_records(real, tmp_path):
    import tensorflow_datasets as tfds

    write_dataset(real, tmp_path / "my set", "tfrecord", WriteOptions(shards=3))
    builder = tfds.builder_from_directory(tmp_path / "my set")
    assert builder.name == "my_set" and builder.info.splits["train2017"].num_examples == IMAGES
    read = tfds.ReadConfig(interleave_cycle_length=1)
    rows = list(builder.as_dataset(split="val2017", shuffle_files=False, read_config=read))
    assert len(rows) == IMAGES
    for row, record in zip(rows, real["val2017"].records, strict=True):
        assert row["image/encoded"].shape == (record.height, record.width, 3)
        assert row["image/source_id"] == str(record.image_id).encode()
        boxes = np.stack([row[f"image/object/bbox/{side}"] for side in tfrecord.SIDES], axis=-1)
        scale = [record.width, record.height] * 2
        np.testing.assert_allclose(boxes * scale, record.boxes, atol=1e-3)
        assert row["image/object/is_crowd"].numpy().tolist() == record.ignore.tolist()


@pytest.mark.long
def test_several_processes_write_the_same_bytes(real, tmp_path):
    contents = []
    for workers in (1, 2):
        folder = tmp_path / str(workers) / "set"
        write_dataset(real, folder, "tfrecord", WriteOptions(shards=4, workers=workers))
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1] and len(contents[0]) == 2 * 4 + 3


def test_records_hold_the_published_keys(tmp_path):
    data = made_set([("d/a.png", [CAT, CROWD])])
    record = data.records[0]
    content = tfrecord_writer.encode_example(
        record, encoded(), class_names=["cat", "dog"], class_ids=[5, 6]
    )
    features = tf.train.Example.FromString(content).features.feature
    assert features["image/source_id"].bytes_list.value == [b"0"]
    assert features["image/filename"].bytes_list.value == [b"d/a.png"]
    assert features["image/object/class/label"].int64_list.value == [5, 5]
    assert features["image/object/is_crowd"].int64_list.value == [0, 1]
    assert features["image/object/bbox/ymin"].float_list.value == pytest.approx([0.075, 1 / 6])
    assert features["image/key/sha256"].bytes_list.value == [
        hashlib.sha256(encoded()).hexdigest().encode()
    ]


def test_coco_file_is_json_of_short_numbers(real, tmp_path):
    write_dataset({"val": real["val2017"]}, tmp_path / "out", "coco")
    text = (tmp_path / "out/annotations/instances_val.json").read_text(encoding="utf-8")
    rows = json.loads(text)["annotations"]
    assert [row["id"] for row in rows] == list(range(1, BOXES["val2017"] + 1))
    assert max(len(str(side)) for row in rows for side in row["bbox"]) <= 10
