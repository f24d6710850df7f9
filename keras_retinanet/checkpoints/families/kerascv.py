"""KerasCV's RetinaNet on a ResNet (v1): `.weights.h5`, `.keras` and the older `.h5`.

Source: keras_cv 0.9.0, src/models/object_detection/retinanet/*.py,
src/models/backbones/resnet_v1/resnet_v1_backbone.py (stride in the first 1x1, epsilon 1.001e-5,
"same" padding everywhere), src/layers/object_detection/{anchor_generator,non_max_suppression}.py.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from keras_retinanet.checkpoints.families import family
from keras_retinanet.checkpoints.families import keras3_names as names
from keras_retinanet.checkpoints.families.coco_names import coco_classes
from keras_retinanet.checkpoints.families.keras_json import refining, thresholds
from keras_retinanet.config import model as configs
from keras_retinanet.data.sources.voc import VOC_CLASSES
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.filling import Row

FPN, TRUNK = "layers/feature_pyramid", "layers/functional"
# The two heads are of one class. A weight file counts them as the graph meets them, box first; the
# older .h5 as they were built, class first.
HEADS = {"box_head": "layers/prediction_head", "class_head": "layers/prediction_head_1"}
HEADS_AS_BUILT = (HEADS["class_head"], HEADS["box_head"])
FPN_AS_BUILT = (
    *("conv_c3_1x1", "conv_c4_1x1", "conv_c5_1x1", "conv_c3_3x3", "conv_c4_3x3", "conv_c5_3x3"),
    *("conv_c6_3x3", "conv_c7_3x3"),
)
# KerasCV's guides and its training script for Pascal VOC.
USUAL_SIDE = 640
STRIDES = [8, 16, 32, 64, 128]
# Keras 2's name for what Keras 3 calls "layers".
KERAS2_LAYERS = "_layer_checkpoint_dependencies/"
WEIGHT_INDEX = {
    **{name: index for index, name in enumerate(names.CONV_WEIGHTS)},
    **{name: index for index, name in enumerate(names.BN_WEIGHTS)},
}
# Names of the older .h5: of a convolution inside one of KerasCV's own layers, and of the backbone.
_OLDER = re.compile(
    r"(?:.*/)?(?P<part>feature_pyramid|prediction_head)(?P<number>_\d+)?/conv2d(?:_(?P<conv>\d+))?"
    r"/(?P<weight>\w+)(?::0)?"
)
_OLDER_TRUNK = re.compile(
    r"(?:.*/)?(?P<layer>conv1|v2_stack_(?P<stage>\d)_block(?P<block>\d+)_(?P<number>\d))"
    r"_(?P<kind>conv|bn)/(?P<weight>\w+)(?::0)?"
)


# ------------------------------------------------------------------------- one form of the names


def _adapt(checkpoint: Checkpoint) -> Checkpoint:
    """The older forms under the names of a Keras 3 weight file."""
    found = checkpoint.tensors
    if any(_OLDER_TRUNK.fullmatch(name) for name in found):
        renamed = _older_names(found)
    else:
        renamed = {name: name.replace(KERAS2_LAYERS, "layers/") for name in found}
    return dataclasses.replace(
        checkpoint, tensors={renamed.get(name, name): tensor for name, tensor in found.items()}
    )


def _older_names(tensors: dict[str, Any]) -> dict[str, str]:
    """Name in an older .h5 -> name in a weight file.

    The older form numbers layers over the whole session, so that only their order counts.
    """
    parts: dict[tuple[str, int], list[tuple[int, str, str]]] = {}
    for name in tensors:
        match = _OLDER.fullmatch(name)
        if match:
            key = match["part"], int((match["number"] or "_0")[1:])
            parts.setdefault(key, []).append((int(match["conv"] or 0), match["weight"], name))
    places = iter(HEADS_AS_BUILT)
    renamed = _older_trunk_names(tensors)
    for (part, _), members in sorted(parts.items()):
        order = sorted({conv for conv, _, _ in members})
        if part == "feature_pyramid":
            layers = [f"{FPN}/{layer}" for layer in FPN_AS_BUILT]
        else:
            place = next(places, "")
            layers = [
                f"{place}/conv_layers/{names.numbered('conv2d', index)}"
                for index in range(len(order) - 1)
            ] + [f"{place}/prediction_layer"]
        known = dict(zip(order, layers, strict=False))
        for conv, weight, name in members:
            if conv in known and weight in WEIGHT_INDEX:
                renamed[name] = f"{known[conv]}/vars/{WEIGHT_INDEX[weight]}"
    return renamed


def _older_trunk_names(tensors: dict[str, Any]) -> dict[str, str]:
    matches = [match for match in map(_OLDER_TRUNK.fullmatch, tensors) if match]
    trunk = names.trunk_name(
        tuple(tensors[match[0]].shape) for match in matches if match["kind"] == "conv"
    )
    layers = ["conv1"] + [
        f"v2_stack_{conv.stage}_block{conv.block + 1}_{conv.number}"
        for conv in names.trunk_convolutions(trunk)
    ]
    kinds = {"conv": "conv2d", "bn": "batch_normalization"}
    return {
        match[0]: f"{TRUNK}/layers/"
        f"{names.numbered(kinds[match['kind']], layers.index(match['layer']))}"
        f"/vars/{WEIGHT_INDEX[match['weight']]}"
        for match in matches
        if match["layer"] in layers and match["weight"] in WEIGHT_INDEX
    }


# --------------------------------------------------------------------------------- graph and rows


def _preset(shapes: family.Shapes) -> family.Preset:
    outputs = names.shape_in(shapes, f"{HEADS['class_head']}/prediction_layer/vars/0", "kerascv")
    boxes = names.shape_in(shapes, f"{HEADS['box_head']}/prediction_layer/vars/0", "kerascv")
    if boxes[-1] != 4 * family.ANCHORS_PER_CELL:
        raise UserError(
            f"expected {family.ANCHORS_PER_CELL} anchors a cell, as KerasCV's own heads have. "
            f"Received: {boxes[-1]} box outputs. Heads of other shapes cannot be imported."
        )
    tower = rf"{HEADS['class_head']}/conv_layers/conv2d(_\d+)?/vars/0"
    config = configs.ModelConfig(
        backbone=configs.BackboneConfig(
            name=names.trunk_name(names.below(shapes, rf"{TRUNK}/layers/conv2d(_\d+)?/vars/0")),
            stride_in_1x1=True,
            padding="same",
            pool_padding="same",
            bn_epsilon=1.001e-5,
        ),
        fpn=configs.FPNConfig(padding="same"),
        head=configs.HeadConfig(depth=len(names.below(shapes, tower))),
        anchors=configs.AnchorConfig(ratio_is="w/h", order="scale_outer", clip=True),
        box_coder=configs.BoxCoderConfig("yxhw", scales=(0.1, 0.1, 0.2, 0.2), log_clip="none"),
        preprocessing=configs.PreprocessingConfig(
            USUAL_SIDE, USUAL_SIDE, canvas="square", rounding="floor", **_pixels(rescaling=True)
        ),
        detections=configs.DetectionConfig(
            score_threshold=0.5, pre_nms_top_k=None, suppress="best_class", clip_to="none"
        ),
    )
    class_names, ids = _classes(outputs[-1] // family.ANCHORS_PER_CELL)
    assumptions = (
        f"images are resized to {USUAL_SIDE} px and padded, as KerasCV's guides do, for the model "
        "does not say"
    )
    return family.Preset(config, class_names, ids, "not stated in the file", assumptions)


def _classes(count: int) -> tuple[list[str], list[int]]:
    """Name and ids; 20 outputs are Pascal VOC's, as in the one model that KerasCV published."""
    if count == len(VOC_CLASSES):
        return list(VOC_CLASSES), list(range(1, count + 1))
    return coco_classes(count)


def _rows(model: RetinaNet) -> Iterator[Row]:
    yield from names.trunk_rows(model.config.backbone.name, TRUNK)
    for level in (3, 4, 5):
        yield from names.layer_rows(f"{FPN}/conv_c{level}_1x1", f"fpn/lateral_c{level}")
    for level in configs.LEVELS:
        yield from names.layer_rows(f"{FPN}/conv_c{level}_3x3", f"fpn/output_p{level}")
    for ours, theirs in HEADS.items():
        for index in range(model.config.head.depth):
            conv = f"{theirs}/conv_layers/{names.numbered('conv2d', index)}"
            yield from names.layer_rows(conv, f"{ours}/conv{index + 1}")
        yield from names.layer_rows(f"{theirs}/prediction_layer", f"{ours}/final")


# ----------------------------------------------------------------- the JSON beside the weights


def _pixels(*, rescaling: bool) -> dict[str, Any]:
    """Return the input's mean and deviation; `rescaling`: the backbone first divides by 255."""
    return {"mean": (0.0,) * 3, "std": (255.0,) * 3 if rescaling else (1.0,) * 3}


@refining("KerasCV")
def _refine(preset: family.Preset, metadata: Mapping[str, str]) -> family.Preset:
    """Return `preset` with what the configuration of a whole model says, where there is one."""
    text = metadata.get("config.json") or metadata.get("model_config") or "{}"
    stored = json.loads(text).get("config", {})
    if "label_encoder" not in stored:
        return preset.having(
            assumptions=f"{preset.assumptions}; colors are divided by 255; anchors and detection "
            "thresholds are KerasCV's defaults"
        )
    backbone, decoder = stored["backbone"], stored["prediction_decoder"]
    strides = backbone["config"].get("stackwise_strides")
    if backbone["class_name"] != "ResNetBackbone" or strides != [1, 2, 2, 2]:
        raise UserError(
            "expected KerasCV's ResNetBackbone with strides [1, 2, 2, 2]. Received: "
            f"{backbone['class_name']} with {strides}. Others cannot be imported."
        )
    per_class = decoder["class_name"] == "MultiClassNonMaxSuppression"
    return preset.having(
        anchors=_anchors(stored["label_encoder"]["config"]["anchor_generator"]["config"]),
        preprocessing=_pixels(rescaling=backbone["config"]["include_rescaling"]),
        detections={
            **thresholds(decoder["config"], "KerasCV"),
            "suppress": "per_class" if per_class else "best_class",
        },
    )


def _anchors(stored: dict[str, Any]) -> dict[str, Any]:
    if stored["strides"] != STRIDES:
        raise UserError(
            f"expected anchors every 8, 16, 32, 64 and 128 pixels. Received: {stored['strides']}. "
            "Others cannot be imported."
        )
    return {
        "sizes": tuple(float(size) for size in stored["sizes"]),
        "scales": tuple(float(scale) for scale in stored["scales"]),
        "ratios": tuple(float(ratio) for ratio in stored["aspect_ratios"]),
        "clip": stored["clip_boxes"],
    }


FAMILY = family.Family(
    "kerascv",
    "KerasCV (github.com/keras-team/keras-cv)",
    family.has(r".*(/conv_c3_1x1/vars/|v2_stack_0_block1_1_conv/).*", r".*prediction_head.*"),
    _preset,
    _rows,
    unused=r"(.*/)?(optimizer|top_level_model_weights).*",
    adapt=_adapt,
    refine=_refine,
)
