"""detectron2's RetinaNet: its own outputs, and what its files say of colours and trunks."""

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

from keras_retinanet.checkpoints.families.coco_names import COCO80_IDS, COCO80_NAMES
from keras_retinanet.checkpoints.families.detectron2 import FAMILY
from keras_retinanet.checkpoints.families.family import shapes_of
from keras_retinanet.modeling.losses import RetinaNetLoss
from keras_retinanet.weight_files.checkpoint import Checkpoint

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def golden():
    return read_golden("detectron2_r50")


@pytest.fixture(scope="module")
def model(golden):
    return imported(golden)


def test_network_input_logits_matches_and_losses(golden, model):
    outputs = assert_same_outputs(model, golden)
    # Its moving average of positives after one batch with 71.
    found = losses(model, golden, outputs, RetinaNetLoss(box="l1"), 0.9 * 100 + 0.1 * 71)
    stored = [float(golden["loss_classification"]), float(golden["loss_box"])]
    assert found == pytest.approx(stored, rel=1e-5)


def test_detections(golden, model):
    assert_same_detections(model.detect(golden["image"])[0], golden)


def test_the_picture_is_resized_as_pillow_does(golden, model):
    resized = model.preprocessing.resize(golden["image"], golden["resized_bgr"].shape[:2])
    np.testing.assert_array_equal(resized[..., ::-1], golden["resized_bgr"])


def test_names_license_and_every_tensor(golden, model):
    assert (model.class_names, model.class_ids) == (COCO80_NAMES, COCO80_IDS)
    assert model.metadata["license"] == "CC BY-SA 3.0"
    back, tensors = foreign_tensors(model, FAMILY), seeded_checkpoint(golden).tensors
    assert set(back) == set(tensors)
    for name in back:
        np.testing.assert_array_equal(back[name], tensors[name])


def colours(mean, std):
    """The refined configuration of a file with these colours."""
    tensors = dict(seeded_shapes())
    tensors["pixel_mean"] = np.reshape(np.array(mean, "f4"), (3, 1, 1))
    tensors["pixel_std"] = np.reshape(np.array(std, "f4"), (3, 1, 1))
    checkpoint = FAMILY.adapt(Checkpoint(tensors))
    preset = FAMILY.refine(FAMILY.preset(shapes_of(checkpoint.tensors)), checkpoint.metadata)
    return preset.config.backbone.stride_in_1x1, preset.config.preprocessing


def seeded_shapes():
    return seeded_checkpoint(read_golden("detectron2_r50")).tensors


@pytest.mark.parametrize(
    ("mean", "std", "order", "in_1x1"),
    [
        ((103.53, 116.28, 123.675), (1, 1, 1), "bgr", True),
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "rgb", False),
    ],
)
def test_colours_of_the_file(mean, std, order, in_1x1):
    stride_in_1x1, preprocessing = colours(mean, std)
    assert (stride_in_1x1, preprocessing.color_order) == (in_1x1, order)
    assert preprocessing.mean == pytest.approx(mean)
    assert preprocessing.std == pytest.approx(std)
