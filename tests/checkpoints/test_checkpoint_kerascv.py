"""KerasCV's results, from its stored outputs and the weights that gave them; it is not needed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from keras_peers import (
    BuiltModel,
    assert_same_detections,
    assert_same_input,
    assert_same_outputs,
    assert_same_weights,
    load_golden,
    peer_tensors,
    write_h5,
    write_keras,
)

from keras_retinanet.checkpoints.families import kerascv
from keras_retinanet.checkpoints.families.family import shapes_of
from keras_retinanet.checkpoints.importing import import_checkpoint, model_of
from keras_retinanet.checkpoints.peer_model import import_model
from keras_retinanet.config import BackboneConfig
from keras_retinanet.data.sources.voc import VOC_CLASSES
from keras_retinanet.errors import UserError
from keras_retinanet.weight_files.checkpoint import Checkpoint

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module", params=["r50", "r18"])
def peer(request):
    golden = load_golden(f"kerascv_{request.param}")
    checkpoint = Checkpoint(peer_tensors(golden), {}, "h5")
    side = int(golden["side"])
    return model_of(checkpoint, kerascv.FAMILY, "x.weights.h5", image_size=(side, side)), golden


@pytest.fixture(scope="module")
def small():
    """(golden, tensors, model) of the variant with a ResNet-18."""
    golden = load_golden("kerascv_r18")
    tensors = peer_tensors(golden)
    return golden, tensors, model_of(Checkpoint(tensors, {}, "h5"), kerascv.FAMILY, "x.weights.h5")


# ----------------------------------------------------------------------------------------- parity


def test_network_input(peer):
    assert_same_input(*peer)


def test_outputs(peer):
    assert_same_outputs(*peer)


def test_detections(peer):
    # 480 x 640 shrunk to 144 x 192, padded below.
    assert_same_detections(*peer, lambda boxes: boxes * np.float32(640 / 192))


def test_graph(peer):
    model, golden = peer
    assert model.config.backbone == BackboneConfig(
        name="resnet50" if len(golden["detection_scores"]) == 100 else "resnet18",
        stride_in_1x1=True,
        padding="same",
        pool_padding="same",
        bn_epsilon=1.001e-5,
    )
    assert model.config.head.depth == 3


# ------------------------------------------------------------------------------------------ files


def test_weights_file(small, tmp_path):
    _, tensors, model = small
    write_h5(tmp_path / "cv.weights.h5", tensors)
    read = import_checkpoint(tmp_path / "cv.weights.h5")
    assert_same_weights(read, model)
    assert read.metadata["family"] == "kerascv"
    assert read.config.preprocessing.short_side == 640
    assert "divided by 255" in read.metadata["assumptions"]


def test_weights_file_of_keras_2(small, tmp_path):
    _, tensors, model = small
    older = {
        name.replace("layers/", "_layer_checkpoint_dependencies/", 1): tensor
        for name, tensor in tensors.items()
    }
    write_h5(tmp_path / "cv.weights.h5", older)
    assert_same_weights(import_checkpoint(tmp_path / "cv.weights.h5"), model)


def test_keras_file(small, tmp_path):
    golden, tensors, model = small
    write_keras(tmp_path / "cv.keras", tensors, str(golden["config"]))
    read = import_checkpoint(tmp_path / "cv.keras")
    assert_same_weights(read, model)
    assert "divided by 255" not in read.metadata["assumptions"]


def test_older_h5_of_a_whole_model(small, tmp_path):
    """Its layers have the numbers of the session: this one's fpn starts at conv2d_16."""
    golden, _, model = small
    tensors = peer_tensors(golden, "spec_h5")
    assert "model_weights/feature_pyramid_1/feature_pyramid_1/conv2d_16/kernel" in tensors
    write_h5(tmp_path / "cv.h5", tensors, {"model_config": str(golden["config"])})
    assert_same_weights(import_checkpoint(tmp_path / "cv.h5"), model)


def test_built_model(small):
    golden, tensors, model = small
    read = import_model(BuiltModel(tensors, str(golden["config"])), image_size=(256, 256))
    assert_same_weights(read, model)
    assert read.config.preprocessing.long_side == 256


def test_tensors_that_do_not_fit_are_listed(small):
    tensors = dict(small[1])
    tensors["layers/extra/vars/0"] = np.zeros(3, np.float32)
    del tensors["layers/feature_pyramid/conv_c7_3x3/vars/1"]
    with pytest.raises(UserError) as caught:
        model_of(Checkpoint(tensors, {}, "h5"), kerascv.FAMILY, "x.weights.h5")
    assert "missing: layers/feature_pyramid/conv_c7_3x3/vars/1" in str(caught.value)
    assert "unmapped: layers/extra/vars/0" in str(caught.value)


# ---------------------------------------------------------------------------------- configuration


@pytest.fixture
def preset(small):
    return kerascv.FAMILY.preset(shapes_of(small[1]))


def refined(preset, small, change):
    stored = json.loads(str(small[0]["config"]))
    change(stored["config"])
    return kerascv.FAMILY.refine(preset, {"config.json": json.dumps(stored)})


def test_twenty_outputs_are_pascal_voc(small):
    shapes = shapes_of(small[1])
    shapes["layers/prediction_head_1/prediction_layer/vars/0"] = (3, 3, 256, 180)
    assert kerascv.FAMILY.preset(shapes).class_names == VOC_CLASSES


def test_the_configuration_counts(preset, small):
    def change(config):
        config["backbone"]["config"]["include_rescaling"] = False
        config["label_encoder"]["config"]["anchor_generator"]["config"] |= {
            "sizes": [16, 32, 64, 128, 256],
            "clip_boxes": False,
        }
        config["prediction_decoder"]["class_name"] = "MultiClassNonMaxSuppression"
        config["prediction_decoder"]["config"]["confidence_threshold"] = 0.05

    config = refined(preset, small, change).config
    assert config.preprocessing == replace(preset.config.preprocessing, std=(1.0, 1.0, 1.0))
    assert config.anchors.sizes == (16.0, 32.0, 64.0, 128.0, 256.0)
    assert not config.anchors.clip
    assert config.detections == replace(
        preset.config.detections, score_threshold=0.05, suppress="per_class"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["backbone"].update(class_name="CSPDarkNetBackbone"), "CSPDarkNetBackbone"),
        (
            lambda c: c["label_encoder"]["config"]["anchor_generator"]["config"].update(
                strides=[4, 8, 16, 32, 64]
            ),
            r"Received: \[4, 8, 16, 32, 64\]",
        ),
        (lambda c: c["prediction_decoder"]["config"].update(from_logits=False), "from_logits"),
        (lambda c: c.pop("prediction_decoder"), "prediction_decoder"),
    ],
)
def test_what_cannot_be_imported(preset, small, change, words):
    with pytest.raises(UserError, match=words):
        refined(preset, small, change)


def test_heads_of_other_shapes(small):
    shapes = shapes_of(small[1])
    shapes["layers/prediction_head/prediction_layer/vars/0"] = (3, 3, 256, 24)
    with pytest.raises(UserError, match="Received: 24 box outputs"):
        kerascv.FAMILY.preset(shapes)
