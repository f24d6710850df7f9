"""Filling a model from named tensors, and reading it back under their names."""

import dataclasses

import numpy as np
import pytest
from foreign import foreign_tensors

from keras_retinanet.checkpoints.families.family import fill, named_weights
from keras_retinanet.checkpoints.families.torchvision import V1
from keras_retinanet.config import FPNConfig, HeadConfig, ModelConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import retinanet
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.filling import LAYOUTS

SMALL = ModelConfig(fpn=FPNConfig(channels=8, p6_from="p5"), head=HeadConfig(channels=8, depth=1))


def small_model(classes=3):
    return retinanet("resnet18", classes, config=SMALL)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def tensors(model):
    rng = np.random.default_rng(0)
    shapes = {name: array.shape for name, array in foreign_tensors(model, V1).items()}
    return {name: rng.normal(size=shape).astype("f4") for name, shape in shapes.items()}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_layouts_are_inverses(layout):
    axes = {"dense": 2, "same": 1}.get(layout, 4)
    array = np.arange(np.prod(range(2, 2 + axes))).reshape(range(2, 2 + axes))
    to_ours, to_theirs = LAYOUTS[layout]
    np.testing.assert_array_equal(to_theirs(to_ours(array)), array)
    np.testing.assert_array_equal(to_ours(to_theirs(array)), array)


def test_layouts_move_the_axes_they_name():
    assert LAYOUTS["conv"][0](np.zeros((8, 4, 3, 5))).shape == (3, 5, 4, 8)
    assert LAYOUTS["depthwise"][0](np.zeros((8, 1, 3, 5))).shape == (3, 5, 8, 1)
    assert LAYOUTS["dense"][0](np.zeros((8, 4))).shape == (4, 8)


def test_weights_of_the_two_heads_have_names_of_their_own(model):
    weights = named_weights(model)
    assert len(weights) == len(model.weights)
    assert weights["class_head/conv1/kernel"] is not weights["box_head/conv1/kernel"]


def test_what_is_filled_comes_back(tensors):
    model = small_model()
    used = fill(model, Checkpoint(tensors), V1)
    assert set(used) == set(tensors)
    back = foreign_tensors(model, V1)
    for name, array in tensors.items():
        np.testing.assert_array_equal(back[name], array)
    weight = named_weights(model)["backbone/stage2_block1_conv1/kernel"].numpy()
    theirs = tensors["backbone.body.layer1.0.conv1.weight"]
    assert weight[0, 2, 5, 7] == theirs[7, 5, 0, 2]


def test_half_precision_is_read_exactly(tensors):
    model = small_model()
    half = {name: array.astype("f2") for name, array in tensors.items()}
    fill(model, Checkpoint(half), V1)
    name = "head.regression_head.bbox_reg.bias"
    np.testing.assert_array_equal(foreign_tensors(model, V1)[name], half[name].astype("f4"))


def test_outputs_are_cut_anchor_by_anchor(tensors):
    model = small_model(classes=2)
    fill(model, Checkpoint(tensors), V1, outputs=[2, 0])
    name = "head.classification_head.cls_logits"
    back = foreign_tensors(model, V1)
    for anchor in range(9):
        for ours, theirs in enumerate((2, 0)):
            for kind in ("weight", "bias"):
                np.testing.assert_array_equal(
                    back[f"{name}.{kind}"][2 * anchor + ours],
                    tensors[f"{name}.{kind}"][3 * anchor + theirs],
                )


def test_every_fault_is_listed_before_a_weight_changes(tensors):
    model = small_model()
    before = [weight.numpy() for weight in model.weights]
    faulty = dict(tensors)
    del faulty["backbone.body.conv1.weight"], faulty["head.regression_head.bbox_reg.bias"]
    faulty["backbone.body.fc.weight"] = np.zeros((10, 512), "f4")
    faulty["backbone.fpn.extra_blocks.p6.bias"] = np.zeros(7, "f4")
    faulty["backbone.body.bn1.num_batches_tracked"] = np.zeros((), "i8")  # needed by nothing
    with pytest.raises(UserError) as error:
        fill(model, Checkpoint(faulty), V1)
    message = str(error.value)
    assert "missing: backbone.body.conv1.weight, head.regression_head.bbox_reg.bias;" in message
    assert "unmapped: backbone.body.fc.weight;" in message
    assert "of another shape: backbone.fpn.extra_blocks.p6.bias (7,) for (8,)." in message
    assert "num_batches" not in message
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_another_number_of_axes_is_another_shape(tensors):
    faulty = tensors | {"backbone.body.conv1.weight": np.zeros((64, 3), "f4")}
    with pytest.raises(UserError, match=r"conv1\.weight \(64, 3\) for \(7, 7, 3, 64\)"):
        fill(small_model(), Checkpoint(faulty), V1)


def test_a_weight_that_no_row_fills_is_a_fault(tensors):
    partial = dataclasses.replace(V1, rows=lambda model: list(V1.rows(model))[:-1])
    with pytest.raises(UserError, match="no tensor for: box_head/final/bias"):
        fill(small_model(), Checkpoint(tensors), partial)
