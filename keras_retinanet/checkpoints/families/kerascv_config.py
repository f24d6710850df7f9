"""What the JSON of a KerasCV model says, from a `.keras` or an older `.h5` of the whole model."""

import json
from collections.abc import Mapping
from typing import Any

from keras_retinanet.checkpoints.families.family import Preset
from keras_retinanet.checkpoints.families.keras_json import refining, thresholds
from keras_retinanet.errors import UserError

# KerasCV's guides and its training script for Pascal VOC.
USUAL_SIDE = 640
STRIDES = [8, 16, 32, 64, 128]


def pixels(*, rescaling: bool) -> dict[str, Any]:
    """Return mean and deviation of the input's channels, for a backbone that divides by 255."""
    return {"mean": (0.0,) * 3, "std": (255.0,) * 3 if rescaling else (1.0,) * 3}


@refining("KerasCV")
def refine(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    """Return `preset` with what the configuration of a whole model says, where there is one.

    Args:
        preset: from the tensors alone.
        metadata: of the checkpoint; it holds the text of the configuration.

    Raises:
        UserError: the backbone, the anchors or the decoder are none that we have.
    """
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
        preprocessing=pixels(rescaling=backbone["config"]["include_rescaling"]),
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
