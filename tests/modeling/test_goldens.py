"""torchvision's and detectron2's results, from their stored logits, deltas and boxes."""

from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf
from conftest import GOLDENS

from keras_retinanet.modeling.anchors import Anchors, feature_sizes
from keras_retinanet.modeling.boxes import BoxCoder
from keras_retinanet.modeling.labeling import AnchorLabeler
from keras_retinanet.modeling.losses import RetinaNetLoss
from keras_retinanet.modeling.post_processing import PostProcessing


@dataclass(frozen=True)
class Graph:
    anchors: Anchors
    loss: RetinaNetLoss
    post_processing: PostProcessing
    resized_size: tuple[int, int]  # of the golden picture, by the peer's own rounding
    normalizer: float


TORCHVISION = Anchors(offset=0.0, rounded=True, stride="true")
GRAPHS = {
    "torchvision_v1": Graph(
        TORCHVISION, RetinaNetLoss(box="l1"), PostProcessing(max_detections=300), (128, 170), 73
    ),
    "torchvision_v2": Graph(
        TORCHVISION, RetinaNetLoss(box="giou"), PostProcessing(max_detections=300), (128, 170), 73
    ),
    "detectron2_r50": Graph(
        Anchors(offset=0.0, order="scale_outer"),
        RetinaNetLoss(box="l1"),
        PostProcessing(clip_before_nms=False),
        (128, 171),
        # Its moving average of positives after one batch with 71.
        0.9 * 100 + 0.1 * 71,
    ),
}


@pytest.fixture(params=sorted(GRAPHS))
def peer(request):
    with np.load(GOLDENS / f"{request.param}.npz") as stored:
        return GRAPHS[request.param], {key: stored[key] for key in stored.files}


def input_shape(golden):
    return tuple(int(side) for side in golden["network_input_shape"][2:])


def targets_of(graph, golden):
    anchors = graph.anchors(*input_shape(golden))
    labels = {"boxes": golden["gt_boxes_network"][None], "classes": golden["gt_labels"][None]}
    return anchors, AnchorLabeler(low_quality=True)(anchors, labels)


def outputs_of(golden):
    return {name: golden[name][None] for name in ("class_logits", "box_deltas")}


def test_anchors(peer):
    graph, golden = peer
    np.testing.assert_allclose(
        graph.anchors(*input_shape(golden)), golden["anchors"], rtol=0, atol=1e-3
    )


def test_match_indices(peer):
    _, targets = targets_of(*peer)
    np.testing.assert_array_equal(targets.matches[0], peer[1]["match_index"])


def test_both_losses(peer):
    graph, golden = peer
    class_sum, box_sum = graph.loss.sums(*targets_of(graph, golden), outputs_of(golden))
    assert float(class_sum) / graph.normalizer == pytest.approx(
        golden["loss_classification"], rel=1e-6
    )
    assert float(box_sum) / graph.normalizer == pytest.approx(golden["loss_box"], rel=1e-6)


@pytest.mark.long
def test_detections(peer):
    graph, golden = peer
    shape = input_shape(golden)
    cells = [rows * columns * graph.anchors.per_cell for rows, columns in feature_sizes(*shape)]
    found = graph.post_processing(
        outputs_of(golden),
        graph.anchors(*shape),
        cells,
        tf.constant([graph.resized_size]),
        BoxCoder(),
    )
    num = int(found.num[0])
    assert num == len(golden["detection_scores"])
    height, width = np.array(golden["image"].shape[:2]) / graph.resized_size
    boxes = found.boxes[0].numpy() * [width, height, width, height]
    # Equal scores may stand in another order: each of the peer's detections takes one of ours.
    free = set(range(num))
    for box, score, label in zip(
        golden["detection_boxes"],
        golden["detection_scores"],
        golden["detection_labels"],
        strict=True,
    ):
        same = [
            i
            for i in free
            if found.classes[0, i] == label
            and abs(found.scores[0, i] - score) < 1e-5
            and np.abs(boxes[i] - box).max() < 0.01
        ]
        assert same, f"not found: class {label}, score {score}, box {box}"
        free.remove(same[0])
