"""Runs both releases of SpineNet's RetinaNet, and their other networks, and writes the goldens.

In the environment of model_garden_goldens.py:
  python tests/parity/spinenet_goldens.py model_garden spinenet 49S
  python tests/parity/spinenet_goldens.py model_garden spinenet_mobile 49
  python tests/parity/spinenet_goldens.py model_garden mobilenet MobileNetV2
  python tests/parity/spinenet_goldens.py tpu FOLDER spinenet_tpu_49s
  python tests/parity/spinenet_goldens.py tpu FOLDER spinenet_tpu_mobile_49
  python tests/parity/spinenet_goldens.py tpu FOLDER tpu_resnet50
  python tests/parity/spinenet_goldens.py tpu FOLDER tpu_nas_fpn
FOLDER is models/official/detection of github.com/tensorflow/tpu, whose code is run as it is, on
tensorflow.compat.v1. Each golden has the names, shapes and seeds of the peer's checkpoint, and what
the peer computes from the picture of torchvision_v1.npz.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"
sys.path.insert(0, str(GOLDENS))

from seeded_keras import seeded  # noqa: E402

NUM_CLASSES = 5
SIDE = 128
DEPTH = 2  # of the heads
# Of the class kernel.
GAINS = {"spinenet": 0.2, "spinenet_mobile": 3.5, "mobilenet": 0.3}
GAINS |= {"spinenet_tpu_mobile_49": 3.5}
GAINS |= {"spinenet_tpu_49s": 0.2, "tpu_resnet50": 0.2, "tpu_nas_fpn": 0.2}
# How the names of Model Garden's goldens begin.
GOLDEN_OF = {
    "spinenet": "spinenet_garden",
    "spinenet_mobile": "spinenet_mobile",
    "mobilenet": "model_garden",
}
# What official/vision/configs/experiments/retinanet/coco_mobilenetv2_tpu.yaml sets.
MOBILENET = {
    "backbone": {"type": "mobilenet"},
    "decoder": {
        "type": "fpn",
        "fpn": {"num_filters": 128, "use_separable_conv": True, "use_keras_layer": True},
    },
    "head": {"num_filters": 128, "use_separable_conv": True},
    "norm_activation": {"activation": "relu6"},
}


def picture():
    with np.load(GOLDENS / "torchvision_v1.npz") as stored:
        return stored["image"]


def flat(levels, last):
    """Return {level: (1, h, w, A * last)} as (R, last)."""
    return np.concatenate([np.asarray(levels[key]).reshape(-1, last) for key in sorted(levels)])


def write(name, gain, spec, **arrays):
    scores = arrays["detection_scores"]
    np.savez_compressed(
        GOLDENS / f"{name}.npz",
        spec=json.dumps(spec),
        class_gain=gain,
        side=SIDE,
        num_classes=NUM_CLASSES,
        **arrays,
    )
    print(f"{len(scores)} detections, scores {scores.min():.3f}..{scores.max():.3f}")


def model_garden(backbone, size):
    from official.core import exp_factory
    from official.vision.ops import preprocess_ops
    from official.vision.tasks.retinanet import RetinaNetTask
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    experiment = exp_factory.get_exp_config(
        "retinanet_spinenet_coco" if backbone == "spinenet" else "retinanet_mobile_coco"
    )
    config = experiment.task.model
    if backbone == "mobilenet":
        config.override(MOBILENET)
    else:
        mobile = backbone == "spinenet_mobile"
        config.head.num_filters = {"49S": 128, "49": 48 if mobile else 256}[size]
        config.norm_activation.activation = "hard_swish" if mobile else "swish"
    getattr(config.backbone, backbone).model_id = size
    config.num_classes, config.input_size = NUM_CLASSES, [SIDE, SIDE, 3]
    config.head.num_convs = DEPTH
    model = RetinaNetTask(experiment.task).build_model()
    image = preprocess_ops.normalize_image(tf.constant(picture()))
    image, info = preprocess_ops.resize_and_crop_image(
        image, [SIDE, SIDE], padded_size=[SIDE, SIDE]
    )
    model(image[None], info[None, 1, :], training=False)
    folder = Path(tempfile.mkdtemp())
    checkpoint = tf.train.Checkpoint(**model.checkpoint_items)
    reader = tf.train.load_checkpoint(checkpoint.write(str(folder / "untrained")))
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    )
    created = {v.checkpoint_key: v.full_name for node in graph.nodes for v in node.attributes}
    shapes = reader.get_variable_to_shape_map()
    spec = [[name, shapes[name], created[name]] for name in sorted(created) if shapes.get(name)]
    gain = GAINS[backbone]
    names = [*reader.get_variable_to_shape_map()]
    known = {name for name, *_ in spec}
    tensors = [
        tf.constant(seeded(name, tuple(shapes[name]), gain))
        if name in known
        else tf.constant(reader.get_tensor(name))
        for name in names
    ]
    prefix = str(folder / "seeded")
    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors
    )
    checkpoint.read(prefix).expect_partial().assert_existing_objects_matched()
    outputs = model(image[None], info[None, 1, :], training=False)
    count = int(outputs["num_detections"][0])
    boxes = outputs["detection_boxes"].numpy()[0, :count] / np.tile(info[2], 2)
    write(
        f"{GOLDEN_OF[backbone]}_{size.lower()}",
        gain,
        spec,
        class_logits=flat(outputs["cls_outputs"], NUM_CLASSES),
        box_deltas=flat(outputs["box_outputs"], 4),
        detection_boxes=boxes[:, [1, 0, 3, 2]].astype(np.float32),
        detection_scores=outputs["detection_scores"].numpy()[0, :count],
        detection_labels=outputs["detection_classes"].numpy()[0, :count],
    )


def tpu(folder, name):
    sys.path[:0] = [folder, str(Path(folder).parents[1])]
    import tensorflow.compat.v1 as tf1

    tf1.disable_v2_behavior()
    from dataloader import anchor
    from hyperparameters import params_dict
    from modeling.architecture import fpn, heads, nasfpn, nn_ops, resnet, spinenet, spinenet_mbconv
    from ops import postprocess_ops
    from utils import input_utils

    activation = "swish" if name.startswith("spinenet_") else "relu"
    norm = nn_ops.BatchNormActivation(momentum=0.997, epsilon=1e-4, activation=activation)
    mobile = name == "spinenet_tpu_mobile_49"
    options = {"activation": activation, "batch_norm_activation": norm}
    image = input_utils.normalize_image(tf1.constant(picture()))
    # In one piece with the resize of TensorFlow 2, which ours has: see docs/spinenet.md.
    height, width = picture().shape[:2]
    scale = min(SIDE / height, SIDE / width)
    sides = [round(height * scale), round(width * scale)]
    image = tf.image.resize(image, sides)
    image = tf1.image.pad_to_bounding_box(image, 0, 0, SIDE, SIDE)[None]
    image.set_shape((1, SIDE, SIDE, 3))
    if name == "spinenet_tpu_49s":
        features, strides = spinenet.spinenet_builder("49S", **options)(image), 3.0
    elif mobile:
        features = spinenet_mbconv.spinenet_mbconv_builder("49", **options)(image)
        strides = 3.0
    else:
        features, strides = resnet.Resnet(50, **options)(image), 4.0
        neck = {"fpn_feat_dims": 128, "batch_norm_activation": norm}
        if name == "tpu_resnet50":
            features = fpn.Fpn(**neck)(features)
        else:
            features = nasfpn.Nasfpn(num_repeats=2, **neck)(features)
    head = heads.RetinanetHead(
        3, 7, NUM_CLASSES, 9, DEPTH, 48 if mobile else 128, use_separable_conv=mobile, **options
    )
    classes, boxes = head(features)
    anchors = anchor.Anchor(3, 7, 3, [1.0, 2.0, 0.5], strides, (SIDE, SIDE)).multilevel_boxes
    options = params_dict.ParamsDict(
        {
            "apply_nms": True, "use_batched_nms": False, "nms_version": "v1",
            "max_total_size": 100, "nms_iou_threshold": 0.5, "score_threshold": 0.05,
            "pre_nms_num_boxes": 5000, "apply_sigmoid": True,
        }
    )  # fmt: skip
    detections = postprocess_ops.MultilevelDetectionGenerator(3, 7, options)(
        boxes, classes, anchors, tf1.constant([[[SIDE, SIDE]]], tf.float32)
    )
    gain = GAINS[name]
    variables = tf1.global_variables()
    spec = [[variable.op.name, variable.shape.as_list()] for variable in variables]
    prefix = str(Path(tempfile.mkdtemp()) / "seeded")
    saver = tf1.train.Saver(variables)
    with tf.Graph().as_default(), tf1.Session() as session:
        values = [seeded(name, tuple(shape), gain) for name, shape in spec]
        names = [name for name, _ in spec]
        session.run(
            tf.raw_ops.SaveV2(
                prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names),
                tensors=values,
            )
        )  # fmt: skip
    with tf1.Session() as session:
        saver.restore(session, prefix)
        classes, boxes, found = session.run([classes, boxes, detections])
    count = int(found["num_detections"][0])
    corners = found["detection_boxes"][0, :count] / np.tile([s / o for s, o in zip(
        sides, (height, width), strict=True)], 2)  # fmt: skip
    write(
        name,
        gain,
        spec,
        class_logits=flat(classes, NUM_CLASSES),
        box_deltas=flat(boxes, 4),
        detection_boxes=corners[:, [1, 0, 3, 2]].astype(np.float32),
        detection_scores=found["detection_scores"][0, :count],
        detection_labels=found["detection_classes"][0, :count],
    )


if __name__ == "__main__":
    {"model_garden": model_garden, "tpu": tpu}[sys.argv[1]](*sys.argv[2:])
