"""What the tests of KerasHub's and KerasCV's import share: goldens, and comparisons."""

import json
import sys
import zipfile

import h5py
import numpy as np
from conftest import GOLDENS

from keras_retinanet.checkpoints.families.family import named_weights

sys.path.insert(0, str(GOLDENS))
from seeded_hub import seeded

# The bounds: logits, deltas, grey levels, pixels of a box, scores.
LOGITS, DELTAS, GREY, BOX, SCORE = 2e-3, 2e-4, 1.0, 0.1, 1e-3


def load_golden(name):
    with np.load(GOLDENS / f"{name}.npz") as stored:
        return {key: stored[key] for key in stored.files}


def golden_picture():
    return load_golden("torchvision_v1")["image"]


def peer_tensors(golden, spec="spec"):
    """Return {data set's path: array} of the peer's file, with its seeded weights."""
    gain = float(golden["class_gain"])
    return {
        path: seeded(name, tuple(shape), gain)
        for path, name, shape in json.loads(str(golden[spec]))
    }


def assert_same_input(model, golden):
    ours = model.preprocessing.letterbox(golden_picture())[0].numpy()
    theirs = golden["network_input"].astype(np.float32)
    assert ours.shape == theirs.shape
    # The peer's is stored to a sixteenth.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.1)


def assert_same_outputs(model, golden):
    network_input = model.preprocessing.letterbox(golden_picture())[0][None]
    outputs = model(network_input, training=False)
    side = int(golden["side"])
    np.testing.assert_allclose(model.anchors(side, side), golden["anchors"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(
        outputs["class_logits"][0], golden["class_logits"], rtol=0, atol=LOGITS
    )
    np.testing.assert_allclose(outputs["box_deltas"][0], golden["box_deltas"], rtol=0, atol=DELTAS)


def assert_same_detections(model, golden, to_picture):
    """Each of the peer's detections takes one of ours, and none of ours is left.

    Args:
        to_picture: the peer's boxes, in pixels of its input, -> pixels of the picture.
    """
    (found,) = model.detect(golden_picture())
    theirs = to_picture(golden["detection_boxes"])
    free = set(range(len(found)))
    for box, score, label in zip(
        theirs, golden["detection_scores"], golden["detection_labels"], strict=True
    ):
        same = [
            i
            for i in free
            if found.classes[i] == label
            and abs(found.scores[i] - score) < SCORE
            and np.abs(found.boxes[i] - box).max() < BOX
        ]
        assert same, f"not found: class {label}, score {score}, box {box}"
        free.remove(same[0])
    assert not free


def write_h5(path, tensors, attributes=None):
    """Write a weight file as Keras does."""
    with h5py.File(path, "w") as file:
        for name, value in tensors.items():
            file[name] = value
        file.attrs.update(attributes or {})


def write_keras(path, tensors, config):
    """Write a `.keras` file: the configuration as JSON beside the weights."""
    weights = path.with_suffix(".weights.h5")
    write_h5(weights, tensors)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.0"}')
        archive.writestr("config.json", config)
        archive.write(weights, "model.weights.h5")


class BuiltModel:
    """Stands for the peer's model in memory: what Keras's own has of it."""

    def __init__(self, tensors, config):
        self.tensors, self.config = tensors, config

    def save_weights(self, path):
        write_h5(path, self.tensors)

    def to_json(self):
        return self.config


def assert_same_weights(model, other):
    ours, theirs = named_weights(model), named_weights(other)
    assert list(ours) == list(theirs)
    for name, weight in ours.items():
        np.testing.assert_array_equal(weight, theirs[name], err_msg=name)
