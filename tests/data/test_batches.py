"""Batches from files: the same however resumed or batched, whole whatever a file holds."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_retinanet.config import AugmentConfig, DataConfig
from keras_retinanet.data.pipeline.batches import evaluation_dataset, training_batches
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record, read_slice
from keras_retinanet.modeling.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(short_side=64, long_side=96)
SIZES = [(60, 90), (90, 60), (64, 64), (50, 75), (64, 64), (60, 90), (75, 50)]
DATA = DataConfig(augment=AugmentConfig(scale=(0.8, 1.3), color=0.2), max_boxes=5)


def write_dataset(folder, sizes=SIZES, boxes=2):
    rng, records = np.random.default_rng(0), []
    for index, (height, width) in enumerate(sizes):
        name = f"{index}.png"
        content = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(content).save(folder / name)
        objects = [((5 * i, 5, 5 * i + 20, 40), i % 2, i == 1, None) for i in range(boxes)]
        made = make_record(
            index,
            ImageRef(str(folder / name)),
            (height, width),
            file_name=name,
            objects=objects,
            problems=Problems(),
        )
        records.append(made)
    return Dataset("set", "train", ["cat", "dog"], [1, 2], records)


def train(dataset, count, *, data_config=DATA, batch_size=2, **options):
    batches = training_batches(
        dataset, PREPROCESSING, data_config=data_config, batch_size=batch_size, seed=0, **options
    )
    return list(itertools.islice(batches.as_numpy_iterator(), count))


def assert_equal(left, right):
    np.testing.assert_array_equal(left[0], right[0])
    for name in ("boxes", "classes", "ignore"):
        np.testing.assert_array_equal(left[1][name], right[1][name])


@pytest.mark.long
def test_batches_repeat_and_resume_exactly(tmp_path):
    dataset = write_dataset(tmp_path)
    whole = train(dataset, 12)
    for start in (0, 5):
        for left, right in zip(
            whole[start:], train(dataset, 12 - start, start_step=start), strict=True
        ):
            assert_equal(left, right)
    assert len({batch[0].shape for batch in whole}) > 1


def test_structure_of_a_batch(tmp_path):
    dataset = write_dataset(tmp_path)
    batches = training_batches(dataset, PREPROCESSING, data_config=DATA, batch_size=2, seed=0)
    images, labels = batches.element_spec
    assert images == tf.TensorSpec([2, None, None, 3], tf.float32)
    assert labels["boxes"] == tf.TensorSpec([2, 5, 4], tf.float32)
    assert labels["classes"] == tf.TensorSpec([2, 5], tf.int32)
    assert labels["ignore"] == tf.TensorSpec([2, 5], tf.bool)
    policy = batches.options().experimental_distribute.auto_shard_policy
    assert policy == tf.data.experimental.AutoShardPolicy.OFF


def test_picture_and_boxes_arrive_unchanged_without_augmentation(tmp_path):
    dataset = write_dataset(tmp_path, sizes=[(64, 96)])
    config = DataConfig(augment=AugmentConfig(flip=0.0), max_boxes=3)
    images, labels = train(dataset, 1, data_config=config, batch_size=1)[0]
    np.testing.assert_array_equal(images[0], np.asarray(Image.open(tmp_path / "0.png")))
    np.testing.assert_allclose(labels["boxes"][0, :2], dataset.records[0].boxes, rtol=1e-6)
    assert labels["classes"][0].tolist() == [0, 1, -1]
    assert labels["ignore"][0].tolist() == [False, True, False]


@pytest.mark.long
@pytest.mark.parametrize("damage", ["removed", "cut", "empty", "folder"])
def test_picture_lost_while_training_teaches_nothing_and_moves_nothing(tmp_path, damage):
    dataset = write_dataset(tmp_path, sizes=[(64, 64)] * 4)
    before = train(dataset, 4)
    path = tmp_path / "1.png"
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "removed":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    after = train(dataset, 4)
    changed = 0
    for left, right in zip(before, after, strict=True):
        for row in range(2):
            if (right[1]["classes"][row] >= 0).sum() == 1 and right[1]["ignore"][row, 0]:
                changed += 1
                x1, y1, x2, y2 = right[1]["boxes"][row, 0]
                # Larger than every anchor that stands out of the canvas.
                assert max(x1, y1) < -900 and min(x2, y2) > 900 + 64
                assert np.ptp(right[0][row]) < 130
            else:
                assert_equal(
                    *[(b[0][row], {k: v[row] for k, v in b[1].items()}) for b in (left, right)]
                )
    # Each of the two epochs met it once, and it is noted once a pipeline.
    assert changed == 2
    assert dataset.problems == {"unreadable picture": ["1.png"]}


def test_picture_of_another_size_keeps_its_boxes_on_its_pixels(tmp_path):
    dataset = write_dataset(tmp_path, sizes=[(64, 96)])
    Image.new("RGB", (48, 64), (255, 0, 0)).save(tmp_path / "0.png")
    config = DataConfig(augment=AugmentConfig(flip=0.0), max_boxes=2)
    images, labels = train(dataset, 1, data_config=config, batch_size=1)[0]
    assert images.shape == (1, 64, 96, 3)
    # It fits the planned canvas unscaled; its boxes are read as being in its own pixels.
    assert (images[0, :64, :48] == [255, 0, 0]).all() and not (images[0, :, 48:, 0] == 255).any()
    np.testing.assert_allclose(labels["boxes"][0, 0], [0, 5, 20, 40])
    assert list(dataset.problems) == ["picture of another size than annotated"]


def test_more_boxes_than_fit_are_counted(tmp_path):
    dataset = write_dataset(tmp_path, boxes=7)
    _, labels = train(dataset, 1)[0]
    is_box = labels["classes"] >= 0
    assert 0 < (is_box & ~labels["ignore"]).sum() <= 10
    assert (is_box & labels["ignore"]).sum() > 2 and labels["classes"].shape == (2, 5 + 16)
    assert len(dataset.problems["more boxes than max_boxes"]) == len(SIZES)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_evaluation_sees_each_picture_as_prediction_does(tmp_path, batch_size):
    dataset = write_dataset(tmp_path)
    seen = []
    for indices, *parts in evaluation_dataset(
        dataset, PREPROCESSING, batch_size=batch_size
    ).as_numpy_iterator():
        assert len(indices) <= batch_size
        for index, image, size, source_size in zip(indices, *parts, strict=True):
            assert tuple(source_size) == SIZES[index]
            stored = np.asarray(Image.open(tmp_path / f"{index}.png"))
            expected, resized = PREPROCESSING.letterbox(stored)
            np.testing.assert_array_equal(image, expected)
            assert tuple(size) == resized
            seen.append(index)
    assert sorted(seen) == list(range(len(SIZES)))


def test_evaluation_marks_a_lost_picture_with_size_zero(tmp_path):
    dataset = write_dataset(tmp_path)
    (tmp_path / "3.png").write_bytes(b"words")
    batches = evaluation_dataset(dataset, PREPROCESSING, batch_size=4).as_numpy_iterator()
    sizes = {}
    for indices, _, found, _ in batches:
        sizes |= {i: tuple(size) for i, size in zip(indices, found, strict=True)}
    assert len(sizes) == len(SIZES) and sizes.pop(3) == (0, 0)
    assert all(min(size) > 0 for size in sizes.values())
    assert dataset.problems == {"unreadable picture": ["3.png"]}


@pytest.mark.long
def test_workers_read_their_part_of_each_batch(tmp_path):
    dataset = write_dataset(tmp_path)
    whole = train(dataset, 6, batch_size=4)
    parts = []
    for worker in range(2):
        read = []
        own = replace(
            dataset, reader=lambda image, read=read: read.append(image) or read_slice(image)
        )
        parts.append(train(own, 6, batch_size=4, shard=(worker, 2)))
        # It may have read ahead, but never the other worker's pictures of these batches.
        assert len(read) < 6 * 4
    for batch, *shards in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(np.concatenate([images for images, _ in shards]), batch[0])
        boxes = np.concatenate([labels["boxes"] for _, labels in shards])
        np.testing.assert_array_equal(boxes, batch[1]["boxes"])


@pytest.mark.long
def test_what_is_mixed_repeats_too(tmp_path):
    dataset = write_dataset(tmp_path)
    augment = AugmentConfig(mosaic=0.5, mixup=0.5, copy_paste=0.5)
    mixed = DataConfig(augment=augment, max_boxes=9)
    whole = train(dataset, 6, data_config=mixed)
    for left, right in zip(
        whole[2:], train(dataset, 4, data_config=mixed, start_step=2), strict=True
    ):
        assert_equal(left, right)
    # Two boxes a picture, so more than two come from others.
    assert max((labels["classes"] >= 0).sum(axis=1).max() for _, labels in whole) > 2


def test_two_replicas_share_a_batch(tmp_path):
    dataset = write_dataset(tmp_path, sizes=[(64, 64)] * 4)
    batches = training_batches(dataset, PREPROCESSING, data_config=DATA, batch_size=4, seed=0)
    whole = next(iter(batches))
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    shared = next(iter(strategy.experimental_distribute_dataset(batches)))
    np.testing.assert_array_equal(shared[0], whole[0])
