"""What is timed where no file is named."""

import numpy as np
import pytest

from keras_retinanet.config.files import load_config
from keras_retinanet.data import decode_image
from keras_retinanet.modeling import retinanet, save_model
from keras_retinanet.speed import Subject, drawn_image

SMALL = {"model.fpn.channels": 16, "model.head.channels": 16, "model.head.depth": 1}


def test_a_random_network_freezes_what_training_from_weights_does():
    counts = {}
    for weights in (None, "imagenet"):
        changes = {"model.backbone.name": "resnet18", "model.backbone.weights": weights}
        config = load_config("shapes", {**SMALL, **changes, "model.backbone.frozen_stages": 2})
        model = Subject(config=config.model, num_classes=3).make()
        assert len(model.class_names) == 3
        counts[weights] = len(model.trainable_weights)
    assert counts["imagenet"] < counts[None]


@pytest.mark.long
def test_a_file_gets_another_input_and_keeps_its_weights(tmp_path):
    config = load_config("shapes", SMALL).model
    model = retinanet("resnet18", class_names=["a", "b"], config=config)
    save_model(model, tmp_path / "a.keras")
    changed = Subject(tmp_path / "a.keras", image_size=(48, 96)).make()
    sides = changed.config.preprocessing
    assert (sides.short_side, sides.long_side) == (48, 96)
    assert changed.preprocessing.resized_size(24, 48) == (48, 96)
    assert changed.class_names == ["a", "b"]
    for mine, theirs in zip(changed.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("sides", [(800, 800), (320, 416), (64, 96)])
def test_a_drawn_image_fills_the_input(sides):
    encoded = drawn_image(*sides)
    assert encoded == drawn_image(*sides)
    image = decode_image(encoded)
    scale = min(sides[0] / image.shape[0], sides[1] / image.shape[1])
    filled = np.round(np.array(image.shape[:2]) * scale)
    assert np.abs(filled - sides).max() <= 1
    assert image.std() > 30
