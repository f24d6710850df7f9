"""What the JSON of a KerasCV model says, from a `.keras` or an older `.h5` of the whole model.

Plain JSON: no object that it describes is built.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from keras_retinanet.checkpoints.families.family import Preset
from keras_retinanet.config.schema import AnchorConfig, DetectionConfig, PreprocessingConfig
from keras_retinanet.errors import UserError

# KerasCV's guides and its training script for Pascal VOC.
USUAL_SIDE = 640


def preprocessing(*, rescaling: bool) -> PreprocessingConfig:
    """Return KerasCV's usual input: resized into a square, black below or right of it.

    Args:
        rescaling: whether the backbone begins by dividing by 255.
    """
    return PreprocessingConfig(
        short_side=USUAL_SIDE,
        long_side=USUAL_SIDE,
        canvas="square",
        rounding="floor",
        mean=(0.0, 0.0, 0.0),
        std=(255.0,) * 3 if rescaling else (1.0,) * 3,
    )


def refine(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    """Return `preset` with what the configuration of a whole model says, where there is one.

    Args:
        preset: from the tensors alone.
        metadata: of the checkpoint; it holds the text of the configuration.

    Raises:
        UserError: the backbone, the anchors or the decoder are none that we have.
    """
    try:
        return _refined(preset, metadata)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"expected a configuration as KerasCV writes it. Received: one where {error!r} is "
            "wrong. Import the weights alone, a .weights.h5 file."
        ) from error


def _refined(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    text = metadata.get("config.json") or metadata.get("model_config") or "{}"
    stored = json.loads(text).get("config", {})
    if "label_encoder" not in stored:
        assumed = (
            f"{preset.metadata['assumptions']}; colors are divided by 255; anchors and detection "
            "thresholds are KerasCV's defaults"
        )
        return dataclasses.replace(preset, metadata={**preset.metadata, "assumptions": assumed})
    backbone = stored["backbone"]["config"]
    strides = backbone.get("stackwise_strides")
    if stored["backbone"]["class_name"] != "ResNetBackbone" or strides != [1, 2, 2, 2]:
        raise UserError(
            "expected KerasCV's ResNetBackbone with strides [1, 2, 2, 2]. Received: "
            f"{stored['backbone']['class_name']} with {strides}. Others cannot be imported."
        )
    config = dataclasses.replace(
        preset.config,
        anchors=_anchors(stored["label_encoder"]["config"]["anchor_generator"]["config"]),
        preprocessing=preprocessing(rescaling=backbone["include_rescaling"]),
        detections=_detections(stored["prediction_decoder"], preset.config.detections),
    )
    return dataclasses.replace(preset, config=config)


def _anchors(stored: dict[str, Any]) -> AnchorConfig:
    if stored["strides"] != [8, 16, 32, 64, 128]:
        raise UserError(
            f"expected anchors every 8, 16, 32, 64 and 128 pixels. Received: {stored['strides']}. "
            "Others cannot be imported."
        )
    return AnchorConfig(
        sizes=tuple(float(size) for size in stored["sizes"]),
        scales=tuple(float(scale) for scale in stored["scales"]),
        ratios=tuple(float(ratio) for ratio in stored["aspect_ratios"]),
        ratio_is="w/h",
        order="scale_outer",
        clip=stored["clip_boxes"],
    )


def _detections(decoder: dict[str, Any], detections: DetectionConfig) -> DetectionConfig:
    per_class = decoder["class_name"] == "MultiClassNonMaxSuppression"
    stored = decoder["config"]
    if not stored["from_logits"]:
        raise UserError(
            "expected a prediction decoder of logits. Received: from_logits=False. Give the model "
            "KerasCV's own decoder before it is saved."
        )
    return dataclasses.replace(
        detections,
        score_threshold=stored["confidence_threshold"],
        nms_iou=stored["iou_threshold"],
        max_detections=stored["max_detections"],
        suppress="per_class" if per_class else "best_class",
    )
