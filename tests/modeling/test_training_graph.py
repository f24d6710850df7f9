"""Frozen batch norms in the training step: the same values and gradients."""

from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_retinanet
from keras_retinanet.config import ModelConfig
from keras_retinanet.config.model import FPNConfig, HeadConfig
from keras_retinanet.modeling.backbones.resnet import GroupedConv2D
from keras_retinanet.modeling.training_graph import frozen_norms, run_for_training

SMALL = ModelConfig(fpn=FPNConfig(channels=16), head=HeadConfig(channels=16, depth=1))


def set_norms(model, *, trainable=False):
    """Give each batch norm weights that are not the identity's."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            size = layer.gamma.shape[0]
            layer.set_weights([random.uniform(0.3, 1.5, size) for _ in range(4)])
            layer.trainable = trainable


def network(*, shared=False):
    """Build one convolution of each kind, each with its batch norm."""
    x = inputs = keras.Input((None, None, 4))
    kinds = (
        layers.Conv2D(8, 3, padding="same", use_bias=False, name="plain"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="depthwise"),
        GroupedConv2D(8, 3, groups=2, use_bias=False, name="grouped"),
        layers.Conv2D(8, 1, name="with_bias"),
    )
    for conv in kinds:
        x = layers.ReLU()(layers.BatchNormalization(epsilon=1e-3)(conv(x)))
    if shared:
        twice = layers.Conv2D(8, 1, use_bias=False, name="shared")
        x = layers.BatchNormalization()(twice(layers.BatchNormalization()(twice(x))))
    return keras.Model(inputs, x)


def test_values_and_gradients_are_those_of_the_layers(rng):
    model = network(shared=True)
    set_norms(model)
    kernels = [model.get_layer(name).kernel for name in ("plain", "depthwise", "grouped")]
    images = tf.constant(rng.uniform(-1, 1, (2, 9, 11, 4)), tf.float32)
    found = []
    for run in (lambda: model(images, training=True), lambda: run_for_training(model, images)):
        with tf.GradientTape() as tape:
            outputs = run()
            loss = tf.reduce_sum(outputs * outputs)
        found.append([outputs, *tape.gradient(loss, [k.value for k in kernels])])
    for expected, folded in zip(*found, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(folded, expected, rtol=1e-5, atol=1e-6 * scale)


def test_only_frozen_norms_with_a_convolution_of_their_own_are_folded():
    model = network(shared=True)
    names = {id(layer): layer.name for layer in model.layers}
    assert not frozen_norms(model)
    set_norms(model)
    folded = {names[key] for key in frozen_norms(model)}
    assert folded == {"plain", "depthwise", "grouped"}


def test_norms_that_train_update_their_statistics(rng):
    model = network()
    set_norms(model, trainable=True)
    before = [layer.moving_mean.numpy() for layer in model.layers if hasattr(layer, "moving_mean")]
    images = tf.constant(rng.uniform(-1, 1, (2, 9, 11, 4)), tf.float32)

    class Outer(keras.Model):
        def call(self, inputs, training=None):
            return run_for_training(model, inputs)

    Outer()(images, training=True)
    after = [layer.moving_mean.numpy() for layer in model.layers if hasattr(layer, "moving_mean")]
    assert all(not np.array_equal(*pair) for pair in zip(before, after, strict=True))


@pytest.fixture(scope="module")
def detector():
    keras.utils.set_random_seed(0)
    model = keras_retinanet.retinanet("resnet18", class_names=["cat", "dog"], config=SMALL)
    set_norms(model.backbone)
    for layer in model.backbone.layers:
        if layer.name.startswith(("stem", "stage2")):
            layer.trainable = False
    model.compile()
    return model


def batch():
    random = np.random.default_rng(0)
    labels = {"boxes": [[[10, 20, 60, 60]]], "classes": [[1]]}
    labels = {"boxes": np.array(labels["boxes"], "f4"), "classes": np.array(labels["classes"])}
    return random.uniform(0, 255, (1, 96, 96, 3)).astype("f4"), labels


def executed(graph):
    """Return how often the function of `graph` runs each kind of operation."""
    found, waiting = set(), [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return Counter(operation.type for operation in found)


@pytest.mark.long
def test_the_step_has_no_gradient_for_what_is_frozen(detector):
    step = tf.function(detector.train_step).get_concrete_function(batch())
    kinds = executed(step.graph)
    trained = sum(v.name == "kernel" for v in detector.backbone.trainable_variables)
    assert trained == 20 - 5
    shared = 5 * 2 * 2  # both heads of one convolution and the last, on five levels
    assert kinds["BiasAdd"] == 20 + shared + 8  # the norms of the backbone are biases
    assert kinds["Conv2DBackpropFilter"] == trained + shared + 8
    # The two that read what stage 2 gives need no gradient of their inputs.
    assert kinds["Conv2DBackpropInput"] == trained - 2 + shared + 8


@pytest.mark.long
def test_training_through_fit_is_that_of_the_layers(detector, monkeypatch):
    images, labels = batch()
    start = detector.get_weights()

    def weights_after():
        detector.set_weights(start)
        detector.compile(keras.optimizers.SGD(1e-3))
        detector.fit(images, labels, epochs=5, verbose=0)
        return detector.get_weights()

    folded = weights_after()
    layerwise = "keras_retinanet.modeling.trained_model.run_for_training"
    monkeypatch.setattr(layerwise, lambda model, inputs, _: model._run_through_graph(inputs))
    for ours, expected in zip(folded, weights_after(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
