"""KerasHub's results, from its stored outputs and the weights that gave them; it is not needed."""

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

from keras_retinanet.checkpoints.families import kerashub
from keras_retinanet.checkpoints.families.family import shapes_of
from keras_retinanet.checkpoints.importing import import_checkpoint, model_of
from keras_retinanet.checkpoints.peer_model import import_model
from keras_retinanet.config import BackboneConfig, PreprocessingConfig
from keras_retinanet.errors import UserError
from keras_retinanet.weight_files.checkpoint import Checkpoint

pytestmark = pytest.mark.peer

BACKBONE = "layers/retina_net_backbone/"


@pytest.fixture(scope="module", params=["v1", "v2"])
def peer(request):
    golden = load_golden(f"kerashub_{request.param}")
    checkpoint = Checkpoint(peer_tensors(golden), {"config.json": str(golden["config"])}, "keras")
    return model_of(checkpoint, kerashub.FAMILY, "kerashub.keras"), golden


@pytest.fixture(scope="module")
def small():
    """(tensors, configuration, model) of the variant with a ResNet-18."""
    golden = load_golden("kerashub_v2")
    tensors = peer_tensors(golden)
    checkpoint = Checkpoint(tensors, {}, "h5")
    return tensors, str(golden["config"]), model_of(checkpoint, kerashub.FAMILY, "x.weights.h5")


# ----------------------------------------------------------------------------------------- parity


def test_network_input(peer):
    assert_same_input(*peer)


def test_outputs(peer):
    assert_same_outputs(*peer)


def test_detections(peer):
    # 480 x 640, padded by 80 rows on both sides to 640 x 640.
    assert_same_detections(
        *peer, lambda boxes: boxes * np.float32(640 / 192) - np.float32([0, 80, 0, 80])
    )


def test_graph_of_the_variants(peer):
    model, golden = peer
    is_v2 = len(golden["detection_scores"]) < 50
    assert model.config.backbone == BackboneConfig(
        name="resnet18" if is_v2 else "resnet50", stride_in_1x1=False
    )
    assert model.config.fpn.p6_from == ("c5" if is_v2 else "p5")
    assert model.config.fpn.norm == ("batch_norm" if is_v2 else "none")
    assert model.config.head.norm == ("group_norm" if is_v2 else "none")
    assert "assumptions" not in model.metadata


# ------------------------------------------------------------------------------------------ files


def test_weights_file(small, tmp_path):
    tensors, _, model = small
    write_h5(tmp_path / "hub.weights.h5", tensors)
    read = import_checkpoint(tmp_path / "hub.weights.h5")
    assert_same_weights(read, model)
    assert read.metadata["family"] == "kerashub"
    # torchvision's colours, at the size of KerasHub's presets.
    assert read.config.preprocessing == PreprocessingConfig(
        short_side=800, long_side=800, canvas="square", pad_first=True
    )
    assert "presets" in read.metadata["assumptions"]


def test_keras_file(small, tmp_path):
    tensors, config, model = small
    write_keras(tmp_path / "hub.keras", tensors, config)
    read = import_checkpoint(tmp_path / "hub.keras")
    assert_same_weights(read, model)
    assert read.config.preprocessing.short_side == 192
    np.testing.assert_allclose(read.config.preprocessing.mean, (123.675, 116.28, 103.53))
    np.testing.assert_allclose(read.config.preprocessing.std, (58.395, 57.12, 57.375))


def test_preset_folder(small, tmp_path):
    tensors, config, model = small
    backbone = {
        name.removeprefix(BACKBONE): tensor
        for name, tensor in tensors.items()
        if name.startswith(BACKBONE)
    }
    task = {name: tensor for name, tensor in tensors.items() if not name.startswith(BACKBONE)}
    write_h5(tmp_path / "model.weights.h5", backbone)
    write_h5(tmp_path / "task.weights.h5", task)
    stored = json.loads(config)
    converter = stored["config"].pop("preprocessor")["config"]["image_converter"]
    (tmp_path / "config.json").write_text(json.dumps(stored["config"]["backbone"]))
    (tmp_path / "task.json").write_text(json.dumps(stored))
    (tmp_path / "image_converter.json").write_text(json.dumps(converter))
    read = import_checkpoint(tmp_path)
    assert_same_weights(read, model)
    assert read.config.preprocessing.short_side == 192
    assert "assumptions" not in read.metadata


def test_built_model(small):
    tensors, config, model = small
    read = import_model(BuiltModel(tensors, config))
    assert_same_weights(read, model)
    assert read.config.preprocessing.short_side == 192


def test_no_model():
    with pytest.raises(UserError, match="Received: model=str"):
        import_model("retinanet")


def test_tensors_that_do_not_fit_are_listed(small):
    tensors = dict(small[0])
    tensors["layers/extra/vars/0"] = np.zeros(3, np.float32)
    del tensors[f"{kerashub.FPN}/output_conv_layers/conv2d_4/vars/1"]
    with pytest.raises(UserError) as caught:
        model_of(Checkpoint(tensors, {}, "h5"), kerashub.FAMILY, "x.weights.h5")
    assert "missing: layers/retina_net_backbone" in str(caught.value)
    assert "unmapped: layers/extra/vars/0" in str(caught.value)


# ---------------------------------------------------------------------------------- configuration


@pytest.fixture
def preset(small):
    return kerashub.FAMILY.preset(shapes_of(small[0]))


def refined(preset, small, change):
    stored = json.loads(small[1])
    change(stored["config"])
    return kerashub.FAMILY.refine(preset, {"config.json": json.dumps(stored)})


def test_torchvision_ports_have_coco_names(small):
    shapes = shapes_of(small[0])
    for part, shape in (("0", (3, 3, 256, 819)), ("1", (819,))):
        shapes[f"layers/prediction_head_1/prediction_layer/vars/{part}"] = shape
    preset = kerashub.FAMILY.preset(shapes)
    assert len(preset.class_names) == 91
    assert preset.class_names[:2] == ["__background__", "person"]
    assert "BSD-3-Clause" in preset.license


def test_anchors_and_decoder_of_the_configuration(preset, small):
    def change(config):
        config["anchor_generator"]["config"] |= {
            "num_scales": 2,
            "aspect_ratios": [0.5, 2.0],
            "anchor_size": 3,
        }
        config["prediction_decoder"]["config"] |= {
            "confidence_threshold": 0.25,
            "iou_threshold": 0.6,
            "max_detections": 30,
        }

    config = refined(preset, small, change).config
    assert config.anchors == replace(
        preset.config.anchors,
        sizes=(24.0, 48.0, 96.0, 192.0, 384.0),
        scales=(1.0, 2**0.5),
        ratios=(0.5, 2.0),
    )
    assert config.detections == replace(
        preset.config.detections, score_threshold=0.25, nms_iou=0.6, max_detections=30
    )


def test_converter_of_the_configuration(preset, small):
    def change(config):
        config["preprocessor"]["config"]["image_converter"]["config"] |= {
            "image_size": None,
            "scale": 1 / 127.5,
            "offset": -1.0,
            "antialias": True,
            "pad_to_aspect_ratio": False,
            "interpolation": "bicubic",
        }

    changed = refined(preset, small, change)
    assert changed.config.preprocessing == replace(
        preset.config.preprocessing, antialias=True, mean=(127.5,) * 3, std=(127.5,) * 3
    )
    for word in ("800 px", "cuts or stretches", "bicubic"):
        assert word in changed.assumptions


def test_no_preprocessor_is_an_assumption(preset, small):
    changed = refined(preset, small, lambda config: config.update(preprocessor=None))
    assert changed.config.preprocessing == preset.config.preprocessing
    assert changed.assumptions == "images are prepared as KerasHub's presets do (800 px)"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["backbone"]["config"].update(max_level=6), "max_level=6"),
        (
            lambda c: c["backbone"]["config"]["image_encoder"]["config"].update(
                use_pre_activation=True
            ),
            "use_pre_activation=True",
        ),
        (
            lambda c: c["preprocessor"]["config"]["image_converter"]["config"].update(
                image_size=[192, 256]
            ),
            r"square image_size. Received: \[192, 256\]",
        ),
        (lambda c: c["prediction_decoder"]["config"].update(from_logits=False), "from_logits"),
        (lambda c: c.pop("anchor_generator"), "anchor_generator"),
    ],
)
def test_what_cannot_be_imported(preset, small, change, words):
    with pytest.raises(UserError, match=words):
        refined(preset, small, change)


def test_other_trunks(small):
    shapes = dict(shapes_of(small[0]))
    del shapes[f"{kerashub.TRUNK}/layers/conv2d_19/vars/0"]
    del shapes[f"{kerashub.TRUNK}/layers/conv2d_18/vars/0"]
    with pytest.raises(UserError, match=r"Received: \(2, 2, 2, 1\) blocks"):
        kerashub.FAMILY.preset(shapes)
