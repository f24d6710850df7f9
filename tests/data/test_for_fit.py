"""A folder to batches for `fit` in one call, and COCO's metrics in a user's own `fit`."""

import json

import numpy as np
import pytest
from PIL import Image

import keras_retinanet
from keras_retinanet.config import (
    AugmentConfig,
    FPNConfig,
    HeadConfig,
    ModelConfig,
    PreprocessingConfig,
)
from keras_retinanet.errors import UserError

SIZES = PreprocessingConfig(short_side=64, long_side=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven images in COCO's format, each of its own gray level, one box in each."""
    place = tmp_path_factory.mktemp("coco")
    images, boxes = [], []
    for number in range(7):
        name = f"{number}.png"
        Image.new("RGB", (64, 64), (30 * number + 10,) * 3).save(place / name)
        images.append({"id": number, "file_name": name, "width": 64, "height": 64})
        box = {"bbox": [8, 8, 40, 40], "area": 1600, "iscrowd": 0, "category_id": 3}
        boxes.append({"id": number + 1, "image_id": number, **box})
    content = {"images": images, "annotations": boxes, "categories": [{"id": 3, "name": "cup"}]}
    (place / "a.json").write_text(json.dumps(content))
    return place


def gray_levels(batches):
    return [int(level) for images, _ in batches for level in images[:, 32, 32, 0]]


def test_an_epoch_is_as_many_batches_as_the_images_fill_and_the_next_one_continues(folder):
    batches = keras_retinanet.data.load(folder, "all", preprocessing=SIZES, batch_size=2)
    assert (len(batches), batches.class_names, len(batches.records.records)) == (3, ["cup"], 7)
    first, second = gray_levels(batches), gray_levels(batches)
    assert len(first) == len(second) == 6
    assert len(set(first)) == 6
    # The image that the first epoch left over comes first in the second.
    assert set(first) | {second[0]} == {30 * number + 10 for number in range(7)}

    images, labels = next(iter(batches))
    assert images.shape == (2, 64, 64, 3)
    np.testing.assert_array_equal(labels["classes"][:, :2], [[0, -1]] * 2)


@pytest.mark.long
def test_only_the_training_split_is_changed_unless_asked(folder):
    def boxes(split, **options):
        batches = keras_retinanet.data.load(folder, split, preprocessing=SIZES, **options)
        return {tuple(b) for _, y in batches for b in y["boxes"][:, 0].numpy().round().tolist()}

    plain, flipped = (8.0, 8.0, 48.0, 48.0), (16.0, 8.0, 56.0, 48.0)
    assert boxes("all", batch_size=7) == {plain}
    always = AugmentConfig(flip=1.0)
    assert boxes("all", batch_size=7, augment=always) == {flipped}
    assert boxes("train", batch_size=6) == {plain, flipped}


def test_an_unknown_split_is_an_error(folder):
    with pytest.raises(UserError, match="nowhere"):
        keras_retinanet.data.load(folder, "nowhere")


@pytest.mark.long
def test_fit_takes_the_batches_and_reports_cocos_metrics(folder, recwarn):
    batches = keras_retinanet.data.load(folder, "all", preprocessing=SIZES, batch_size=2)
    model = keras_retinanet.retinanet(
        "resnet18",
        class_names=batches.class_names,
        config=ModelConfig(
            preprocessing=SIZES, fpn=FPNConfig(channels=16), head=HeadConfig(channels=16, depth=1)
        ),
    )
    model.compile()
    metrics = keras_retinanet.evaluation.CocoMetrics(batches.records, every=2)
    seen = []

    class Later(keras_retinanet.evaluation.CocoMetrics.__base__):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(dict(logs))

    model.fit(batches, epochs=2, verbose=0, callbacks=[metrics, Later()])
    assert "val_AP" not in seen[0]
    assert 0 <= seen[1]["val_AP50"] <= 1
    assert not [str(w.message) for w in recwarn if "shuffle" in str(w.message)]
