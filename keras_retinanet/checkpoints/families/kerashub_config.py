"""What the JSON beside KerasHub's weights says: of a `.keras` file or of a preset folder."""

import json
from collections.abc import Mapping
from typing import Any

from keras_retinanet.checkpoints.families.family import Preset
from keras_retinanet.checkpoints.families.keras_json import refining, thresholds
from keras_retinanet.config.model import LEVELS
from keras_retinanet.errors import UserError

DETECTOR = "RetinaNetObjectDetector"
# Of KerasHub's two presets.
PRESET_SIDE = 800


@refining("KerasHub")
def refine(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    """Return `preset` with what the configuration beside the weights says, where there is one.

    Args:
        preset: from the tensors alone.
        metadata: of the checkpoint; it holds the texts of the JSON files.

    Raises:
        UserError: the graph, the anchors or the input size are none that we have.
    """
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
        "sizes": tuple(float(stored["anchor_size"]) * 2**level for level in LEVELS),
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
