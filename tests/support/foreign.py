"""For tests of imported checkpoints: stored outputs of a peer against what our model gives."""

import json

import numpy as np
import tensorflow as tf
from conftest import GOLDENS
from goldens.seeded_keras import seeded
from tensorflow.core.protobuf import trackable_object_graph_pb2

from keras_retinanet.checkpoints.families.family import named_weights
from keras_retinanet.checkpoints.families.model_garden import VALUE
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.weight_files.filling import LAYOUTS


def golden(name):
    """Return the arrays of a file of tests/goldens."""
    with np.load(GOLDENS / f"{name}.npz") as stored:
        return {key: stored[key] for key in stored.files}


def picture():
    """Return the picture of all goldens, (H, W, 3) uint8 RGB."""
    with np.load(GOLDENS / "torchvision_v1.npz") as stored:
        return stored["image"]


def tensor_shapes(peer):
    """Return {name: shape} of the tensors that a golden was computed with."""
    return {name: tuple(shape) for name, shape in json.loads(str(peer["spec"]))}


def layout(name):
    """Return {name: shape} of a table of tests/goldens/layouts: a name and its sides a line."""
    lines = (GOLDENS / "layouts" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return {
        name: tuple(int(side) for side in sides)
        for name, *sides in (line.split() for line in lines)
    }


def foreign_tensors(model, family):
    """Return the weights of `model` under the family's names: the inverse of `fill`."""
    weights = named_weights(model)
    return {
        row.theirs: np.ascontiguousarray(LAYOUTS[row.layout][1](weights[row.ours].numpy()))
        for row in family.rows(model)
    }


def stand_ins(shapes):
    """Return arrays of these shapes that hold one zero each, without room for more."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def write_tensorflow_checkpoint(peer, prefix):
    """Write the file of a peer: seeded tensors, and what each was created as where it is told."""
    spec = json.loads(str(peer["spec"]))
    gain = float(peer["class_gain"])
    tensors = {name: tf.constant(seeded(name, tuple(shape), gain)) for name, shape, *_ in spec}
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    node = graph.nodes.add()
    for name, _, *created in spec:
        if created:
            node.attributes.add(checkpoint_key=name, full_name=created[0])
    if node.attributes:
        tensors["_CHECKPOINTABLE_OBJECT_GRAPH"] = tf.constant(graph.SerializeToString())
        tensors[f"save_counter{VALUE}"] = tf.constant(1, tf.int64)
    else:
        tensors["global_step"] = tf.constant(231500, tf.int64)
        tensors |= {f"{spec[0][0]}/Momentum": tf.zeros(spec[0][1])}
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return f"{prefix}.index"


def with_last_pixels(model, peer):
    """Suppress the boxes as SpineNet's first release does: they name their last pixel inside.

    At 128 px a pixel decides 7 of 100 suppressions.
    """
    side = int(peer["side"])
    canvas, _ = model.preprocessing.letterbox(picture())
    outputs = model(canvas[None], training=False)
    boxes = model.box_coder.decode(outputs["box_deltas"][0], model.anchors(side, side)).numpy()
    boxes = np.clip(boxes - [0, 0, 1, 1], 0, side - 1).astype("f4")
    scores = tf.sigmoid(outputs["class_logits"][0]).numpy()
    kept = [
        (float(scores[i, label]), i, label)
        for label in range(1, scores.shape[1])
        for i in tf.image.non_max_suppression(boxes, scores[:, label], 100, 0.5, 0.05).numpy()
    ]
    found, places, labels = zip(*sorted(kept, reverse=True)[:100], strict=True)
    scale = max(picture().shape[:2]) / side
    return Detections(boxes[list(places)] * scale, np.array(found), np.array(labels), [])


def assert_same_detections(found, peer, *, boxes=0.1, scores=1e-3):
    """Each of the peer's detections is one of ours and the other way round; ties may swap."""
    theirs = list(
        zip(
            peer["detection_boxes"],
            peer["detection_scores"],
            peer["detection_labels"],
            strict=True,
        )
    )
    assert len(found) == len(theirs)
    free = set(range(len(found)))
    for box, score, label in theirs:
        same = [
            i
            for i in free
            if found.classes[i] == label
            and abs(found.scores[i] - score) < scores
            and np.abs(found.boxes[i] - box).max() < boxes
        ]
        assert same, f"not found: class {label}, score {score}, box {box}"
        free.remove(min(same, key=lambda i: np.abs(found.boxes[i] - box).max()))
