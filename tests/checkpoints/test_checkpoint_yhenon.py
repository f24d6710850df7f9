"""yhenon's state dicts: against its own results, an independent NumPy one, and its key layout."""

import numpy as np
import pytest
from peer_checkpoints import (
    check_detections,
    check_layout,
    check_post_processing,
    import_tensors,
    independent,
    level_cells,
    load_golden,
    network_input,
    outputs_of,
)

from keras_retinanet.checkpoints.families import yhenon
from keras_retinanet.checkpoints.families.coco_names import COCO80_IDS
from keras_retinanet.checkpoints.families.family import fill
from keras_retinanet.errors import UserError
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.reading import read_checkpoint

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def imported():
    golden, tensors = load_golden("yhenon_r18")
    return golden, tensors, import_tensors(yhenon.FAMILY, tensors)


def test_every_tensor_of_the_published_layout_maps():
    model, unused = check_layout(yhenon.FAMILY, "yhenon_r50", {})
    assert model.config.backbone.name == "resnet50"
    assert model.class_ids == COCO80_IDS
    assert all(name.endswith("num_batches_tracked") for name in unused)


def test_raw_outputs(imported):
    golden, tensors, model = imported
    seen = golden["network_input"]
    logits, deltas = outputs_of(model, seen)
    expected = independent.TorchNet(tensors, independent.yhenon())(seen, classes=5)
    for theirs in (expected, (golden["class_logits"], golden["box_deltas"])):
        assert np.abs(logits - theirs[0]).max() < 2e-4
        assert np.abs(deltas - theirs[1]).max() < 2e-5


def test_network_input(imported):
    """Padded to the next multiple above, though 64 and 96 are multiples already."""
    golden, _, model = imported
    assert golden["network_input"].shape == (64, 128, 3)
    seen = network_input(model, golden["image"])
    np.testing.assert_allclose(seen, golden["network_input"], atol=1e-4)


def test_anchors(imported):
    def cell(stride):
        scales = [4 * 2 ** (i / 3) for i in range(3)]
        return [(stride * s / r**0.5, stride * s * r**0.5) for r in (0.5, 1, 2) for s in scales]

    golden, _, model = imported
    anchors = model.anchors(64, 128).numpy()
    np.testing.assert_allclose(anchors, golden["anchors"], atol=1e-3)
    np.testing.assert_allclose(anchors, independent.grid(64, 128, cell, offset=0.5), atol=1e-3)


def test_detections(imported):
    golden, _, model = imported
    check_post_processing(model, golden)
    check_detections(model, golden)


def test_detections_of_wild_deltas_equal_an_independent_suppression(imported):
    """No bound on the logarithms, no cut of the candidates."""
    golden, _, model = imported
    deltas = golden["box_deltas"] * [1, 1, 45, 45]
    anchors = golden["anchors"]
    assert (deltas[:, 2:] * 0.2 > np.log(1000 / 16)).any()
    boxes = independent.decode(deltas, anchors, stds=(0.1, 0.1, 0.2, 0.2))
    boxes = np.clip(boxes, 0, [128, 64, 128, 64])
    scores = 1 / (1 + np.exp(-golden["class_logits"].astype(np.float64)))
    cells = level_cells(64, 128)
    expected = independent.detect(scores, boxes, cells, most=1000)
    outputs = {"class_logits": golden["class_logits"][None], "box_deltas": deltas[None]}
    found = model.post_processing(
        outputs, anchors, cells, np.array([[63, 96]]), model.box_coder, (64, 128)
    )
    num = int(found.num[0])
    assert num == len(expected)
    np.testing.assert_allclose(found.scores[0, :num], expected[:, 0], atol=1e-5)
    np.testing.assert_array_equal(found.classes[0, :num], expected[:, 1])
    np.testing.assert_allclose(found.boxes[0, :num], expected[:, 2:], atol=1e-2)


def test_missing_and_unmapped_tensors_are_listed(imported):
    _, tensors, model = imported
    changed = {**tensors, "fpn.P8.weight": np.zeros(3, np.float32)}
    del changed["regressionModel.output.bias"]
    with pytest.raises(UserError, match=r"missing: regressionModel\.output\.bias; "
                       r"unmapped: fpn\.P8\.weight"):  # fmt: skip
        fill(model, Checkpoint(changed), yhenon.FAMILY)


def test_a_whole_pickled_model_is_refused(tmp_path):
    """What its train.py writes: a pickle that asks for the repository's own class."""
    path = tmp_path / "retinanet_final.pt"
    path.write_bytes(b"\x80\x02cretinanet.model\nResNet\n)\x81.")
    with pytest.raises(UserError, match=r"whole pickled model, save model\.state_dict\(\)"):
        read_checkpoint(path)
