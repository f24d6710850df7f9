"""The older keras-retinanet (github.com/fizyr/keras-retinanet, 0.5 and 1.0): its `.h5` files.

Training models, weights alone, and models converted for inference all have the same tensors.
Sources: keras_retinanet/models/{retinanet,resnet}.py, layers/{_misc,filter_detections}.py,
utils/{anchors,image}.py, and the backbone's package keras-resnet, models/_2d.py and blocks/_2d.py.

Padding: P6, P7 and the max-pool leave it to Keras ("same"), the backbone's 3x3 have stride 1. The
stem had three explicit zeros on all sides until keras-resnet 0.2, which leaves it to Keras too. The
tensors are the same; only the file's list of layers tells.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from keras_retinanet.checkpoints.families.coco_names import coco_classes
from keras_retinanet.checkpoints.families.family import Family, Preset, Shapes, class_count, has
from keras_retinanet.checkpoints.families.keras_json import refining
from keras_retinanet.config import model as configs
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.filling import Row

STRIDES = [8, 16, 32, 64, 128]
# By the number of blocks of stage 4, the one that differs.
TRUNKS = {6: "resnet50", 23: "resnet101", 36: "resnet152"}
EXPLICIT_STEM = "padding_conv1"
CLASSES = "the file has no class names: 80 outputs are taken for COCO's"
STEM = "no list of layers in the file: explicit padding at the stem, as in the published ones"
_BRANCHES = {"1": "branch2a", "2": "branch2b", "3": "branch2c"}


# ------------------------------------------------------------------------------------- names


def _short_name(path: str) -> str:
    """Return "layer/weight" of a data set.

    model_weights/bn_conv1/bn_conv1/gamma:0 -> bn_conv1/gamma; a subnet's
    classification_submodel/pyramid_classification_0/kernel:0 -> pyramid_classification_0/kernel.
    """
    *groups, weight = path.removeprefix("model_weights/").split("/")
    if not groups:
        return path
    # A second model in one session gets inner names such as bn_conv1_1: the group's is the layer's.
    layer = groups[-1] if groups[0].endswith("_submodel") else groups[0]
    return f"{layer}/{weight.removesuffix(':0')}"


def _adapt(checkpoint: Checkpoint) -> Checkpoint:
    names = {path: _short_name(path) for path in checkpoint.tensors}
    if len(set(names.values())) < len(names):
        return checkpoint  # another file's layout: the rows will list what they miss
    tensors = {names[path]: tensor for path, tensor in checkpoint.tensors.items()}
    return dataclasses.replace(checkpoint, tensors=tensors)


def _trunk_layer(layer: str, trunk: str) -> str:
    """Return keras-resnet's name of a layer of ours: stage2_block1_bn3 -> bn2a_branch2c."""
    if layer.startswith("stem_"):
        return {"stem_conv": "conv1", "stem_bn": "bn_conv1"}[layer]
    stage, block, kind = layer.split("_", 2)
    number, index = stage.removeprefix("stage"), int(block.removeprefix("block")) - 1
    # The long stages of the deep backbones count their blocks, for want of letters.
    counted = trunk != "resnet50" and number in "34" and index > 0
    place = number + (f"b{index}" if counted else chr(ord("a") + index))
    prefix = "bn" if "bn" in kind else "res"
    branch = "branch1" if kind.startswith("shortcut") else _BRANCHES[kind[-1]]
    return f"{prefix}{place}_{branch}"


def _rows(model: RetinaNet) -> Iterator[Row]:
    for layer in model.backbone.layers:
        for weight in layer.weights:
            theirs = _trunk_layer(layer.name, model.config.backbone.name)
            yield Row(f"{theirs}/{weight.name}", f"backbone/{layer.name}/{weight.name}")
    for level in (3, 4, 5):
        yield from _conv_rows(f"C{level}_reduced", f"fpn/lateral_c{level}")
    for level in configs.LEVELS:
        yield from _conv_rows(f"P{level}", f"fpn/output_p{level}")
    for theirs, ours in (("classification", "class_head"), ("regression", "box_head")):
        for i in range(model.config.head.depth):
            yield from _conv_rows(f"pyramid_{theirs}_{i}", f"{ours}/conv{i + 1}")
        yield from _conv_rows(f"pyramid_{theirs}", f"{ours}/final")


def _conv_rows(theirs: str, ours: str) -> Iterator[Row]:
    for weight in ("kernel", "bias"):
        yield Row(f"{theirs}/{weight}", f"{ours}/{weight}")


# ------------------------------------------------------------------------------------- graph


def _count(shapes: Shapes, pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in shapes)


def _preset(shapes: Shapes) -> Preset:
    blocks = _count(shapes, r"res4\w+_branch2a/kernel")
    if blocks not in TRUNKS:
        raise UserError(
            f"expected one of the backbones {', '.join(TRUNKS.values())}. Received: a "
            f"keras-retinanet with {blocks} blocks in stage 4. Its other backbones cannot be "
            "imported."
        )
    outputs = shapes["pyramid_regression/kernel"][-1]
    received = f"{outputs // 4} in pyramid_regression"
    count = class_count(shapes["pyramid_classification/kernel"][-1], outputs, received)
    names, ids = coco_classes(count)
    config = _config(TRUNKS[blocks], shapes)
    return Preset(config, names, ids, "Apache-2.0", f"{CLASSES}; {STEM}")


def _config(trunk: str, shapes: Shapes) -> configs.ModelConfig:
    return configs.ModelConfig(
        backbone=configs.BackboneConfig(
            name=trunk,
            stride_in_1x1=True,
            padding="symmetric",
            stem_padding="symmetric",
            pool_padding="same",
            bn_epsilon=1e-5,
        ),
        fpn=configs.FPNConfig(channels=shapes["P3/bias"][0], padding="same"),
        head=configs.HeadConfig(
            channels=shapes["pyramid_classification/kernel"][2],
            depth=_count(shapes, r"pyramid_classification_\d+/kernel"),
        ),
        box_coder=configs.BoxCoderConfig("corners", (0.2, 0.2, 0.2, 0.2)),
        # One image at a time, unpadded; OpenCV samples by the scale, not by the rounded size.
        preprocessing=configs.PreprocessingConfig(
            canvas="exact",
            multiple=1,
            exact_scale="both",
            color_order="bgr",
            mean=(103.939, 116.779, 123.68),
            std=(1.0, 1.0, 1.0),
        ),
        # ClipBoxes cuts at width - 1 and height - 1.
        detections=configs.DetectionConfig(pre_nms_top_k=None, max_detections=300, clip_margin=1.0),
    )


@refining("keras-retinanet")
def _refine(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    """Add what the file's configuration says: the stem's padding and, converted, the detections."""
    layers = list(_layers(json.loads(metadata.get("model_config", "null"))))
    names = {str(layer["config"].get("name")) for layer in layers}
    names |= set(metadata.get("layer_names", "").splitlines())
    if {"conv1", "bn_conv1"} & names:
        stem = "symmetric" if EXPLICIT_STEM in names else "same"
        preset = preset.having(assumptions=CLASSES, backbone={"stem_padding": stem})
    found = {kind: [layer["config"] for layer in layers if layer["class_name"] == kind]
             for kind in ("Anchors", "RegressBoxes", "FilterDetections")}  # fmt: skip
    if found["Anchors"]:
        preset = preset.having(anchors=_anchors(found["Anchors"]))
    for options in found["RegressBoxes"]:
        if any(options.get("mean", ())):
            raise UserError(
                "expected box deltas of mean 0. Received: "
                f"mean={options['mean']} in the file's RegressBoxes, which cannot be imported."
            )
        preset = preset.having(box_coder={"scales": tuple(options.get("std", (0.2,) * 4))})
    for options in found["FilterDetections"]:
        preset = preset.having(detections=_detections(options))
    return preset


def _layers(config: Any) -> Iterator[dict[str, Any]]:
    """Every description of a layer in a Keras configuration, in its order."""
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "class_name" in node and isinstance(node.get("config"), dict):
                yield node
            node = list(node.values())
        if isinstance(node, list):
            waiting += reversed(node)


def _anchors(levels: list[dict[str, Any]]) -> dict[str, Any]:
    levels = sorted(levels, key=lambda level: level["stride"])
    if [level["stride"] for level in levels] != STRIDES:
        raise UserError(
            f"expected anchors of strides {STRIDES}. Received: "
            f"{[level['stride'] for level in levels]}. Other pyramids cannot be imported."
        )
    return {
        "sizes": tuple(float(level["size"]) for level in levels),
        "ratios": tuple(levels[0]["ratios"]),
        "scales": tuple(levels[0]["scales"]),
    }


def _detections(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "score_threshold": options.get("score_threshold", 0.05),
        # An IoU is never above 1: nothing is suppressed.
        "nms_iou": options.get("nms_threshold", 0.5) if options.get("nms", True) else 1.0,
        "max_detections": options.get("max_detections", 300),
        "suppress": "per_class" if options.get("class_specific_filter", True) else "best_class",
    }


FAMILY = Family(
    "keras_retinanet",
    "keras-retinanet (github.com/fizyr/keras-retinanet)",
    has(r".*pyramid_regression.*", r".*C5_reduced.*"),
    _preset,
    _rows,
    adapt=_adapt,
    refine=_refine,
)
