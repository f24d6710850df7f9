"""odtk's files: against its own results, an independent NumPy one, and its key layouts."""

import numpy as np
import pytest
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

from keras_retinanet.checkpoints.families import odtk
from keras_retinanet.checkpoints.families.coco_names import COCO80_NAMES
from keras_retinanet.checkpoints.families.family import fill, shapes_of
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.anchors import Anchors
from keras_retinanet.weight_files.checkpoint import Checkpoint

pytestmark = pytest.mark.peer


def stored(golden):
    """What a file since March 2020 holds beside the tensors, as the reader names it."""
    return {f"{name}.{i}": repr(float(x)) for name in ("ratios", "scales")
            for i, x in enumerate(golden[name])}  # fmt: skip


@pytest.fixture(scope="module")
def imported():
    golden, tensors = load_golden("odtk_r18")
    return golden, tensors, import_tensors(odtk.FAMILY, tensors, stored(golden))


@pytest.mark.parametrize(
    "depth", [18, 34, 50, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (101, 152))]
)
def test_every_tensor_of_the_published_layout_maps(depth):
    model, unused = check_layout(odtk.FAMILY, f"odtk_r{depth}", {"backbone.0": f"ResNet{depth}FPN"})
    assert model.config.backbone.name == f"resnet{depth}"
    assert model.class_names == COCO80_NAMES
    classifier = f"backbones.ResNet{depth}FPN.features.fc."
    assert {n for n in unused if not n.endswith("num_batches_tracked")} == {
        f"{classifier}weight",
        f"{classifier}bias",
    }


def test_raw_outputs(imported):
    golden, tensors, model = imported
    seen = golden["network_input"]
    logits, deltas = outputs_of(model, seen)
    peer = independent.odtk("ResNet18FPN")
    expected = independent.TorchNet(tensors, peer)(seen, classes=5)
    for theirs in (expected, (golden["class_logits"], golden["box_deltas"])):
        assert np.abs(logits - theirs[0]).max() < 2e-4
        assert np.abs(deltas - theirs[1]).max() < 2e-5


def test_network_input(imported):
    golden, _, model = imported
    assert golden["network_input"].shape == (128, 128, 3)
    np.testing.assert_allclose(
        network_input(model, golden["image"]), golden["network_input"], atol=1e-5
    )


def test_anchors(imported):
    """The peer's cells name the last pixel inside, and its coder adds it."""
    golden, _, model = imported
    anchors = model.anchors(128, 128).numpy()
    starts = np.cumsum([0, *level_cells(128, 128)])[:-1]
    expected = golden["cells"] + [0, 0, 1, 1]
    for start, cell in zip(starts, expected, strict=True):
        np.testing.assert_allclose(anchors[start : start + 9], cell, atol=1e-3)


def test_anchors_of_the_published_files():
    """P3 of the table in extras/cppapi/export.cpp of release 19.04, cut to two places."""
    preset = preset_of(odtk.FAMILY, golden_shapes("odtk_r18"), {"backbone.0": "ResNet18FPN"})
    assert "release 19.04" in preset.assumptions
    table = [
        [-12, -12, 19, 19],
        [-8, -20, 15, 27],
        [-18, -8, 25, 15],
        [-16.15, -16.15, 23.15, 23.15],
        [-11.11, -26.23, 18.11, 33.23],
        [-23.71, -11.11, 30.71, 18.11],
        [-21.39, -21.39, 28.39, 28.39],
        [-15.04, -34.09, 22.04, 41.09],
        [-30.92, -15.04, 37.92, 22.04],
    ]
    anchors = Anchors(**vars(preset.config.anchors))(128, 128)[:9]
    np.testing.assert_allclose(anchors, np.array(table) + [0, 0, 1, 1], atol=0.011)


def test_detections(imported):
    golden, _, model = imported
    # Theirs name the last pixel of the network's input that is inside.
    past_end = 1 / float(golden["ratio"])
    check_post_processing(model, golden, past_end=past_end)
    check_detections(model, golden, past_end=past_end)


def test_detections_of_wild_deltas_equal_an_independent_suppression(imported):
    """No bound on the logarithms, and boxes are cut at the canvas, padding included."""
    golden, _, model = imported
    deltas = golden["box_deltas"] * [1, 1, 8, 8]
    anchors = model.anchors(128, 128).numpy()
    boxes = np.clip(independent.decode(deltas, anchors), 0, 128)
    assert (deltas[:, 2:] > np.log(1000 / 16)).any()
    scores = 1 / (1 + np.exp(-golden["class_logits"].astype(np.float64)))
    cells = level_cells(128, 128)
    expected = independent.detect(scores, boxes, cells, top_k=1000)
    outputs = {"class_logits": golden["class_logits"][None], "box_deltas": deltas[None]}
    found = model.post_processing(
        outputs, anchors, cells, np.array([[62, 96]]), model.box_coder, (128, 128)
    )
    np.testing.assert_allclose(found.scores[0], expected[:, 0], atol=1e-5)
    np.testing.assert_array_equal(found.classes[0], expected[:, 1])
    np.testing.assert_allclose(found.boxes[0], expected[:, 2:], atol=1e-2)


def test_the_files_own_ratios_and_scales(imported):
    shapes = {**shapes_of(imported[1]), "box_head.8.weight": (24, 256, 3, 3),
              "cls_head.8.weight": (30, 256, 3, 3)}  # fmt: skip
    own = {"ratios.0": "1.0", "ratios.1": "3.0", "scales.0": "2.0", "scales.1": "4.0",
           "scales.2": "8.0"}  # fmt: skip
    anchors = preset_of(odtk.FAMILY, shapes, own).config.anchors
    assert anchors.ratios == (1.0, 3.0)
    assert anchors.scales == (0.5, 1.0, 2.0)
    assert anchors.inclusive and not anchors.rounded_base
    assert len(preset_of(odtk.FAMILY, shapes, own).class_names) == 5


def test_a_stripped_file_can_be_told_by_the_user(imported):
    shapes = shapes_of(imported[1])
    assert preset_of(odtk.FAMILY, shapes).config.anchors.rounded_base
    anchors = preset_of(odtk.FLOAT_ANCHORS, shapes).config.anchors
    assert anchors.inclusive and not anchors.rounded_base
    assert anchors.ratios == (1.0, 2.0, 0.5)
    assert not odtk.FLOAT_ANCHORS.recognizes(shapes)


def test_what_cannot_be_imported_is_said(imported):
    shapes = shapes_of(imported[1])
    with pytest.raises(UserError, match=r"file with `angles`\. Rotated boxes cannot"):
        preset_of(odtk.FAMILY, shapes, {"angles.0": "-0.5"})
    with pytest.raises(UserError, match="Received: 162 in box_head"):
        odtk.FAMILY.preset({**shapes, "box_head.8.weight": (162, 256, 3, 3)})
    mobile = {name.replace("ResNet18FPN", "MobileNetV2FPN"): s for name, s in shapes.items()}
    with pytest.raises(UserError, match=r"Received: backbones\.MobileNetV2FPN"):
        odtk.FAMILY.preset(mobile)


def test_missing_and_unmapped_tensors_are_listed(imported):
    _, tensors, model = imported
    changed = {**tensors, "cls_head.10.bias": np.zeros(3, np.float32)}
    del changed["box_head.8.bias"]
    with pytest.raises(
        UserError, match=r"missing: box_head\.8\.bias; unmapped: cls_head\.10\.bias"
    ):
        fill(model, Checkpoint(changed), odtk.FAMILY)
