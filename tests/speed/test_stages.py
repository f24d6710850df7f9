"""The parts of a network: every layer in one of them, and together they are the network."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.exporting.folding import folded
from keras_retinanet.modeling import retinanet
from keras_retinanet.speed.stages import network_parts, part_inputs, part_of

NAMES = [
    *("normalization", "backbone, stem", "backbone, stage 2", "backbone, stage 3"),
    *("backbone, stage 4", "backbone, stage 5", "FPN", "class head", "box head"),
]


@pytest.mark.long
@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet_lite0"])
def test_the_parts_compute_what_the_network_does(backbone):
    network = folded(retinanet(backbone, 3))
    parts = network_parts(network)
    expected = list(NAMES)
    if backbone != "resnet18":
        expected.insert(2, "backbone, stage 1")
    assert [part.name for part in parts] == expected
    layers = {layer.name for part in parts for layer in part.network.layers if layer.weights}
    assert layers == {layer.name for layer in network.layers if layer.weights}

    images = tf.constant(np.random.default_rng(0).uniform(0, 255, (1, 64, 96, 3)), tf.float32)
    inputs = part_inputs(network, parts, images)
    wanted = network(images)
    for name, key in (("class head", "class_logits"), ("box head", "box_deltas")):
        (part,) = (part for part in parts if part.name == name)
        np.testing.assert_array_equal(part.network(inputs[name]), wanted[key])


def test_a_layer_of_no_known_name_is_of_the_backbone():
    assert part_of("tiny_stage3_conv") == "backbone, stage 3"
    assert part_of("my_pool") == "backbone"
