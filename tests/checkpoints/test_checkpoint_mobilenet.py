"""Model Garden's checkpoint of MobileNetV2 with a separable FPN: its outputs, what is refused."""

import json

import numpy as np
import pytest
from foreign import assert_same_detections, golden, picture, write_tensorflow_checkpoint

from keras_retinanet.checkpoints.families import model_garden, model_garden_mobilenet
from keras_retinanet.checkpoints.families.family import shapes_of
from keras_retinanet.checkpoints.importing import import_checkpoint, recognise
from keras_retinanet.errors import UserError
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.reading import read_checkpoint

pytestmark = pytest.mark.peer

FAMILY = model_garden_mobilenet.FAMILY


@pytest.fixture(scope="module")
def peer():
    return golden("model_garden_mobilenetv2")


@pytest.fixture(scope="module")
def path(peer, tmp_path_factory):
    return write_tensorflow_checkpoint(peer, tmp_path_factory.mktemp("mobilenet") / "ckpt-277200")


@pytest.fixture(scope="module")
def model(peer, path):
    return import_checkpoint(path, image_size=(int(peer["side"]), int(peer["side"])))


def test_raw_outputs_are_the_peers(peer, model):
    canvas, _ = model.preprocessing.letterbox(picture())
    outputs = model(canvas[None], training=False)
    np.testing.assert_allclose(outputs["class_logits"][0], peer["class_logits"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(outputs["box_deltas"][0], peer["box_deltas"], rtol=0, atol=1e-3)


def test_detections_are_the_peers(peer, model):
    assert len(peer["detection_scores"]) > 10
    assert_same_detections(model.detect(picture())[0], peer)


def test_the_network_is_told_from_the_tensors(peer, model):
    assert model.metadata["family"] == "model_garden_mobilenet"
    assert model.config.backbone.name == "mobilenet_v2"
    assert (model.config.fpn.channels, model.config.head.channels) == (128, 128)
    assert model.config.head.depth == 2
    # Of three convolutions two tensors are one; the classifier's layer of five is left.
    count = len(json.loads(str(peer["spec"]))) - 3
    assert model.metadata["tensors"].startswith(f"{count - 5} of {count + 1} mapped")


def test_without_another_size_the_input_has_the_published_256_pixels(path):
    shapes = shapes_of(FAMILY.adapt(read_checkpoint(path)).tensors)
    config = FAMILY.preset(shapes).config
    assert (config.preprocessing.short_side, config.preprocessing.long_side) == (256, 256)
    assert config.anchors.sizes == (24, 48, 96, 192, 384)


def test_a_resnet_with_an_fpn_is_another_family():
    shapes = {
        "backbone/layer_with_weights-0/kernel": (7, 7, 3, 64),
        "decoder/layer_with_weights-12/gamma": (256,),
        "head/_cls_norms/0/0/gamma": (256,),
    }
    assert recognise(shapes) is model_garden.FAMILY


def test_both_halves_of_a_separable_convolution_become_one():
    depthwise = np.array([2.0, 3.0], "f4").reshape(1, 1, 2, 1)
    pointwise = np.arange(6, dtype="f4").reshape(1, 1, 2, 3)
    layer = "decoder/layer_with_weights-0"
    tensors = {f"{layer}/depthwise_kernel": depthwise, f"{layer}/pointwise_kernel": pointwise}
    found = FAMILY.adapt(Checkpoint(tensors)).tensors
    assert [*found] == [f"{layer}/kernel"]
    np.testing.assert_array_equal(found[f"{layer}/kernel"][0, 0], [[0, 2, 4], [9, 12, 15]])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("backbone/layer_with_weights-9/_conv2/kernel", r"blocks of \[16, 24, .*, 64\]"),
        ("decoder/layer_with_weights-12/gamma", "4 of the FPN's 5 norms"),
    ],
)
def test_other_graphs_are_refused(name, message, path):
    shapes = shapes_of(FAMILY.adapt(read_checkpoint(path)).tensors)
    del shapes[name]
    with pytest.raises(UserError, match=message):
        FAMILY.preset(shapes)
