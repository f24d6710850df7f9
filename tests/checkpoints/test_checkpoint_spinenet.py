"""SpineNet's checkpoints of both releases: their outputs, and how their layers are told apart."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from foreign import (
    assert_same_detections,
    golden,
    picture,
    with_last_pixels,
    write_tensorflow_checkpoint,
)

from keras_retinanet.checkpoints.families import model_garden_spinenet, tpu_spinenet
from keras_retinanet.checkpoints.families.family import named_weights
from keras_retinanet.checkpoints.families.model_garden import VALUE
from keras_retinanet.checkpoints.families.spinenet import PUBLISHED
from keras_retinanet.checkpoints.importing import import_checkpoint
from keras_retinanet.config.model import HeadConfig, ModelConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.reading import read_checkpoint

pytestmark = pytest.mark.peer

# Golden -> family, the backbone's name.
PEERS = {
    "garden_49s": ("model_garden_spinenet", "spinenet49s"),
    "mobile_49": ("model_garden_spinenet", "spinenet49_mobile"),
    "tpu_49s": ("tpu_spinenet", "spinenet49s"),
    "tpu_mobile_49": ("tpu_spinenet", "spinenet49_mobile"),
}


@pytest.fixture(scope="module", params=PEERS)
def imported(request, tmp_path_factory):
    peer = golden(f"spinenet_{request.param}")
    path = write_tensorflow_checkpoint(peer, tmp_path_factory.mktemp("spinenet") / "ckpt-1")
    side = int(peer["side"])
    return (*PEERS[request.param], peer, import_checkpoint(path, image_size=(side, side)))


def test_raw_outputs_are_the_peers(imported):
    *_, peer, model = imported
    canvas, _ = model.preprocessing.letterbox(picture())
    outputs = model(canvas[None], training=False)
    np.testing.assert_allclose(outputs["class_logits"][0], peer["class_logits"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(outputs["box_deltas"][0], peer["box_deltas"], rtol=0, atol=1e-3)


def test_detections_are_the_peers(imported):
    family, _, peer, model = imported
    assert len(peer["detection_scores"]) > 10
    if family == "tpu_spinenet":
        found = with_last_pixels(model, peer)
    else:
        found = model.detect(picture())[0]
    assert_same_detections(found, peer)


def test_family_and_backbone_are_recognized(imported):
    family, backbone, peer, model = imported
    assert model.metadata["family"] == family
    assert model.config.backbone.name == backbone
    assert model.config.head.depth == 2
    count = len(json.loads(str(peer["spec"])))
    assert model.metadata["tensors"].startswith(f"{count} of {count + 1} mapped")


# A graph with as little as possible beside its backbone.
BARE = ModelConfig(head=HeadConfig(channels=1, depth=0))


def shapes_under(family, model):
    """Return the shapes of a model's weights under the names that a family gives them."""
    weights = named_weights(model)
    return {row.theirs: tuple(weights[row.ours].shape) for row in family.rows(model)}


@pytest.mark.parametrize("family", [model_garden_spinenet.FAMILY, tpu_spinenet.FAMILY])
@pytest.mark.parametrize(
    "name",
    ["spinenet49s", "spinenet49xs_mobile", pytest.param("spinenet96", marks=pytest.mark.slow)],
)
def test_the_size_is_told_from_the_shapes(name, family):
    channels = {"spinenet49s": 128, "spinenet49xs_mobile": 24, "spinenet96": 256}[name]
    shapes = {
        f"{head}/{layer}": shape
        for head, layer, shape in (
            ("head/_classifier", "bias", (9 * 91,)),
            ("head/_box_regressor", "bias", (36,)),
            ("head/_cls_convs/0", "bias", (channels,)),
            ("retinanet/class_net/class-predict", "bias", (9 * 91,)),
            ("retinanet/box_net/box-predict", "bias", (36,)),
            ("retinanet/class_net/class-0", "bias", (channels,)),
        )
    }
    config = dataclasses.replace(BARE, backbone=dataclasses.replace(BARE.backbone, name=name))
    model = RetinaNet(config, ["a"])
    preset = family.preset(shapes_under(family, model) | shapes)
    assert preset.config.backbone.name == name
    assert preset.class_names[1] == "person"
    side = PUBLISHED[name].side
    assert (preset.config.preprocessing.short_side, preset.config.anchors.sizes[0]) == (side, 24)


def test_a_checkpoint_without_its_graph_of_objects_is_refused():
    shapes = {"head/_cls_norms/0/0/gamma": (8,), "backbone/layer_with_weights-0/kernel": (7,)}
    assert model_garden_spinenet.FAMILY.recognizes(shapes)
    with pytest.raises(UserError, match="graph of its objects"):
        model_garden_spinenet.FAMILY.preset(shapes)


def test_another_size_is_refused():
    shapes = {f"spinenet/conv2d{number}/kernel": (1, 1, 64, 50) for number in ("", "_1", "_2")}
    shapes |= {
        "spinenet/sub_policy0/resample_with_alpha_resample_0_0/conv2d/kernel": (1, 1, 200, 25),
    }
    with pytest.raises(UserError, match="expected one of spinenet49s"):
        tpu_spinenet.FAMILY.preset(shapes)


def test_layers_are_counted_in_the_order_of_the_code():
    created = {
        "backbone/layer_with_weights-0/kernel": "conv2d_12/kernel",
        "backbone/layer_with_weights-1/kernel": "conv2d_9/kernel",
        "backbone/layer_with_weights-2/gamma": "sync_batch_normalization_3/gamma",
        "backbone/layer_with_weights-3/_conv1/kernel": "bottleneck_block_7/conv2d/kernel",
    }
    tensors = {f"{name}{VALUE}": np.zeros(1, "f4") for name in created}
    checkpoint = Checkpoint(tensors, created_as={f"{k}{VALUE}": v for k, v in created.items()})
    assert [*model_garden_spinenet.FAMILY.adapt(checkpoint).tensors] == [
        "backbone/conv2d-1/kernel",
        "backbone/conv2d-0/kernel",
        "backbone/batch_normalization-0/gamma",
        "backbone/bottleneck_block-0/_conv1/kernel",
    ]


def test_tensors_are_read_when_they_are_asked_for(tmp_path):
    values = np.arange(6, dtype="f4").reshape(2, 3)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "x"),
        tensor_names=["a", "a/Momentum"],
        shape_and_slices=["", ""],
        tensors=[tf.constant(values)] * 2,
    )
    tensors = read_checkpoint(tmp_path / "x").tensors
    assert [*tensors] == ["a"]
    assert (tensors["a"].shape, tensors["a"].dtype) == ((2, 3), np.float32)
    np.testing.assert_array_equal(np.asarray(tensors["a"]), values)
