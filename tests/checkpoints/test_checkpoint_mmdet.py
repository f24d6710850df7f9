"""MMDetection's files: against its own results, an independent NumPy one, and its key layouts."""

import dataclasses

import numpy as np
import pytest
from foreign import foreign_tensors
from peer_checkpoints import (
    check_detections,
    check_layout,
    check_post_processing,
    golden_shapes,
    import_tensors,
    independent,
    level_cells,
    load_golden,
    network_input,
    outputs_of,
    preset_of,
)

from keras_retinanet.checkpoints.families import mmdet
from keras_retinanet.checkpoints.families.coco_names import COCO80_IDS, COCO80_NAMES
from keras_retinanet.checkpoints.families.family import fill
from keras_retinanet.checkpoints.importing import import_checkpoint
from keras_retinanet.errors import UserError
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.torch_writer import Tensor, write_tensors

pytestmark = pytest.mark.peer

LAYOUTS = {
    "r18": "resnet18",
    "r50": "resnet50",
    "r101": "resnet101",
    "x101_32x4d": "resnext101_32x4d",
    "x101_64x4d": "resnext101_64x4d",
}
PUBLISHED = {"file_name": "retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth"}
GRAPHS = {"r18": "pytorch", "r50_caffe": "caffe"}


@pytest.fixture(scope="module", params=GRAPHS)
def imported(request):
    golden, tensors = load_golden(f"mmdet_{request.param}")
    model = import_tensors(mmdet.FAMILY, tensors, {"meta.cfg": str(golden["config"])})
    return GRAPHS[request.param], golden, tensors, model


@pytest.mark.parametrize(
    "graph",
    [pytest.param(graph, marks=pytest.mark.slow if "101" in graph else ()) for graph in LAYOUTS],
)
def test_every_tensor_of_the_published_layout_maps(graph):
    model, unused = check_layout(mmdet.FAMILY, f"mmdet_{graph}", PUBLISHED)
    assert model.config.backbone.name == LAYOUTS[graph]
    assert model.class_ids == COCO80_IDS
    assert all(name.endswith("num_batches_tracked") for name in unused)


def test_raw_outputs(imported):
    style, golden, tensors, model = imported
    seen = golden["network_input"]
    logits, deltas = outputs_of(model, seen)
    expected = independent.TorchNet(tensors, independent.mmdet(style))(seen, classes=5)
    for peer in (expected, (golden["class_logits"], golden["box_deltas"])):
        assert np.abs(logits - peer[0]).max() < 2e-4
        assert np.abs(deltas - peer[1]).max() < 2e-5


def test_network_input(imported):
    style, golden, _, model = imported
    deviation = 1 if style == "caffe" else 57
    difference = np.abs(network_input(model, golden["image"]) - golden["network_input"])
    assert difference.max() * deviation <= 1.05


def test_anchors(imported):
    def cell(stride):
        scales = [4 * 2 ** (i / 3) for i in range(3)]
        return [(stride * s / r**0.5, stride * s * r**0.5) for r in (0.5, 1, 2) for s in scales]

    _, golden, _, model = imported
    anchors = model.anchors(64, 96).numpy()
    np.testing.assert_allclose(anchors, golden["anchors"], atol=1e-3)
    np.testing.assert_allclose(anchors, independent.grid(64, 96, cell, offset=0), atol=1e-3)


def test_detections(imported):
    check_post_processing(imported[3], imported[1])
    # OpenCV resizes with eleven bits, which moves one pixel in fifty by one grey level.
    check_detections(imported[3], imported[1], pixels=0.3)


def test_detections_of_wild_deltas_equal_an_independent_suppression(imported):
    """Logarithms far beyond both bounds, where the decoding of other families differs."""
    _, golden, _, model = imported
    deltas = golden["box_deltas"] * [1, 1, 12, 12]
    anchors = golden["anchors"]
    bound = np.log(1000 / 16)
    boxes = independent.decode(deltas, anchors, limit=(-bound, bound))
    assert (np.abs(deltas[:, 2:]) > bound).any()
    boxes = np.clip(boxes, 0, [96, 64, 96, 64])
    scores = 1 / (1 + np.exp(-golden["class_logits"].astype(np.float64)))
    scores[(boxes[:, 2:] <= boxes[:, :2]).any(axis=1)] = 0
    cells = level_cells(64, 96)
    expected = independent.detect(scores, boxes, cells, top_k=1000)
    outputs = {"class_logits": golden["class_logits"][None], "box_deltas": deltas[None]}
    found = model.post_processing(outputs, anchors, cells, np.array([[64, 96]]), model.box_coder)
    assert int(found.num[0]) == len(expected)
    np.testing.assert_allclose(found.scores[0], expected[:, 0], atol=1e-5)
    np.testing.assert_array_equal(found.classes[0], expected[:, 1])
    np.testing.assert_allclose(found.boxes[0], expected[:, 2:], atol=1e-2)


def test_the_state_dict_comes_back(imported):
    _, _, tensors, model = imported
    back = foreign_tensors(model, mmdet.FAMILY)
    assert set(tensors) - set(back) == {n for n in tensors if n.endswith("num_batches_tracked")}
    for name, array in back.items():
        np.testing.assert_array_equal(array, tensors[name])


@pytest.mark.parametrize(
    ("metadata", "caffe"),
    [
        ({"file_name": "retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth"}, False),
        ({"file_name": "retinanet_r50_caffe_fpn_1x_coco_20200531-f11027c5.pth"}, True),
        (
            {
                "file_name": "mine.pth",
                "meta.config": "img_norm_cfg = dict(\n    mean=[103.53, 116.28, 123.675], "
                "std=[1.0, 1.0, 1.0], to_rgb=False)\nmodel = dict(backbone=dict(style='caffe'))",
            },
            True,
        ),
        ({"file_name": "caffe.pth", "meta.config": "model = dict(backbone=dict(depth=50))"}, False),
    ],
)
def test_style(metadata, caffe):
    config = preset_of(mmdet.FAMILY, golden_shapes("mmdet_r50_caffe"), metadata).config
    assert config.backbone.stride_in_1x1 == caffe
    assert config.preprocessing.color_order == ("bgr" if caffe else "rgb")
    assert config.preprocessing.mean[0] == (103.53 if caffe else 123.675)
    assert config.preprocessing.std[0] == (1.0 if caffe else 58.395)


def test_a_file_that_does_not_tell_its_style():
    shapes = golden_shapes("mmdet_r50_caffe")
    with pytest.raises(UserError, match=r"Received: model\.pth\. Give --family mmdet_pytorch"):
        preset_of(mmdet.FAMILY, shapes, {"file_name": "model.pth"})
    told = preset_of(mmdet.CAFFE, shapes, {"file_name": "model.pth"})
    assert told.config.backbone.stride_in_1x1 and told.config.preprocessing.color_order == "bgr"
    assert "style caffe: not written in the file" in told.assumptions
    told = preset_of(mmdet.PYTORCH, shapes, {"file_name": "model.pth"})
    assert not told.config.backbone.stride_in_1x1
    assert not mmdet.CAFFE.recognizes(shapes) and not mmdet.PYTORCH.recognizes(shapes)


def test_relu_before_p7_is_an_assumption_that_the_file_can_lift():
    shapes = golden_shapes("mmdet_r18")
    preset = preset_of(mmdet.FAMILY, shapes)
    assert not preset.config.fpn.relu_before_p7
    assert "no ReLU before P7" in preset.assumptions
    lifted = preset_of(
        mmdet.FAMILY, shapes, {"meta.config": "neck=dict(relu_before_extra_convs=True)"}
    )
    assert lifted.config.fpn.relu_before_p7
    assert not lifted.assumptions


def test_a_file_and_the_option_for_the_relu(tmp_path):
    golden, tensors = load_golden("mmdet_r18")
    path = tmp_path / "retinanet_r18_fpn_1x_coco_20220407_171055-614fd399.pth"
    write_tensors(
        path,
        [Tensor(name, x.shape, x.dtype, lambda x=x: x) for name, x in tensors.items()],
    )
    model = import_checkpoint(path, overrides=["model.fpn.relu_before_p7=true"])
    assert model.metadata["family"] == "mmdet" and model.metadata["license"] == "Apache-2.0"
    peer = dataclasses.replace(independent.mmdet("pytorch"), relu_before_p7=True)
    expected = independent.TorchNet(tensors, peer)(golden["network_input"], classes=5)
    logits, deltas = outputs_of(model, golden["network_input"])
    assert np.abs(logits - expected[0]).max() < 2e-3
    assert np.abs(deltas - expected[1]).max() < 2e-4
    # Only the nine anchors of P7 depend on it; `test_raw_outputs` is ten times finer than that.
    assert np.abs(logits - golden["class_logits"])[-9:].max() > 2e-3


@pytest.mark.parametrize("key", ["meta.CLASSES", "meta.dataset_meta.classes"])
def test_class_names_of_the_file(key):
    shapes = golden_shapes("mmdet_r18")
    names = ["red", "white", "platelet", "dust", "air"]
    stored = {f"{key}.{i}": name for i, name in enumerate(names)}
    preset = preset_of(mmdet.FAMILY, shapes, stored)
    assert preset.class_names == names
    assert preset.class_ids == [1, 2, 3, 4, 5]
    stored.pop(f"{key}.4")
    assert preset_of(mmdet.FAMILY, shapes, stored).class_names[0] == "class_0"


def test_coco_names_of_the_file_keep_cocos_ids():
    shapes = {
        **golden_shapes("mmdet_r18"),
        "bbox_head.retina_cls.weight": (720, 256, 3, 3),
    }
    stored = {f"meta.CLASSES.{i}": name for i, name in enumerate(COCO80_NAMES)}
    assert preset_of(mmdet.FAMILY, shapes, stored).class_ids == COCO80_IDS


def test_other_anchors_are_refused():
    shapes = golden_shapes("mmdet_r18")
    text = "anchor_generator=dict(octave_base_scale=8, scales_per_octave=3)"
    with pytest.raises(UserError, match="expected octave_base_scale=4"):
        preset_of(mmdet.FAMILY, shapes, {"meta.config": text})
    with pytest.raises(UserError, match=r"expected 9 anchors a cell\. Received: 3"):
        mmdet.FAMILY.preset({**shapes, "bbox_head.retina_reg.weight": (12, 256, 3, 3)})


def test_missing_and_unmapped_tensors_are_listed(imported):
    _, _, tensors, model = imported
    changed = {**tensors, "bbox_head.extra.weight": np.zeros(3, np.float32)}
    del changed["neck.fpn_convs.4.conv.bias"]
    with pytest.raises(UserError, match=r"missing: neck\.fpn_convs\.4\.conv\.bias; "
                       r"unmapped: bbox_head\.extra\.weight"):  # fmt: skip
        fill(model, Checkpoint(changed), mmdet.FAMILY)
