"""Keras's layers by name: no pixel moves, an image's seed repeats, and the rest is refused."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config import config_from_dict, config_to_dict, load_config
from keras_retinanet.data.augmentation.keras_layers import NAMES, keras_layers
from keras_retinanet.errors import UserError

ARGUMENTS = {
    "RandomColorJitter": {
        "brightness_factor": 0.3,
        "contrast_factor": 0.3,
        "saturation_factor": 0.3,
        "hue_factor": 0.2,
    },
    "RandomGaussianBlur": {"factor": 1.0, "kernel_size": 5, "sigma": 1.0},
    "RandomInvert": {"factor": 1.0},
    "RandomPosterization": {"factor": 3},
    "Solarization": {"addition_factor": 0.4, "threshold_factor": 0.4},
    "RandAugment": {},
    "AutoContrast": {},
    "Equalization": {},
}
# The largest share of what a blur or a sharpening may carry over an edge, in pixels.
REACH = 3


def images(rng):
    """Return images of two sizes: a noisy square on an even background."""
    for number in range(8):
        size = (48, 64) if number % 2 else (40, 32)
        image = np.full((*size, 3), (60, 110, 170), np.float32)
        image[10:30, 8:24] = rng.uniform(150, 255, (20, 16, 3))
        yield image, np.array([number, 3], np.int32)


def run(name, *, parallel=3):
    apply = keras_layers([{name: ARGUMENTS.get(name, {"factor": 0.5})}])
    signature = tf.TensorSpec([None, None, 3]), tf.TensorSpec([2], tf.int32)
    rows = tf.data.Dataset.from_generator(
        lambda: images(np.random.default_rng(0)), output_signature=signature
    )
    changed = rows.map(apply, num_parallel_calls=parallel, deterministic=True)
    return list(changed.as_numpy_iterator())


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_each_layer_repeats_changes_and_moves_nothing(name):
    found, again = run(name), run(name, parallel=1)
    changed = 0
    for (image, _), left, right in zip(images(np.random.default_rng(0)), found, again, strict=True):
        np.testing.assert_array_equal(left, right)
        assert left.shape == image.shape and left.dtype == np.float32
        assert left.min() >= 0 and left.max() <= 255
        changed += np.abs(left - image).max() > 1
        # Away from the square the background is even still: nothing of it came there.
        outside = np.ones(image.shape[:2], bool)
        outside[10 - REACH : 30 + REACH, 8 - REACH : 24 + REACH] = False
        outside[:REACH], outside[-REACH:], outside[:, :REACH], outside[:, -REACH:] = [False] * 4
        assert np.ptp(left[outside], axis=0).max() < 1.5
    assert changed >= 2


def test_images_differ_in_what_is_drawn():
    means = {round(float(image[0, 0, 0]), 2) for image in run("RandomBrightness")}
    assert len(means) > 4  # some are all white or all black


def test_a_recipe_names_layers_with_and_without_arguments(tmp_path):
    text = "data:\n  augment:\n    layers: [AutoContrast, {RandAugment: {factor: 0.3}}]\n"
    (tmp_path / "own.yaml").write_text(text)
    config = load_config(tmp_path / "own.yaml")
    assert config.data.augment.layers == ("AutoContrast", {"RandAugment": {"factor": 0.3}})
    assert config_from_dict(config_to_dict(config)) == config
    keras_layers(config.data.augment.layers)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("RandomRotation", "move no pixel.*Received: RandomRotation. What moves"),
        ("keras.layers.Dense", "Received: Dense"),
        ({"RandomHue": {"amount": 1}}, r"arguments of keras.layers.RandomHue.*'amount': 1"),
        ({"RandomContrast": {"factor": 7}}, "arguments of keras.layers.RandomContrast"),
        ({"RandomHue": {"factor": 0.1}, "AutoContrast": {}}, "one layer with its arguments"),
    ],
)
def test_what_is_no_such_layer_is_one_line(entry, message):
    with pytest.raises(UserError, match=message) as caught:
        keras_layers([entry])
    assert "\n" not in str(caught.value)
