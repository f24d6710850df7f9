"""KerasHub's RetinaNetObjectDetector: `.weights.h5`, `.keras`, and preset folders.

Source: keras_hub 0.32, src/models/retinanet/*.py, src/models/resnet/resnet_backbone.py,
src/layers/modeling/{anchor_generator,non_max_supression}.py, and the script that made its presets
of torchvision's weights, tools/checkpoint_conversion/convert_retinanet_checkpoints.py. Its
batch norms have epsilon 1e-5, its P6 and P7 "same" padding and its group norms epsilon 1e-3: the
presets are near torchvision's models, and this family is what KerasHub computes with them.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from keras_retinanet.checkpoints.families import keras3_names as names
from keras_retinanet.checkpoints.families.coco_names import coco_classes
from keras_retinanet.checkpoints.families.family import Family, Preset, Shapes, has
from keras_retinanet.checkpoints.families.keras_json import refining, thresholds
from keras_retinanet.config import model as configs
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.filling import Row

ROOT = "layers/retina_net_backbone/layers"
FPN, TRUNK = f"{ROOT}/feature_pyramid", f"{ROOT}/functional"
# The two heads are of one class; the box head is built first.
HEADS = {"box_head": "layers/prediction_head", "class_head": "layers/prediction_head_1"}
DETECTOR = "RetinaNetObjectDetector"
# Of KerasHub's two presets.
PRESET_SIDE = 800
# The files of a preset folder -> where the one file of a whole model has the same.
PRESET_FILES = {
    "model.weights.h5/layers/": f"{ROOT}/",
    "task.weights.h5/layers/": "layers/",
}
# Built but never applied: with batch norm in the pyramid, P3..P5 have one that nothing calls.
UNUSED = rf"(.*/)?optimizer.*|{FPN}/output_batch_norms/batch_normalization(_1|_2)?/vars/\d"
GROUP_NORM_EPSILON = 1e-3  # Keras's own default
# Of KerasHub's own presets, which have COCO's 91 outputs.
PRESET_LICENSE = "Apache-2.0 (KerasHub; torchvision's weights, BSD-3-Clause, converted)"
NO_LICENSE = "not stated in the file"


def _adapt(checkpoint: Checkpoint) -> Checkpoint:
    """The two files of a preset folder under the names of a whole model's file."""
    tensors = {}
    for name, tensor in checkpoint.tensors.items():
        for file, place in PRESET_FILES.items():
            if name.startswith(file):
                name = place + name.removeprefix(file)
        tensors[name] = tensor
    return dataclasses.replace(checkpoint, tensors=tensors)


def _preset(shapes: Shapes) -> Preset:
    def shape(name: str) -> tuple[int, ...]:
        return names.shape_in(shapes, name, "kerashub")

    p6_inputs = shape(f"{FPN}/output_conv_layers/conv2d_3/vars/0")[2]
    c5_channels = shape(f"{FPN}/lateral_conv_layers/conv2d_2/vars/0")[2]
    per_cell = shape(f"{HEADS['box_head']}/prediction_layer/vars/0")[-1] // 4
    outputs = shape(f"{HEADS['class_head']}/prediction_layer/vars/0")
    tower = rf"{HEADS['class_head']}/conv_layers/conv2d(_\d+)?/vars/0"
    fpn_norm = f"{FPN}/lateral_batch_norm_layers/batch_normalization/vars/0" in shapes
    head_norm = f"{HEADS['class_head']}/group_norm_layers/group_normalization/vars/0" in shapes
    config = configs.ModelConfig(
        backbone=configs.BackboneConfig(
            name=names.trunk_name(names.below(shapes, rf"{TRUNK}/layers/conv2d(_\d+)?/vars/0")),
            stride_in_1x1=False,
        ),
        fpn=configs.FPNConfig(
            channels=shape(f"{FPN}/output_conv_layers/conv2d/vars/0")[-1],
            p6_from="c5" if p6_inputs == c5_channels else "p5",
            padding="same",
            norm="batch_norm" if fpn_norm else "none",
            norm_at="merged",
        ),
        head=configs.HeadConfig(
            channels=outputs[2],
            depth=len(names.below(shapes, tower)),
            norm="group_norm" if head_norm else "none",
            norm_epsilon=GROUP_NORM_EPSILON if head_norm else None,
        ),
        anchors=configs.AnchorConfig(offset=0.0, rounded=True, stride="true"),
        box_coder=configs.BoxCoderConfig(log_clip="none"),
        preprocessing=configs.PreprocessingConfig(
            short_side=PRESET_SIDE, long_side=PRESET_SIDE, canvas="square", pad_first=True
        ),
        detections=configs.DetectionConfig(
            score_threshold=0.5, pre_nms_top_k=None, suppress="best_class", clip_to="none"
        ),
    )
    class_names, ids = coco_classes(outputs[-1] // per_cell)
    return Preset(config, class_names, ids, PRESET_LICENSE if len(ids) == 91 else NO_LICENSE)


def _rows(model: RetinaNet) -> Iterator[Row]:
    yield from names.trunk_rows(model.config.backbone.name, TRUNK)
    fpn = model.config.fpn
    for index, level in enumerate(configs.LEVELS):
        conv = names.numbered("conv2d", index)
        norm = names.numbered("batch_normalization", index)
        merged = level <= 5
        yield from names.layer_rows(f"{FPN}/output_conv_layers/{conv}", f"fpn/output_p{level}")
        if merged:
            lateral = f"{FPN}/lateral_conv_layers/{conv}"
            yield from names.layer_rows(lateral, f"fpn/lateral_c{level}")
        if fpn.norm != "none":
            container = "lateral_batch_norm_layers" if merged else "output_batch_norms"
            ours = f"fpn/norm_{'c' if merged else 'p'}{level}"
            yield from names.layer_rows(f"{FPN}/{container}/{norm}", ours, names.BN_WEIGHTS)
    for ours, theirs in HEADS.items():
        yield from _head_rows(model, ours, theirs)


def _head_rows(model: RetinaNet, ours: str, theirs: str) -> Iterator[Row]:
    normed = model.config.head.norm != "none"
    for index in range(model.config.head.depth):
        conv = f"{theirs}/conv_layers/{names.numbered('conv2d', index)}"
        weights = names.CONV_WEIGHTS[:1] if normed else names.CONV_WEIGHTS
        yield from names.layer_rows(conv, f"{ours}/conv{index + 1}", weights)
        if normed:
            norm = f"{theirs}/group_norm_layers/{names.numbered('group_normalization', index)}"
            yield from names.layer_rows(norm, f"{ours}/norm{index + 1}", names.GROUP_NORM_WEIGHTS)
    yield from names.layer_rows(f"{theirs}/prediction_layer", f"{ours}/final")


# ----------------------------------------------------------------- the JSON beside the weights


@refining("KerasHub")
def _refine(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    """Return `preset` with what the configuration beside the weights says, if there is one."""
    task = json.loads(metadata.get("task.json") or metadata.get("config.json") or "{}")
    stored = task.get("config", {}) if task.get("class_name") == DETECTOR else {}
    if stored:
        _check_graph(stored["backbone"]["config"])
        preset = preset.having(
            anchors=_anchors(stored["anchor_generator"]["config"]),
            detections=thresholds(stored["prediction_decoder"]["config"], "KerasHub"),
        )
    converter = _converter(metadata, stored)
    assumptions = [f"images are prepared as KerasHub's presets do ({PRESET_SIDE} px)"]
    if converter:
        pixels, assumptions = _preprocessing(converter)
        preset = preset.having(preprocessing=pixels)
    if not stored:
        assumptions.append("anchors and detection thresholds are KerasHub's defaults")
    return preset.having(assumptions="; ".join(assumptions))


def _check_graph(backbone: dict[str, Any]) -> None:
    encoder = backbone["image_encoder"]["config"]
    expected = {
        "min_level": (backbone, 3),
        "max_level": (backbone, 7),
        "input_conv_kernel_sizes": (encoder, [7]),
        "stackwise_num_strides": (encoder, [1, 2, 2, 2]),
        "use_pre_activation": (encoder, False),
    }
    other = [
        f"{key}={place.get(key)}"
        for key, (place, value) in expected.items()
        if place.get(key) != value
    ]
    if other:
        raise UserError(
            "expected KerasHub's RetinaNet on a ResNet (v1), levels 3 to 7. Received: "
            f"{', '.join(other)}. Other graphs cannot be imported."
        )


def _anchors(stored: dict[str, Any]) -> dict[str, Any]:
    count = stored["num_scales"]
    return {
        "sizes": tuple(float(stored["anchor_size"]) * 2**level for level in configs.LEVELS),
        "scales": tuple(2.0 ** (scale / count) for scale in range(count)),
        "ratios": tuple(float(ratio) for ratio in stored["aspect_ratios"]),
    }


def _converter(metadata: Mapping[str, str], stored: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the image converter, wherever it is kept."""
    if "image_converter.json" in metadata:
        return json.loads(metadata["image_converter.json"])["config"]
    preprocessor = stored.get("preprocessor") or json.loads(metadata.get("preprocessor.json", "{}"))
    return ((preprocessor.get("config") or {}).get("image_converter") or {}).get("config") or {}


def _preprocessing(converter: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return fields of a `PreprocessingConfig`, and what they take for granted."""
    assumptions = []
    size = converter.get("image_size") or [PRESET_SIDE, PRESET_SIDE]
    if not converter.get("image_size"):
        assumptions.append(f"the model takes any size; images are resized to {PRESET_SIDE} px")
    if size[0] != size[1]:
        raise UserError(
            f"expected a square image_size. Received: {size}. Set the converter's image_size to "
            "a square before the model is saved."
        )
    if not converter.get("pad_to_aspect_ratio"):
        assumptions.append("images are padded to a square, where the peer cuts or stretches them")
    if converter.get("interpolation", "bilinear") != "bilinear":
        assumptions.append(f"resized bilinearly, the peer: {converter['interpolation']}")
    # scale * x + offset is (x - mean) / std.
    scale, offset = (
        _per_channel(converter.get(key), default) for key, default in (("scale", 1), ("offset", 0))
    )
    pixels = {
        "short_side": size[0],
        "long_side": size[0],
        "antialias": bool(converter.get("antialias")),
        "mean": tuple(-o / s for s, o in zip(scale, offset, strict=True)),
        "std": tuple(1 / s for s in scale),
    }
    return pixels, assumptions


def _per_channel(value: Any, default: float) -> list[float]:
    if isinstance(value, list):
        return [float(number) for number in value]
    return [float(default if value is None else value)] * 3


FAMILY = Family(
    "kerashub",
    "KerasHub (github.com/keras-team/keras-hub)",
    has(r".*layers/feature_pyramid/lateral_conv_layers/conv2d/vars/0"),
    _preset,
    _rows,
    unused=UNUSED,
    adapt=_adapt,
    refine=_refine,
)
