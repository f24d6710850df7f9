"""What the tests of MMDetection's, odtk's and yhenon's files share."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from conftest import GOLDENS
from goldens.seeded_peers import read_layout, seeded_peer

from keras_retinanet.checkpoints.families.family import fill, named_weights, shapes_of
from keras_retinanet.modeling.anchors import feature_sizes
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.checkpoint import Checkpoint

sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))
import numpy_retinanet as independent  # noqa: F401 - the tests' name for it

SIZE = {"short_side": 64, "long_side": 96}  # of the goldens


def preset_of(family, shapes, metadata=None):
    preset = family.preset(shapes)
    return family.refine(preset, metadata or {}) if family.refine else preset


def golden_shapes(name):
    """Return name -> shape of the tensors of a golden's graph."""
    with np.load(GOLDENS / f"{name}.npz") as stored:
        return {key: tuple(shape) for key, shape in json.loads(str(stored["spec"]))}


def load_golden(name):
    """Return (golden arrays, its seeded tensors)."""
    with np.load(GOLDENS / f"{name}.npz") as stored:
        golden = {key: stored[key] for key in stored.files}
    shapes = golden_shapes(name)
    raw = "caffe" in name
    return golden, seeded_peer(shapes, class_gain=float(golden["class_gain"]), raw_pixels=raw)


def import_tensors(family, tensors, metadata=None):
    """Return the model of `tensors`, with the goldens' small input size."""
    preset = preset_of(family, shapes_of(tensors), metadata)
    sides = dataclasses.replace(preset.config.preprocessing, **SIZE)
    config = dataclasses.replace(preset.config, preprocessing=sides)
    model = RetinaNet(config, preset.class_names, class_ids=preset.class_ids)
    fill(model, Checkpoint(tensors), family)
    return model


def check_layout(family, name, metadata):
    """Every tensor of a published layout fills a weight of its own, and every weight is filled."""
    shapes = read_layout(name)
    # A constant for each tensor, of the tensor's shape and no size.
    numbers = {tensor: np.float32(i % 97 + i / 4096) for i, tensor in enumerate(shapes)}
    tensors = {key: np.broadcast_to(numbers[key], shape) for key, shape in shapes.items()}
    preset = preset_of(family, shapes, metadata)
    model = RetinaNet(preset.config, preset.class_names, class_ids=preset.class_ids)
    used = fill(model, Checkpoint(tensors), family)
    assert len(set(used)) == len(used) == len(named_weights(model))
    weights = named_weights(model)
    for row in family.rows(model):
        flat = tf.reshape(weights[row.ours].value, [-1])
        assert flat[0] == flat[-1] == numbers[row.theirs], row
    return model, set(shapes) - set(used)


def network_input(model, image):
    """Return what the trunk sees for a picture: (h, w, 3) float32."""
    canvas, _ = model.preprocessing.letterbox(image)
    return model.get_layer("normalization")(canvas[None])[0].numpy()


def outputs_of(model, seen):
    """Return logits (R, K) and deltas (R, 4) for a normalised input (h, w, 3)."""
    features = [feature for _, feature in sorted(model.backbone(seen[None]).items())]
    levels = model.fpn(features)
    return model.class_head(levels)[0].numpy(), model.box_head(levels)[0].numpy()


def check_detections(model, golden, *, pixels=0.1, past_end=0.0):
    """A picture gives the peer's detections both ways: `pixels` apart, and that much of a % too."""
    _check_same(model.detect(golden["image"])[0], golden, pixels, past_end)


def check_post_processing(model, golden, *, past_end=0.0):
    """The peer's own logits and deltas give the peer's detections."""
    shape, original = golden["network_input"].shape[:2], golden["image"].shape[:2]
    size = model.preprocessing.resized_size(*original)
    outputs = {name: golden[name][None] for name in ("class_logits", "box_deltas")}
    cells = level_cells(*shape)
    batch = model.post_processing(
        outputs, model.anchors(*shape), cells, tf.constant([size]), model.box_coder, shape
    )
    _check_same(model.finish(batch, 0, size, original), golden, 1e-3, past_end)


def _check_same(found, golden, tolerance, past_end):
    wide = np.array([0, 0, past_end, past_end])
    ours = np.column_stack([found.classes * 1e3, found.scores * 100, found.boxes])
    theirs = np.column_stack(
        [golden["labels"] * 1e3, golden["scores"] * 100, golden["boxes"] + wide]
    )
    assert len(ours) == len(theirs)
    distance = np.abs(ours[:, None] - theirs[None]).max(axis=2)
    assert distance.min(axis=0).max() < tolerance
    assert distance.min(axis=1).max() < tolerance


def level_cells(height, width):
    return [rows * columns * 9 for rows, columns in feature_sizes(height, width)]
