"""Detection with batch norms folded: the same as built, whatever changes the weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from norm_graphs import GRAPHS, largest_gap, shaken

from keras_retinanet.modeling import folded_network
from keras_retinanet.modeling.folded_network import FoldedNetwork
from keras_retinanet.modeling.retinanet import RetinaNet, retinanet

SIZES = np.array([[96, 136]], "i4")


def pictures(rng):
    return rng.uniform(0, 255, (1, 96, 136, 3)).astype("f4")  # odd sides from P5 on


@pytest.fixture
def model(rng):
    return shaken("resnet18", rng)


def assert_detects_as_built(model, images):
    found, expected = model.detect_batch(images, SIZES), model.detect_as_built(images, SIZES)
    assert int(expected.num[0]) > 10
    np.testing.assert_array_equal(found.classes, expected.classes)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=1e-5, atol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("name", GRAPHS)
def test_the_same_outputs_with_fewer_batch_norms(name, rng):
    model, images = shaken(name, rng), pictures(rng)
    expected = {key: np.asarray(part) for key, part in model(images, training=False).items()}
    network = FoldedNetwork(model)
    network.refresh()
    run = tf.function(network)
    assert largest_gap(run(images), expected) < 1e-5
    operations = run.get_concrete_function(images).graph.get_operations()
    norms = [op for op in operations if op.name.endswith("batchnorm/Rsqrt")]
    assert len(norms) == GRAPHS[name][-1]


def _assign(model, _):
    model.backbone.trainable_weights[0].assign(model.backbone.trainable_weights[0] * 1.5)


def _set_weights(model, _):
    model.set_weights([weight * 0.9 for weight in model.get_weights()])


def _load_weights(model, folder):
    other = retinanet("resnet18", 5, config=model.config)
    other.set_weights([weight * 0.9 for weight in model.get_weights()])
    other.save_weights(folder / "other.weights.h5")
    model.load_weights(folder / "other.weights.h5")


def _move_statistics(model, _):
    norms = [w for w in model.backbone.weights if w.path.endswith("moving_mean")]
    norms[-1].assign(norms[-1] + 0.5)


def _train(model, _):
    model.compile("sgd")
    labels = {"boxes": np.array([[[10, 10, 60, 60]]], "f4"), "classes": np.zeros((1, 1), "i4"),
              "ignore": np.zeros((1, 1), bool)}  # fmt: skip
    model.fit(np.ones((1, 96, 136, 3), "f4"), labels, verbose=0)


@pytest.mark.long
@pytest.mark.parametrize("change", [_assign, _set_weights, _load_weights, _move_statistics, _train])
def test_changed_weights_are_folded_again_without_a_new_graph(change, model, rng, tmp_path):
    images = pictures(rng)
    assert_detects_as_built(model, images)
    before = model.detect_batch(images, SIZES).boxes.numpy()
    change(model, tmp_path)
    assert_detects_as_built(model, images)
    assert np.abs(model.detect_batch(images, SIZES).boxes.numpy() - before).max() > 1e-3
    assert model._detect_folded.experimental_get_tracing_count() == 1


def test_unchanged_weights_are_folded_once(model, rng, monkeypatch):
    folds = []
    fold = folded_network.folded_kernel
    monkeypatch.setattr(
        folded_network, "folded_kernel", lambda *pair: folds.append(pair) or fold(*pair)
    )
    for _ in range(3):
        model.detect_batch(pictures(rng), SIZES)
    assert len(folds) == len({id(conv) for conv, _ in folds}) > 10


@pytest.mark.long
def test_a_saved_model_holds_nothing_twice(model, rng, tmp_path):
    model.save(tmp_path / "before.keras")
    count = len(model.weights)
    model.detect_batch(pictures(rng), SIZES)
    model.save(tmp_path / "after.keras")
    assert len(model.weights) == count
    before, after = ((tmp_path / f"{name}.keras").stat().st_size for name in ("before", "after"))
    assert abs(before - after) < 1000


class Doubled(RetinaNet):
    """Does something of its own when it is called."""

    def call(self, images, training=None, mask=None):
        outputs = super().call(images, training=training, mask=mask)
        return {**outputs, "class_logits": outputs["class_logits"] * 2}


@pytest.mark.long
def test_where_nothing_is_folded(rng):
    images = pictures(rng)
    config = shaken("resnet18", rng).config
    own = Doubled(config, ["a", "b"])
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = RetinaNet(config, ["a", "b"])
    finally:
        keras.config.set_dtype_policy("float32")
    for model in (own, mixed):
        found = model.detect_batch(images, SIZES)
        for part, expected in zip(found, model.detect_as_built(images, SIZES), strict=True):
            np.testing.assert_array_equal(part, expected)
        assert model._detect_folded.experimental_get_tracing_count() == 0


@pytest.mark.long
def test_a_callers_graph_follows_the_weights(model, rng):
    images = pictures(rng)
    run = tf.function(model.detect_batch)
    run(images, SIZES)
    _assign(model, None)
    for part, expected in zip(
        run(images, SIZES), model.detect_as_built(images, SIZES), strict=True
    ):
        np.testing.assert_allclose(part, expected, rtol=1e-5, atol=1e-3)
