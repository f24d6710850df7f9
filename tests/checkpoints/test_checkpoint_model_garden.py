"""TensorFlow Model Garden's checkpoints: its outputs, and every name of its trainer's layout."""

import numpy as np
import pytest
import tensorflow as tf
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
from keras_retinanet.checkpoints.families.model_garden import FAMILY, VALUE
from keras_retinanet.checkpoints.importing import import_checkpoint
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.preprocessing import Preprocessing
from keras_retinanet.weight_files.checkpoint import Checkpoint

pytestmark = pytest.mark.peer

PUBLISHED = "model_garden_resnet50fpn"
AVERAGE = "head/_classifier/bias/.OPTIMIZER_SLOT/optimizer/average"
MOMENTUM = "head/_classifier/bias/.OPTIMIZER_SLOT/optimizer/momentum"


@pytest.fixture(scope="module")
def peer():
    return golden("model_garden_r50")


@pytest.fixture(scope="module")
def path(peer, tmp_path_factory):
    """TensorFlow's own file, with a trainer's counters and slots beside the weights."""
    tensors = {
        name: tf.constant(seeded(name, shape, float(peer["class_gain"])))
        for name, shape in tensor_shapes(peer).items()
    }
    tensors |= {
        f"global_step{VALUE}": tf.constant(33264, tf.int64),
        f"optimizer/iter{VALUE}": tf.constant(33264, tf.int64),
        f"{MOMENTUM}{VALUE}": tf.zeros([189]),
        "_CHECKPOINTABLE_OBJECT_GRAPH": tf.constant(b"how the objects hang together"),
    }
    prefix = str(tmp_path_factory.mktemp("model_garden") / "ckpt-33264")
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return f"{prefix}.index"


@pytest.fixture(scope="module")
def model(peer, path):
    return import_checkpoint(path, image_size=(int(peer["side"]), int(peer["side"])))


def published():
    return FAMILY.adapt(Checkpoint(stand_ins(layout(PUBLISHED))))


def test_network_input_is_the_peers(peer, model):
    canvas, size = model.preprocessing.letterbox(picture())
    assert size == (96, 128)
    assert canvas.shape == peer["network_input"].shape == (128, 128, 3)
    assert np.abs(canvas.numpy() - peer["network_input"].astype("f4")).max() < 1


def test_raw_outputs_are_the_peers(peer, model):
    canvas, _ = model.preprocessing.letterbox(picture())
    outputs = model(canvas[None], training=False)
    np.testing.assert_allclose(outputs["class_logits"][0], peer["class_logits"], rtol=0, atol=2e-3)
    np.testing.assert_allclose(outputs["box_deltas"][0], peer["box_deltas"], rtol=0, atol=2e-4)


def test_detections_are_the_peers(peer, model):
    assert_same_detections(model.detect(picture())[0], peer)


def test_background_is_the_first_output(model):
    assert model.class_names[0] == "__background__"
    assert model.class_ids == list(range(21))


def test_the_file_is_recognised_and_its_counters_left(model):
    assert model.metadata["family"] == "model_garden"
    assert model.metadata["tensors"].startswith("481 of 483")


def test_every_tensor_of_the_published_layout_has_a_row(model):
    shapes = shapes_of(published().tensors)
    preset = FAMILY.preset(shapes)
    assert (preset.config.backbone.name, preset.config.head.depth) == ("resnet50", 4)
    assert len(preset.class_names) == 91
    assert preset.class_names[1] == "person"
    preprocessing = Preprocessing(**vars(preset.config.preprocessing))
    assert preprocessing.resized_size(480, 320) == (640, 427)
    assert preprocessing.canvas_size(640, 427) == (640, 640)
    used = {row.theirs for row in FAMILY.rows(model)}
    left = set(shapes) - used
    assert used <= set(shapes)
    assert len(used) == 481
    assert {name.split("/")[0] for name in left if "OPTIMIZER_SLOT" not in name} == {
        "global_step",
        "optimizer",
    }


def test_the_published_shapes_fit_but_for_the_classes(model):
    with pytest.raises(UserError) as error:
        fill(model, published(), FAMILY)
    message = str(error.value)
    assert "missing" not in message
    assert "unmapped" not in message
    assert message.count(" for (") == 2  # kernel and bias of the last layer: 91 outputs for 21
    assert "head/_classifier/kernel (3, 3, 256, 819) for (3, 3, 256, 189)" in message


def test_an_average_stands_in_for_its_variable():
    tensors = {
        f"head/_classifier/bias{VALUE}": np.zeros(9, "f4"),
        f"{AVERAGE}{VALUE}": np.ones(9, "f4"),
        f"{MOMENTUM}{VALUE}": np.full(9, 2, "f4"),
    }
    adapted = FAMILY.adapt(Checkpoint(tensors)).tensors
    assert set(adapted) == {"head/_classifier/bias", MOMENTUM}
    np.testing.assert_array_equal(adapted["head/_classifier/bias"], np.ones(9))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head/_box_regressor/kernel": (3, 3, 256, 12)}, "Received: 3 in head/_box_regressor"),
        ({"backbone/extra/_conv3/kernel": (1, 1, 64, 256)}, "a backbone with 17 bottlenecks"),
    ],
)
def test_other_graphs_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        FAMILY.preset(shapes_of(published().tensors) | changes)


def test_a_backbone_without_an_fpn_is_refused():
    shapes = {name: shape for name, shape in shapes_of(published().tensors).items()
              if not name.startswith("decoder/")}  # fmt: skip
    with pytest.raises(UserError, match="which cannot be imported"):
        FAMILY.preset(shapes)
