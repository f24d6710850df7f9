"""Keras's `fit` on labels of a user's own: checks, weights of images and classes, XLA, freezing."""

import keras
import numpy as np
import pytest

import keras_retinanet
from keras_retinanet.config import ModelConfig
from keras_retinanet.config.model import FPNConfig, HeadConfig
from keras_retinanet.errors import UserError

BOX = (10, 20, 60, 60)
BOXES = (BOX, (30, 30, 110, 120))
IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 128, 160, 3)).astype("float32")


# Small, because each new step is traced.
SMALL = ModelConfig(fpn=FPNConfig(channels=16), head=HeadConfig(channels=16, depth=2))


def detector():
    return keras_retinanet.retinanet("resnet18", class_names=["cat", "dog"], config=SMALL)


def model(**compile_options):
    keras.utils.set_random_seed(0)
    result = detector()
    result.compile(optimizer=keras.optimizers.SGD(0.0), **compile_options)
    return result


@pytest.fixture(scope="module")
def trained():
    return model()


def labels(boxes=BOXES, classes=(0, 1), **others):
    found = {"boxes": np.array(boxes, "float32")[:, None], "classes": np.array(classes)[:, None]}
    return found | {key: np.array(value)[:, None] for key, value in others.items()}


def losses(trained, y=None, **options):
    history = trained.fit(IMAGES, y or labels(), verbose=0, **options).history
    return {name: values[0] for name, values in history.items()}


@pytest.mark.long
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (labels(classes=(1, 2)), "class ids 0 to 1. Received: 2. "),
        (labels(boxes=(BOX, [60, 20, 10, 60])), "x1 < x2 and y1 < y2 .* Received: 60 20 10 60. "),
        (labels(boxes=(BOX, [10, 20, np.nan, 60])), "x1 < x2 and y1 < y2"),
        (labels(boxes=(BOX, [200, 20, 300, 60])), "centers in the image. Received: 200 20 300 60"),
        (labels(boxes=([0.1, 0.2, 0.5, 0.6],) * 2), "boxes in pixels"),
    ],
)
def test_labels_that_cannot_be_right_are_an_error_at_the_first_batch(trained, y, message):
    for method in (trained.train_on_batch, trained.evaluate, trained.fit):
        with pytest.raises(UserError, match=message):
            method(IMAGES, y)


@pytest.mark.long
@pytest.mark.parametrize(
    "y",
    [
        labels(boxes=(BOX, [-1] * 4), classes=(0, -1)),  # padding
        labels(boxes=(BOX, [200, 20, 300, 60]), ignore=(False, True)),
        labels(boxes=(BOX, [-10, -5, 165, 130])),  # cut by the edge
        labels(boxes=(BOX, [0.1, 0.2, 0.9, 0.9])),  # one tiny box among others
    ],
)
def test_padding_ignored_and_cut_boxes_are_trained_on(trained, y):
    assert np.isfinite(losses(trained, y)["loss"])


@pytest.mark.long
def test_weights_of_images_scale_their_losses(trained):
    """Each image alone has its own positives; together both divide by the sum of them."""
    plain = losses(trained)
    assert losses(trained, sample_weight=np.array([1.0, 1.0])) == plain
    first, second = (
        losses(trained, sample_weight=np.array(weights, "float32")) for weights in ([1, 0], [0, 1])
    )
    both = losses(trained, sample_weight=np.array([2.0, 1.0]))
    assert losses(trained, sample_weight=np.zeros(2))["loss"] == 0
    for name in plain:
        assert first[name] > 0
        assert second[name] > 0
        assert plain[name] == pytest.approx(first[name] + second[name], rel=1e-5)
        assert both[name] == pytest.approx(2 * first[name] + second[name], rel=1e-5)


@pytest.mark.long
def test_weights_of_classes_scale_the_losses_of_their_boxes(trained):
    plain = losses(trained)
    only_cats = losses(trained, class_weight={1: 0.0})
    only_dogs = losses(trained, class_weight={0: 0.0})
    assert plain["box_loss"] == pytest.approx(
        only_cats["box_loss"] + only_dogs["box_loss"], rel=1e-5
    )
    tripled = losses(trained, class_weight={0: 3.0})
    assert tripled["box_loss"] == pytest.approx(
        3 * only_cats["box_loss"] + only_dogs["box_loss"], rel=1e-5
    )
    assert losses(trained) == plain  # weights of one `fit` do not outlive it
    with pytest.raises(UserError, match="class_weight"):
        losses(trained, class_weight={2: 1.0})


@pytest.mark.slow
def test_xla_trains_with_the_same_values(trained):
    """XLA sums in another order: the losses of one step agree, not to the bit."""
    expected = losses(trained)
    assert losses(model(jit_compile=True)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("freeze", ["backbone", "one layer", "all", "nothing"])
def test_frozen_layers_and_the_optimizer_survive_the_file(tmp_path, freeze):
    saved = detector()
    part = {
        "backbone": saved.backbone,
        "one layer": saved.class_head.get_layer("conv2"),
        "all": saved,
    }
    if freeze in part:
        part[freeze].trainable = False
    saved.compile(optimizer=keras.optimizers.Adam(1e-4))
    if freeze == "backbone":
        saved.fit(IMAGES, labels(), verbose=0)
    path = tmp_path / "model.keras"
    saved.save(path)

    again = keras.saving.load_model(path)
    assert [v.trainable for v in again.weights] == [v.trainable for v in saved.weights]
    assert int(again.optimizer.iterations) == int(saved.optimizer.iterations)
    keras_retinanet.save_model(saved, path)
    again = keras_retinanet.load(path)
    assert [v.trainable for v in again.weights] == [v.trainable for v in saved.weights]
    assert ("frozen" in again.get_config()) == (freeze != "nothing")


def test_inputs_may_be_computed_from_keras_tensors():
    core = detector()
    inputs = keras.Input((128, 160, 3))
    wrapped = keras.Model(inputs, core(inputs * 255.0))
    expected = core(IMAGES)["class_logits"]
    np.testing.assert_allclose(wrapped(IMAGES / 255.0)["class_logits"], expected, atol=1e-4)


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(UserError, match="channels_last"):
            detector()
    finally:
        keras.config.set_image_data_format("channels_last")
