"""What stands between backbone and heads, by its name in the configuration."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from keras_retinanet.config.model import LEVELS, FPNConfig
from keras_retinanet.modeling.fpn import build_fpn
from keras_retinanet.modeling.nas_fpn import build_nas_fpn

# Fields of `FPNConfig` that NAS-FPN has no place for.
FPN_ALONE = ("p6_from", "relu_before_p7", "padding", "norm_at")


def build_neck(
    input_channels: Mapping[str, int],
    *,
    name: str = FPNConfig.name,
    repeats: int = FPNConfig.repeats,
    **options: Any,
) -> keras.Model:
    """Build the neck of a backbone.

    Args:
        input_channels: name of a feature map of the backbone -> its channels.
        name: "fpn" or "nas_fpn".
        repeats: of "nas_fpn".
        options: as of `build_fpn`.

    Returns:
        Model: the maps, by their names in order -> [P3, P4, P5, P6, P7]. A pyramid for C3, C4, C5;
        for a backbone that computes the levels itself, the maps as they are.

    Raises:
        ValueError: unknown `name`.
    """
    names = sorted(input_channels)
    if names[0] == f"p{LEVELS[0]}":
        maps = [keras.Input((None, None, input_channels[n]), name=n) for n in names]
        outputs = [layers.Identity(name=f"output_{x.name}")(x) for x in maps]
        return keras.Model(maps, outputs, name="fpn")
    channels = [input_channels[n] for n in names]
    if name == "fpn":
        return build_fpn(channels, **options)
    if name == "nas_fpn":
        own = {key: value for key, value in options.items() if key not in FPN_ALONE}
        return build_nas_fpn(channels, repeats=repeats, **own)
    raise ValueError(f"Expected name 'fpn' or 'nas_fpn'. Received: name={name!r}.")
