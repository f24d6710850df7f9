"""keras-retinanet's `.h5`: its outputs from the same file, and every name of its layouts."""

import json
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from foreign import (
    assert_same_detections,
    golden,
    layout,
    picture,
    stand_ins,
    tensor_shapes,
)
from goldens.seeded_keras import seeded

from keras_retinanet.checkpoints.families.family import fill, shapes_of
from keras_retinanet.checkpoints.families.fizyr import FAMILY, TRUNKS
from keras_retinanet.checkpoints.importing import import_checkpoint
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones import build_backbone
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.reading import read_checkpoint

pytestmark = pytest.mark.peer

# What keras-retinanet wrote into a converted model's configuration, but for the values.
CONVERTED = {
    "class_name": "Functional",
    "config": {
        "layers": [
            {"class_name": "ZeroPadding2D", "config": {"name": "padding_conv1"}},
            {"class_name": "Conv2D", "config": {"name": "conv1"}},
            *(
                {
                    "class_name": "Anchors",
                    "config": {
                        "name": f"anchors_{i}",
                        "size": 24 * 2**i,
                        "stride": 8 * 2**i,
                        "ratios": [0.4, 1.0, 2.5],
                        "scales": [1.0, 1.2, 1.6],
                    },
                }
                for i in range(5)
            ),
            {
                "class_name": "RegressBoxes",
                "config": {"name": "boxes", "mean": [0, 0, 0, 0], "std": [0.1, 0.1, 0.2, 0.2]},
            },
            {
                "class_name": "FilterDetections",
                "config": {
                    "name": "filtered_detections",
                    "nms": True,
                    "class_specific_filter": False,
                    "nms_threshold": 0.4,
                    "score_threshold": 0.1,
                    "max_detections": 50,
                },
            },
        ]
    },
}


@pytest.fixture(scope="module")
def peer():
    return golden("fizyr_r50")


@pytest.fixture(scope="module")
def path(peer, tmp_path_factory):
    """A file as keras-retinanet writes it, weightless layers and an optimizer's slot included."""
    path = tmp_path_factory.mktemp("fizyr") / "model.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        names = json.loads(str(peer["layer_names"]))
        group.attrs["layer_names"] = [name.encode() for name in names]
        for name in names:
            group.create_group(name)
        for name, shape in tensor_shapes(peer).items():
            group[name] = seeded(name, shape, float(peer["class_gain"]))
        file["optimizer_weights/Adam/conv1/kernel/m:0"] = np.zeros((7, 7, 3, 64), np.float32)
    return path


@pytest.fixture(scope="module")
def model(peer, path):
    return import_checkpoint(path, image_size=(int(peer["min_size"]), int(peer["max_size"])))


def adapted_shapes(depth):
    checkpoint = Checkpoint(stand_ins(layout(f"fizyr_resnet{depth}")))
    return shapes_of(FAMILY.adapt(checkpoint).tensors)


def test_network_input_is_the_peers(peer, model):
    canvas, size = model.preprocessing.letterbox(picture())
    assert size == peer["network_input"].shape[:2] == (128, 171)
    assert np.abs(canvas.numpy()[..., ::-1] - peer["network_input"].astype("f4")).max() < 1


def test_raw_outputs_are_the_peers(peer, model):
    canvas, _ = model.preprocessing.letterbox(picture())
    outputs = model(canvas[None], training=False)
    np.testing.assert_allclose(outputs["class_logits"][0], peer["class_logits"], rtol=0, atol=2e-3)
    np.testing.assert_allclose(outputs["box_deltas"][0], peer["box_deltas"], rtol=0, atol=2e-4)


def test_detections_are_the_peers(peer, model):
    assert_same_detections(model.detect(picture())[0], peer)


def test_the_file_is_recognised_and_its_stem_is_the_newer_one(model):
    assert model.metadata["family"] == "keras_retinanet"
    assert model.metadata["tensors"].startswith("301 of 301")
    assert model.config.backbone.stem_padding == "same"


def test_a_tensor_too_many_and_one_too_few_are_listed(path, model):
    tensors = dict(FAMILY.adapt(read_checkpoint(path)).tensors)
    tensors["P2/kernel"] = tensors.pop("P3/kernel")
    with pytest.raises(UserError, match=r"missing: P3/kernel; unmapped: P2/kernel"):
        fill(model, Checkpoint(tensors), FAMILY)


@pytest.mark.parametrize("depth", [50, 101, pytest.param(152, marks=pytest.mark.slow)])
def test_every_tensor_of_the_published_layout_has_a_row(depth):
    shapes = adapted_shapes(depth)
    preset = FAMILY.preset(shapes)
    assert preset.config.backbone.name == f"resnet{depth}"
    assert len(preset.class_names) == 80
    assert preset.class_names[0] == "person"
    trunk = build_backbone(preset.config.backbone.name)
    part = SimpleNamespace(backbone=trunk, config=preset.config)
    rows = {row.theirs: row.ours for row in FAMILY.rows(part)}
    assert set(rows) == set(shapes)
    ours = {
        f"backbone/{layer.name}/{weight.name}": tuple(weight.shape)
        for layer in trunk.layers
        for weight in layer.weights
    }
    for theirs, name in rows.items():
        assert ours.pop(name, shapes[theirs]) == shapes[theirs], theirs
    assert not ours


def test_openimages_file_keeps_its_500_outputs():
    shapes = adapted_shapes(50) | {"pyramid_classification/kernel": (3, 3, 256, 4500)}
    assert len(FAMILY.preset(shapes).class_names) == 500


def test_older_files_pad_the_stem_explicitly():
    preset = FAMILY.preset(adapted_shapes(50))
    older = FAMILY.refine(preset, {"layer_names": "input_1\npadding_conv1\nconv1\nbn_conv1"})
    assert older.config.backbone.stem_padding == "symmetric"
    assert "stem" not in older.assumptions


def test_without_a_list_of_layers_the_stem_is_an_assumption():
    preset = FAMILY.refine(FAMILY.preset(adapted_shapes(50)), {})
    assert preset.config.backbone.stem_padding == "symmetric"
    assert "stem" in preset.assumptions


def test_a_converted_models_options_are_kept():
    config = FAMILY.refine(
        FAMILY.preset(adapted_shapes(50)), {"model_config": json.dumps(CONVERTED)}
    ).config
    assert config.backbone.stem_padding == "symmetric"
    assert config.anchors.sizes == (24.0, 48.0, 96.0, 192.0, 384.0)
    assert config.anchors.ratios == (0.4, 1.0, 2.5)
    assert config.anchors.scales == (1.0, 1.2, 1.6)
    assert config.box_coder.scales == (0.1, 0.1, 0.2, 0.2)
    detections = config.detections
    assert (detections.score_threshold, detections.nms_iou) == (0.1, 0.4)
    assert (detections.max_detections, detections.suppress) == (50, "best_class")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("Anchors", {"stride": 4}, "expected anchors of strides"),
        ("Anchors", {"size": 32}, r"KeyError\('stride'\)"),
        ("RegressBoxes", {"mean": [0, 0, 0.1, 0]}, "expected box deltas of mean 0"),
    ],
)
def test_options_that_have_no_counterpart_are_refused(kind, options, message):
    text = json.dumps({"layers": [{"class_name": kind, "config": options}]})
    with pytest.raises(UserError, match=message):
        FAMILY.refine(FAMILY.preset(adapted_shapes(50)), {"model_config": text})


def test_inner_names_with_a_counter_are_the_layers():
    tensors = {
        "model_weights/bn_conv1/bn_conv1_1/gamma:0": np.ones(64, "f4"),
        "regression_submodel/pyramid_regression_0/kernel:0": np.ones((3, 3, 2, 2), "f4"),
    }
    adapted = FAMILY.adapt(Checkpoint(tensors)).tensors
    assert list(adapted) == ["bn_conv1/gamma", "pyramid_regression_0/kernel"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pyramid_regression/kernel": (3, 3, 256, 60)}, "Received: 15 in pyramid_regression"),
        ({"res4z_branch2a/kernel": (1, 1, 1024, 256)}, "with 7 blocks in stage 4"),
    ],
)
def test_other_graphs_are_refused(changes, message):
    assert set(TRUNKS.values()) == {"resnet50", "resnet101", "resnet152"}
    with pytest.raises(UserError, match=message):
        FAMILY.preset(adapted_shapes(50) | changes)
