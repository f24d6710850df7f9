"""torchvision's two RetinaNets: its own outputs, its older names, other classes and trunks."""

import numpy as np
import pytest
from foreign import foreign_tensors
from peer_goldens import (
    assert_same_detections,
    assert_same_outputs,
    imported,
    losses,
    read_golden,
    seeded_checkpoint,
)

from keras_retinanet.checkpoints.families.coco_names import COCO91_NAMES
from keras_retinanet.checkpoints.families.family import shapes_of
from keras_retinanet.checkpoints.families.torchvision import COUNTER, V1, V2
from keras_retinanet.checkpoints.importing import recognise
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.losses import RetinaNetLoss
from keras_retinanet.weight_files.checkpoint import Checkpoint

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module", params=["torchvision_v1", "torchvision_v2"])
def peer(request):
    golden = read_golden(request.param)
    return request.param, golden, imported(golden)


def test_network_input_logits_matches_and_losses(peer):
    name, golden, model = peer
    outputs = assert_same_outputs(model, golden)
    box_loss = {"torchvision_v1": "l1", "torchvision_v2": "giou"}[name]
    # Of one picture torchvision divides by its positives.
    positives = int((golden["match_index"] >= 0).sum())
    found = losses(model, golden, outputs, RetinaNetLoss(box=box_loss), positives)
    stored = [float(golden["loss_classification"]), float(golden["loss_box"])]
    assert found == pytest.approx(stored, rel=1e-5)


def test_detections(peer):
    _, golden, model = peer
    assert_same_detections(model.detect(golden["image"])[0], golden)


def test_every_output_is_kept(peer):
    name, _, model = peer
    assert model.class_names == COCO91_NAMES
    assert model.class_ids == list(range(91))
    assert model.metadata["family"] == name
    assert model.metadata["license"] == "BSD-3-Clause"
    assert ("epsilon 0" in model.metadata.get("assumptions", "")) == (name == "torchvision_v1")


def test_every_tensor_comes_back(peer):
    name, golden, model = peer
    back = foreign_tensors(model, {"torchvision_v1": V1, "torchvision_v2": V2}[name])
    tensors = seeded_checkpoint(golden).tensors
    counters = {name for name in tensors if name.endswith("num_batches_tracked")}
    assert set(back) == set(tensors) - counters
    for tensor in back:
        np.testing.assert_array_equal(back[tensor], tensors[tensor])


# ------------------------------------------------------------------------------- names and shapes


def shapes_of_r18(classes=4, *, counter=True):
    """Of a fine-tuned V1 on resnet18."""
    shapes = {
        "backbone.body.conv1.weight": (64, 3, 7, 7),
        "backbone.fpn.extra_blocks.p6.weight": (256, 256, 3, 3),
        "head.classification_head.cls_logits.weight": (9 * classes, 256, 3, 3),
        "head.regression_head.bbox_reg.weight": (36, 256, 3, 3),
    }
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            shapes[f"backbone.body.layer{stage}.{block}.conv1.weight"] = (64, 64, 3, 3)
    return shapes | ({COUNTER: ()} if counter else {})


def test_a_fine_tuned_model_on_another_trunk():
    shapes = shapes_of_r18()
    assert recognise(shapes) is V1
    preset = V1.preset(shapes)
    assert preset.config.backbone.name == "resnet18"
    assert preset.class_names == ["class_0", "class_1", "class_2", "class_3"]
    assert preset.class_ids == [0, 1, 2, 3]  # torchvision's labels are the outputs
    assert preset.config.backbone.bn_epsilon == 1e-5
    assert "class names are unknown" in preset.assumptions
    # Frozen batch norms have no counters: the model started from torchvision's own weights.
    assert V1.preset(shapes_of_r18(counter=False)).config.backbone.bn_epsilon == 0


def test_other_anchors_are_refused():
    shapes = shapes_of_r18() | {"head.regression_head.bbox_reg.weight": (12, 256, 3, 3)}
    with pytest.raises(UserError, match="expected 9 anchors a cell"):
        V1.preset(shapes)


def test_older_names_and_a_prefix_are_todays():
    old = {
        "model.backbone.fpn.inner_blocks.2.bias": "backbone.fpn.inner_blocks.2.0.bias",
        "model.backbone.fpn.layer_blocks.0.weight": "backbone.fpn.layer_blocks.0.0.weight",
        "model.head.classification_head.conv.6.bias": "head.classification_head.conv.3.0.bias",
        "model.head.regression_head.conv.2.weight": "head.regression_head.conv.1.0.weight",
        "model.head.regression_head.conv.1.0.weight": "head.regression_head.conv.1.0.weight",
        "model.head.classification_head.cls_logits.weight": (
            "head.classification_head.cls_logits.weight"
        ),
    }
    for name, renamed in old.items():
        tensors = {name: np.zeros(1), "model.head.classification_head.cls_logits.weight": 0}
        assert renamed in V1.adapt(Checkpoint(tensors)).tensors
    # Another model's weights in the same file are no part of it.
    assert "ema.x" not in V1.adapt(Checkpoint(dict.fromkeys(["ema.x", *old]))).tensors


def test_the_two_are_told_apart():
    for name, family in (("torchvision_v1", V1), ("torchvision_v2", V2)):
        shapes = shapes_of(seeded_checkpoint(read_golden(name)).tensors)
        assert recognise(shapes) is family
        assert (
            family.preset(shapes).config.fpn.p6_from
            == {"V1": "p5", "V2": "c5"}["V1" if family is V1 else "V2"]
        )
