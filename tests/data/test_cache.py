"""Smaller copies: the same picture and boxes, scaled; made once."""

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data.pipeline.cache import cached
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.modeling.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(short_side=50, long_side=80)
# Larger than the input, just as large, smaller.
SIZES = [(200, 300), (50, 80), (20, 30)]


@pytest.fixture
def dataset(tmp_path):
    y, x = np.mgrid[:200, :300]
    picture = np.stack([x * 255 // 300, y * 255 // 200, 0 * x], -1).astype(np.uint8)
    records, problems = [], Problems()
    for index, (height, width) in enumerate(SIZES):
        path = tmp_path / f"{index}.png"
        Image.fromarray(picture[:height, :width]).save(path)
        objects = [((2, 4, width / 2, height), 0, False, None)]
        size = (height, width)
        records.append(
            make_record(
                index, ImageRef(str(path)), size, file_name=path.name, objects=objects,
                problems=problems,
            )
        )  # fmt: skip
    return Dataset("set", "train", ["cat"], [1], records, problems)


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_copies_are_as_large_as_needed_and_boxes_follow(dataset, tmp_path, kind):
    where = "memory" if kind == "memory" else str(tmp_path / "cache")
    small = cached(dataset, PREPROCESSING, AugmentConfig(), where)
    assert [(r.height, r.width) for r in small.records] == [(50, 75), (50, 80), (20, 30)]
    np.testing.assert_allclose(small.records[0].boxes, [[0.5, 1, 37.5, 50]])
    np.testing.assert_allclose(small.records[0].areas, 37 * 49, rtol=1e-6)
    copy = decode_image(small.read_bytes(0)).astype(int)
    original = decode_image(dataset.read_bytes(0))
    assert np.abs(copy - np.asarray(original)[2::4, 2::4]).mean() < 2
    # What needs no change is the stored file itself.
    assert small.read_bytes(2) == dataset.read_bytes(2)


def test_a_larger_jitter_keeps_more(dataset):
    augment = AugmentConfig(scale=(0.5, 2.0), short_sides=(40, 60))
    small = cached(dataset, PREPROCESSING, augment, "memory")
    assert (small.records[0].height, small.records[0].width) == (120, 180)


def test_a_file_is_made_once_for_the_same_pictures(dataset, tmp_path):
    def make():
        return cached(dataset, PREPROCESSING, AugmentConfig(), str(tmp_path / "cache"))

    first = make()
    (path,) = (tmp_path / "cache").glob("*.tfrecord")
    made = path.stat().st_mtime_ns
    assert make().read_bytes(1) == first.read_bytes(1)
    assert path.stat().st_mtime_ns == made
    Image.new("RGB", (300, 200)).save(tmp_path / "0.png")
    make()
    assert len(list((tmp_path / "cache").glob("*.tfrecord"))) == 2


def test_a_damaged_picture_stays_one(dataset, tmp_path):
    (tmp_path / "1.png").write_bytes(b"words")
    small = cached(dataset, PREPROCESSING, AugmentConfig(), "memory")
    assert small.records[1] is dataset.records[1] and small.read_bytes(1) == b"words"


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_a_picture_of_another_size_is_not_copied(dataset, tmp_path, kind):
    Image.new("RGB", (150, 100)).save(tmp_path / "0.png")
    where = "memory" if kind == "memory" else str(tmp_path / "cache")
    small = cached(dataset, PREPROCESSING, AugmentConfig(), where)
    assert small.records[0] is dataset.records[0]
    assert small.read_bytes(0) == (tmp_path / "0.png").read_bytes()
