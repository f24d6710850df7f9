"""NAS-FPN: against a second computation, its size, its place in a detector."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_command import TINY, tiny

from keras_retinanet.config import BackboneConfig, FPNConfig, HeadConfig, ModelConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling import saving
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.modeling.nas_fpn import build_nas_fpn
from keras_retinanet.modeling.necks import build_neck
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import load, save_model

# Level, merge, the two inputs; whether it is an output. As Model Garden's table has them: a map
# that nothing reads joins the first output of its level.
TABLE = [
    (4, "attention", (1, 3), False),
    (4, "sum", (1, 5), False),
    (3, "sum", (0, 6), True),
    (4, "sum", (6, 7), True),
    (5, "attention", (7, 8), True),
    (7, "attention", (6, 9), True),
    (6, "attention", (9, 10), True),
]
CHANNELS, COUNTS = 4, (5, 4, 7)  # C4 needs no lateral convolution


@pytest.fixture(scope="module")
def features():
    """C3 to C5 of an odd size."""
    rng = np.random.default_rng(0)
    sides = ((13, 10), (7, 5), (4, 3))
    return [
        rng.normal(size=(2, *s, c)).astype("float32") for s, c in zip(sides, COUNTS, strict=True)
    ]


@pytest.fixture(scope="module")
def neck():
    keras.utils.set_random_seed(0)
    model = build_nas_fpn(COUNTS, channels=CHANNELS, repeats=2, norm="batch_norm")
    rng = np.random.default_rng(1)
    for weight in model.weights:
        low, high = (0.5, 1.5) if weight.name in ("gamma", "moving_variance") else (-0.5, 0.5)
        weight.assign(rng.uniform(low, high, weight.shape))
    return model


def pooled(x, size):
    """Maximum over windows from the top left, with what lies over the edge left out."""
    windows = [-(-side // size) for side in x.shape[1:3]]
    over = [count * size - side for count, side in zip(windows, x.shape[1:3], strict=True)]
    # TensorFlow's "SAME": half of what is missing lies before the first row.
    pads = [(extra // 2, extra - extra // 2) for extra in over]
    x = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=-np.inf)
    rows, columns = windows
    return x.reshape(len(x), rows, size, columns, size, -1).max((2, 4))


def resampled(x, level, target, size):
    if level <= target:
        return pooled(x, 2 ** (target - level))
    rows, columns = (
        np.arange(out) * side // out for out, side in zip(size, x.shape[1:3], strict=True)
    )
    return x[:, rows][:, :, columns]


def convolved(x, model, name):
    """Convolution, bias and batch norm, with the weights of the layers of that name."""
    kernel, bias = model.get_layer(name).get_weights()
    side = kernel.shape[0] // 2
    padded = np.pad(x, [(0, 0), (side, side), (side, side), (0, 0)])
    total = sum(
        padded[:, i : i + x.shape[1], j : j + x.shape[2]] @ kernel[i, j]
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    )
    gamma, beta, mean, variance = model.get_layer(f"{name}_norm").get_weights()
    return (total + bias - mean) / np.sqrt(variance + 1e-3) * gamma + beta


def by_numpy(features, model):
    maps = [
        convolved(x, model, f"lateral_c{level}") if x.shape[-1] != CHANNELS else x
        for level, x in zip((3, 4, 5), features, strict=True)
    ]
    for _ in (6, 7):
        maps.append(pooled(maps[-1], 2))
    for repeat in (1, 2):
        levels, sizes, read = [3, 4, 5, 6, 7], [x.shape[1:3] for x in maps], [0] * 5
        for number, (level, merge, places, is_output) in enumerate(TABLE, start=1):
            pair = []
            for place in places:
                read[place] += 1
                pair.append(resampled(maps[place], levels[place], level, sizes[level - 3]))
            if merge == "attention":
                if levels[places[0]] < levels[places[1]]:
                    pair.reverse()
                pair[1] = pair[1] / (1 + np.exp(-pair[0].max((1, 2), keepdims=True)))
            merged = pair[0] + pair[1]
            for place, count in enumerate(read):
                if is_output and not count and levels[place] == level:
                    read[place], merged = 1, merged + maps[place]
            name = f"repeat{repeat}_cell{number}_conv"
            maps.append(convolved(np.maximum(merged, 0), model, name))
            levels.append(level)
            read.append(0)
        maps = [maps[levels.index(level, 7)] for level in (3, 4, 5, 6, 7)]
    return maps


def test_it_equals_a_second_computation(neck, features):
    found = neck([tf.constant(x) for x in features], training=False)
    expected = by_numpy([x.astype("float64") for x in features], neck)
    assert [x.shape[1:3] for x in expected] == [(13, 10), (7, 5), (4, 3), (2, 2), (1, 1)]
    for ours, theirs in zip(found, expected, strict=True):
        assert np.std(theirs) > 0.1
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4 * np.abs(theirs).max())


def test_every_weight_learns(neck, features):
    with tf.GradientTape() as tape:
        outputs = neck([tf.constant(x) for x in features], training=True)
        total = tf.add_n([tf.reduce_sum(x * x * x) for x in outputs])
    for weight, slope in zip(
        neck.trainable_variables,
        tape.gradient(total, neck.trainable_variables, unconnected_gradients="zero"),
        strict=True,
    ):
        assert np.abs(slope).max() > 0 or weight.name == "bias", weight.path  # a norm follows


def test_its_size_on_a_resnet_50():
    """7 pyramids of 7 cells of 256 channels, and a lateral convolution for each of C3 to C5."""
    model = build_nas_fpn((512, 1024, 2048), norm="batch_norm")
    norm = 2 * 256
    cells = 49 * (9 * 256 * 256 + 256 + norm)
    laterals = 256 * (512 + 1024 + 2048) + 3 * (256 + norm)
    trained = sum(np.prod(weight.shape) for weight in model.trainable_weights)
    assert trained == cells + laterals == 29_858_816


@pytest.fixture
def detector():
    BACKBONES[TINY] = tiny
    keras.utils.set_random_seed(0)
    neck = FPNConfig("nas_fpn", repeats=2, channels=8, norm="batch_norm", separable=True)
    head = HeadConfig(8, depth=1)
    yield RetinaNet(ModelConfig(BackboneConfig(TINY), fpn=neck, head=head), ["a", "b"])
    del BACKBONES[TINY]


@pytest.mark.long
def test_a_detector_with_it_trains_and_is_stored(detector, tmp_path, rng):
    images = rng.uniform(0, 255, (2, 64, 96, 3)).astype("float32")
    labels = {"boxes": np.float32([[[8, 8, 40, 40]]] * 2), "classes": np.int32([[0], [1]])}
    detector.compile("sgd")
    assert np.isfinite(detector.train_on_batch(images, labels)).all()
    save_model(detector, tmp_path / "m.keras")
    stored = load(tmp_path / "m.keras")
    assert stored.config.fpn == detector.config.fpn
    ours, theirs = (model(images, training=False) for model in (stored, detector))
    np.testing.assert_array_equal(ours["class_logits"], theirs["class_logits"])


def test_a_file_that_claims_more_pyramids_than_it_holds_is_refused(detector, tmp_path, monkeypatch):
    save_model(detector, tmp_path / "m.keras")
    config = saving.read_config(tmp_path / "m.keras")
    fpn = {**config["model"]["fpn"], "repeats": 32, "channels": 512, "separable": False}
    claimed = {**config, "model": {**config["model"], "fpn": fpn}}
    monkeypatch.setattr(saving, "read_config", lambda path: claimed)
    with pytest.raises(UserError, match="bytes of weights are needed"):
        load(tmp_path / "m.keras")


def test_the_name_of_the_neck():
    inputs = {"c3": 4, "c4": 4, "c5": 4}
    with pytest.raises(ValueError, match="Expected name 'fpn' or 'nas_fpn'"):
        build_neck(inputs, **{**dataclasses.asdict(FPNConfig(channels=4)), "name": "bifpn"})
