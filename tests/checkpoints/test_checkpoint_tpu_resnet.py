"""ResNets of SpineNet's first release, with FPN and NAS-FPN: their outputs, what is refused."""

import json

import numpy as np
import pytest
from foreign import (
    assert_same_detections,
    golden,
    picture,
    with_last_pixels,
    write_tensorflow_checkpoint,
)

from keras_retinanet.checkpoints.families.family import named_weights
from keras_retinanet.checkpoints.families.tpu_resnet import FAMILY, PUBLISHED
from keras_retinanet.checkpoints.importing import import_checkpoint, recognise
from keras_retinanet.config.model import BackboneConfig, FPNConfig, HeadConfig, ModelConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet

pytestmark = pytest.mark.peer

# Golden -> name and repeats of the pyramid; an FPN has none.
PEERS = {"tpu_resnet50": ("fpn", FPNConfig.repeats), "tpu_nas_fpn": ("nas_fpn", 2)}


@pytest.fixture(scope="module", params=PEERS)
def imported(request, tmp_path_factory):
    peer = golden(request.param)
    path = write_tensorflow_checkpoint(peer, tmp_path_factory.mktemp("tpu") / "model.ckpt-1")
    side = int(peer["side"])
    return request.param, peer, import_checkpoint(path, image_size=(side, side))


def test_raw_outputs_are_the_peers(imported):
    _, peer, model = imported
    canvas, _ = model.preprocessing.letterbox(picture())
    outputs = model(canvas[None], training=False)
    np.testing.assert_allclose(outputs["class_logits"][0], peer["class_logits"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(outputs["box_deltas"][0], peer["box_deltas"], rtol=0, atol=2e-4)


def test_detections_are_the_peers(imported):
    _, peer, model = imported
    assert len(peer["detection_scores"]) > 10
    assert_same_detections(with_last_pixels(model, peer), peer)


def test_the_network_is_told_from_the_tensors(imported):
    name, peer, model = imported
    assert model.metadata["family"] == "tpu_resnet"
    assert model.config.backbone.name == "resnet50"
    assert (model.config.fpn.name, model.config.fpn.repeats) == PEERS[name]
    assert (model.config.fpn.channels, model.config.head.depth) == (128, 2)
    count = len(json.loads(str(peer["spec"])))
    assert model.metadata["tensors"].startswith(f"{count} of {count + 1} mapped")


def shapes_of_resnet(name):
    """Return the shapes of a file of this ResNet with the release's heads."""
    config = ModelConfig(
        backbone=BackboneConfig(name=name),
        fpn=FPNConfig(channels=8, norm="batch_norm"),
        head=HeadConfig(channels=8, depth=1, norm="batch_norm", bias_before_norm=True),
    )
    model = RetinaNet(config, [str(number) for number in range(91)])
    weights = named_weights(model)
    return {row.theirs: tuple(weights[row.ours].shape) for row in FAMILY.rows(model)}


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("resnet101", 1024),
        pytest.param("resnet152", 1280, marks=pytest.mark.slow),
    ],
)
def test_the_size_is_told_from_the_shapes(name, side):
    shapes = shapes_of_resnet(name)
    assert recognise(shapes) is FAMILY
    preset = FAMILY.preset(shapes)
    assert preset.config.backbone.name == name
    assert preset.class_names[1] == "person"
    assert (preset.config.preprocessing.short_side, PUBLISHED[name].side) == (side, side)
    assert preset.config.anchors.sizes == (32, 64, 128, 256, 512)
    assert "activation relu" in preset.assumptions


def test_another_resnet_is_refused():
    shapes = dict.fromkeys(["resnet18/conv2d/kernel", "resnet18/conv2d_1/kernel"], (3, 3, 64, 64))
    with pytest.raises(UserError, match="Received: resnet18 with 2 convolutions"):
        FAMILY.preset(shapes)
