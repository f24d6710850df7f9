"""The stored outputs of peers, and an imported model that must give the same."""

import json

import numpy as np
from conftest import GOLDENS
from goldens.seeded_weights import seeded

from keras_retinanet.checkpoints.families.family import shapes_of
from keras_retinanet.checkpoints.importing import model_of, recognise
from keras_retinanet.weight_files.checkpoint import Checkpoint

SAMPLED_ROWS, SAMPLED_CHANNELS = 16, 32


def read_golden(name):
    with np.load(GOLDENS / f"{name}.npz") as stored:
        return {key: stored[key] for key in stored.files}


def seeded_checkpoint(golden):
    """The peer's own tensors, rebuilt from their names."""
    gain = float(golden["class_gain"])
    spec = json.loads(str(golden["spec"]))
    return Checkpoint({name: seeded(name, shape, dtype, gain) for name, shape, dtype in spec})


def imported(golden, **options):
    """The model of a golden, through recognition, preset and fill."""
    checkpoint = seeded_checkpoint(golden)
    family = recognise(shapes_of(checkpoint.tensors))
    size = int(golden["min_size"]), int(golden["max_size"])
    return model_of(checkpoint, family, __file__, image_size=size, **options)


def network_input(model, image):
    """(h, w, 3): the letterboxed and normalised picture."""
    canvas, _ = model.preprocessing.letterbox(image)
    return model.get_layer("normalization")(canvas[None])[0].numpy()


def assert_same_outputs(model, golden):
    """Network input, every level of the pyramid, logits and deltas, within the issue's bounds."""
    inputs = network_input(model, golden["image"])
    assert inputs.shape[:2] == tuple(golden["network_input_shape"][2:])
    sample = inputs[::SAMPLED_ROWS, ::SAMPLED_ROWS] * model.preprocessing.std
    stored = golden["network_input_sample"] * model.preprocessing.std
    np.testing.assert_allclose(sample, stored, rtol=0, atol=1e-3)  # of 255
    features = [feature for _, feature in sorted(model.backbone(inputs[None]).items())]
    for level, feature in enumerate(model.fpn(features), start=3):
        np.testing.assert_allclose(
            feature[0, :, :, ::SAMPLED_CHANNELS], golden[f"p{level}_sample"], rtol=0, atol=2e-3
        )
    outputs = model(model.preprocessing.letterbox(golden["image"])[0][None])
    np.testing.assert_allclose(
        outputs["class_logits"][0], golden["class_logits"], rtol=0, atol=2e-3
    )
    np.testing.assert_allclose(outputs["box_deltas"][0], golden["box_deltas"], rtol=0, atol=2e-4)
    return outputs


def assert_same_detections(found, golden):
    """Each of the peer's takes one of ours, and none is left: equal scores may change places."""
    assert len(found) == len(golden["detection_scores"])
    free = set(range(len(found)))
    for box, score, label in zip(
        golden["detection_boxes"],
        golden["detection_scores"],
        golden["detection_labels"],
        strict=True,
    ):
        same = [
            i
            for i in free
            if found.classes[i] == label
            and abs(found.scores[i] - score) < 1e-3
            and np.abs(found.boxes[i] - box).max() < 0.1
        ]
        assert same, f"not found: class {label}, score {score}, box {box}"
        free.remove(same[0])


def losses(model, golden, outputs, loss, normalizer):
    """(class loss, box loss) of the golden's ground truth, low-quality matches included."""
    from keras_retinanet.modeling.labeling import AnchorLabeler

    anchors = model.anchors(*(int(side) for side in golden["network_input_shape"][2:]))
    labels = {"boxes": golden["gt_boxes_network"][None], "classes": golden["gt_labels"][None]}
    targets = AnchorLabeler(low_quality=True)(anchors, labels)
    np.testing.assert_array_equal(targets.matches[0], golden["match_index"])
    return [float(part) / normalizer for part in loss.sums(anchors, targets, outputs)]
