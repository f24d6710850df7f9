"""A TFDS data set written here: boxes, classes and bytes match, and reading is random access."""

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.loading import load_dataset, load_train_val
from keras_retinanet.data.sources import tfds as source
from keras_retinanet.errors import UserError

COUNT = 12
NAMES = ["ant", "bee", "cow"]


def picture(index):
    rng = np.random.default_rng(index)
    stream = io.BytesIO()
    content = rng.integers(0, 256, (20 + index, 40, 3), dtype=np.uint8)
    Image.fromarray(content).save(stream, "PNG")
    return stream.getvalue()


def boxes(index):
    """Returns (N, 4) xyxy in pixels; picture 0 has none."""
    rng = np.random.default_rng(100 + index)
    corner = rng.integers(0, 10, (index % 4, 2))
    return np.concatenate([corner, corner + rng.integers(1, 10, corner.shape)], axis=1)


class TinyBoxes(tfds.core.GeneratorBasedBuilder):
    """Twelve pictures of noise with up to three boxes."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        objects = {
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(names=NAMES),
            "is_crowd": np.bool_,
            "area": np.int64,
        }
        features = {
            "image": tfds.features.Image(encoding_format="png"),
            "image/id": np.int64,
            "image/filename": tfds.features.Text(),
            "objects": tfds.features.Sequence(objects),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(), "validation": self._generate_examples(4)}

    def _generate_examples(self, count=COUNT):
        for index in range(count):
            height = 20 + index
            rows = [
                {
                    "bbox": tfds.features.BBox(y1 / height, x1 / 40, y2 / height, x2 / 40),
                    "label": (index + i) % 3,
                    "is_crowd": i == 2,
                    "area": 7 + i,
                }
                for i, (x1, y1, x2, y2) in enumerate(boxes(index).tolist())
            ]
            yield (
                index,
                {
                    "image": io.BytesIO(picture(index)),
                    "image/id": 1000 + index,
                    "image/filename": f"{index}.png",
                    "objects": rows,
                },
            )


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    builder = TinyBoxes(data_dir=folder)
    shards = tfds.download.DownloadConfig(num_shards=2)
    builder.download_and_prepare(download_config=shards)
    return DataConfig(source="tfds", name="tiny_boxes", data_dir=str(folder))


def test_boxes_classes_and_pictures_match(config):
    dataset = load_dataset(config, "train")
    assert len(dataset.records) == COUNT and not dataset.problems
    assert (dataset.class_names, dataset.class_ids) == (NAMES, [1, 2, 3])
    assert len({record.image.path for record in dataset.records}) == 2
    # TFDS shuffles what it writes; reading starts anywhere.
    for position in np.random.default_rng(0).permutation(COUNT):
        record = dataset.records[position]
        index = record.image_id - 1000
        count = index % 4
        assert dataset.read_bytes(position) == picture(index)
        assert (record.height, record.width) == (20 + index, 40)
        assert record.file_name == f"{index}.png"
        np.testing.assert_allclose(record.boxes, boxes(index), atol=1e-4)
        assert record.classes.tolist() == [(index + i) % 3 for i in range(count)]
        assert record.ignore.tolist() == [i == 2 for i in range(count)]
        assert record.areas.tolist() == [7 + i for i in range(count)]


def test_splits_and_prepared(config, tmp_path):
    assert source.splits(config) == ["train", "validation"]
    train, val = load_train_val(config)
    assert (len(train.records), len(val.records)) == (COUNT, 4)
    assert source.is_prepared("tiny_boxes", config.data_dir)
    assert not source.is_prepared("tiny_boxes", str(tmp_path))


def test_cut_shard_is_named(config, tmp_path):
    folder = tmp_path / "tiny_boxes"
    shutil.copytree(Path(config.data_dir) / "tiny_boxes", folder)
    shard = next(folder.glob("*/*-train.tfrecord-00001-of-00002"))
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"tfrecord-00001-of-00002, cut off at byte \d+"):
        load_dataset(replace(config, data_dir=str(tmp_path)), "train")


@pytest.mark.parametrize(
    ("name", "message"), [(None, "--name"), ("no_such_set", "knows"), ("coco/2017", "tfds build")]
)
def test_what_is_not_there_is_the_users_error(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        source.splits(DataConfig(source="tfds", name=name, data_dir=str(tmp_path)))


def test_coco_ids_have_their_gaps():
    assert len(source.COCO_IDS) == 80 and source.COCO_IDS[11] == 13 and source.COCO_IDS[-1] == 90
