"""Activations that are computed again: the same step, from blocks that join to the whole."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

import keras_retinanet
from keras_retinanet.config import ModelConfig
from keras_retinanet.config.model import FPNConfig, HeadConfig
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.modeling.heads import build_head
from keras_retinanet.modeling.recomputation import blocks, levels, run_pieces
from keras_retinanet.training.resources import estimate_step

SMALL = ModelConfig(fpn=FPNConfig(channels=16), head=HeadConfig(channels=16, depth=1))
IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 96, 64, 3)).astype("float32")
LABELS = {
    "boxes": np.array([[[10, 20, 60, 60]], [[0, 0, 40, 30]]], "float32"),
    "classes": np.array([[1], [0]]),
}


@pytest.mark.long
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0"])
def test_the_blocks_of_a_backbone_join_to_the_whole(name, rng):
    backbone = BACKBONES[name](name=name)
    pieces = blocks(backbone)
    names = [[layer.name.split("_")[0] for layer in piece.model.layers[1:]] for piece in pieces]
    assert all(len(set(found)) == 1 for found in names)
    assert len(pieces) == {"resnet18": 9, "efficientnet_lite0": 17}[name]
    image = tf.constant(rng.uniform(-1, 1, (1, 64, 96, 3)), tf.float32)
    found = run_pieces(lambda piece, x: piece(x), pieces, image)
    for ours, (_, expected) in zip(found, sorted(backbone(image).items()), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_the_levels_of_a_head_join_to_the_whole(rng):
    head = build_head("head", in_channels=8, num_anchors=2, outputs_per_anchor=3, channels=8)
    features = [tf.constant(rng.uniform(size=(1, s, s, 8)), tf.float32) for s in (8, 4, 2, 1, 1)]
    (found,) = run_pieces(lambda piece, x: piece(x), levels(head), features)
    np.testing.assert_allclose(found, head(features), rtol=1e-6)


def detector(*, frozen_norms, **options):
    keras.utils.set_random_seed(0)
    model = keras_retinanet.retinanet("resnet18", class_names=["cat", "dog"], config=SMALL)
    for layer in model.backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = not frozen_norms
            layer.gamma.assign(tf.fill(layer.gamma.shape, 0.7))
    model.compile(keras.optimizers.SGD(1e-3), **options)
    return model


@pytest.mark.long
@pytest.mark.parametrize("options", [{"frozen_norms": True}, {"frozen_norms": False}])
def test_a_step_is_the_same(options):
    plain, recomputing = detector(**options), detector(**options, recompute=True)
    losses = [
        model.fit(IMAGES, LABELS, epochs=2, verbose=0).history["loss"]
        for model in (plain, recomputing)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    for ours, expected in zip(recomputing.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_blocks_and_heads_run_forward_again_when_the_gradient_is_there():
    """Looked for in the graph that is executed, which is not the one that was traced."""

    def executed(**options):
        model = detector(frozen_norms=True, **options)
        context.enable_run_metadata()
        tf.function(model.train_step)((IMAGES, LABELS))
        graphs = context.export_run_metadata().function_graphs
        context.disable_run_metadata()
        return [node for graph in graphs for node in graph.post_optimization_graph.node]

    def convolutions(nodes):
        return sum(node.op in ("Conv2D", "_FusedConv2D") for node in nodes)

    network = 20 + 8 + 20  # backbone, FPN, both heads on five levels
    assert convolutions(executed()) == network
    nodes = executed(recompute=True)
    # The last convolutions of the heads need not run again.
    assert convolutions(nodes) == network + 20 + 10
    starts = [node for node in nodes if node.op == "Snapshot"]
    assert len(starts) == 1 + 8 + 10  # the stem, the blocks, five levels of both heads
    assert all(any(name.startswith("^") for name in node.input) for node in starts)


@pytest.mark.long
def test_the_estimate_has_less_memory_and_more_time():
    plain, recomputing = (
        estimate_step(detector(frozen_norms=True, recompute=wanted), 8, (256, 256))
        for wanted in (False, True)
    )
    assert recomputing.bytes < 0.7 * plain.bytes
    assert plain.flops < recomputing.flops < plain.flops * 4 / 3


@pytest.mark.long
def test_pieces_of_a_batch_and_of_the_network_together():
    plain = detector(frozen_norms=True)
    both = detector(frozen_norms=True, recompute=True, micro_batch=1)
    for model in (plain, both):
        model.fit(IMAGES, LABELS, verbose=0)
    for ours, expected in zip(both.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)
