"""Feature pyramid (Lin et al. 2017) as RetinaNet uses it: C3, C4, C5 -> P3..P7, strides 8..128."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
from keras import layers

from keras_retinanet.config.model import LEVELS, FPNConfig
from keras_retinanet.modeling.activations import activation_layer
from keras_retinanet.modeling.backbones.resnet import pad_for_stride
from keras_retinanet.modeling.upsampling import UpsampleToMatch

GROUP_NORM_GROUPS = 32  # Wu and He 2018, section 4.


def norm_layer(norm: str, channels: int, name: str, epsilon: float | None = None) -> Any:
    """Return a normalization layer by its name in the configuration.

    Args:
        norm: "none", which gives the identity, "batch_norm" or "group_norm" (32 groups, or the
            greatest common divisor of 32 and the channels).
        channels: number of channels of its input.
        name: name of the layer.
        epsilon: added to the variance; None: 0.001 for batch norm (Keras), 1e-5 for group norm
            (PyTorch).

    Raises:
        ValueError: unknown `norm`.
    """
    if norm == "none":
        return layers.Identity(name=name)
    if norm == "batch_norm":
        return layers.BatchNormalization(epsilon=epsilon or 1e-3, name=name)
    if norm == "group_norm":
        groups = math.gcd(GROUP_NORM_GROUPS, channels)
        return layers.GroupNormalization(groups, epsilon=epsilon or 1e-5, name=name)
    raise ValueError(
        f"Expected norm 'none', 'batch_norm' or 'group_norm'. Received: norm={norm!r}."
    )


def _xavier() -> keras.initializers.Initializer:
    """Detectron's XavierFill: uniform with variance 1 / fan_in."""
    return keras.initializers.VarianceScaling(1.0, "fan_in", "uniform")


def _conv3x3(channels: int, name: str, *, separable: bool, **options: Any) -> Any:
    if not separable:
        return layers.Conv2D(channels, 3, kernel_initializer=_xavier(), name=name, **options)
    halves = {"depthwise_initializer": _xavier(), "pointwise_initializer": _xavier()}
    return layers.SeparableConv2D(channels, 3, name=name, **halves, **options)


def _top_down(
    features: list[Any], channels: int, normalize: Callable[[Any, str], Any]
) -> list[Any]:
    """Return the lateral sums of [C3, C4, C5], finest first, each through `normalize`."""
    merged: list[Any] = []
    for level, feature in reversed(list(zip(LEVELS, features, strict=False))):
        lateral = layers.Conv2D(
            channels,
            1,
            kernel_initializer=_xavier(),
            name=f"lateral_c{level}",
        )(feature)
        if merged:
            upsampled = UpsampleToMatch(name=f"upsample_p{level + 1}")([merged[0], lateral])
            lateral = layers.Add(name=f"merge_p{level}")([lateral, upsampled])
        merged.insert(0, normalize(lateral, f"norm_c{level}"))
    return merged


def build_fpn(
    input_channels: Sequence[int],
    *,
    channels: int = FPNConfig.channels,
    p6_from: str = FPNConfig.p6_from,
    relu_before_p7: bool = FPNConfig.relu_before_p7,
    activation: str = FPNConfig.activation,
    padding: str = FPNConfig.padding,
    norm: str = FPNConfig.norm,
    norm_at: str = FPNConfig.norm_at,
    norm_epsilon: float | None = FPNConfig.norm_epsilon,
    separable: bool = FPNConfig.separable,
) -> keras.Model:
    """Build the pyramid; the defaults are the RetinaNet paper's (section 4, footnote 2).

    Args:
        input_channels: numbers of channels of C3, C4 and C5.
        channels, p6_from, relu_before_p7, activation, padding, norm, norm_at, norm_epsilon,
            separable: as described in `FPNConfig`; each place has its own norm.

    Returns:
        Model: [C3, C4, C5], each (B,h,w,C) where each side is half the previous one,
        rounded up or down -> [P3, P4, P5, P6, P7], each (B,h,w,channels).
    """
    features = [
        keras.Input((None, None, count), name=f"c{level}")
        for level, count in zip(LEVELS, input_channels, strict=False)
    ]

    def normalize(x: Any, name: str, at: str) -> Any:
        is_here = norm != "none" and norm_at == at
        return norm_layer(norm, channels, name, norm_epsilon)(x) if is_here else x

    merged = _top_down(features, channels, partial(normalize, at="merged"))
    outputs = [
        _conv3x3(channels, f"output_p{level}", separable=separable, padding="same")(x)
        for level, x in zip(LEVELS, merged, strict=False)
    ]

    sources = {"c5": features[-1], "p5": outputs[-1]}
    if p6_from not in sources:
        raise ValueError(f"Expected p6_from 'c5' or 'p5'. Received: p6_from={p6_from!r}.")
    x = sources[p6_from]
    for level in (6, 7):
        if level == 7 and relu_before_p7:
            x = activation_layer(activation, f"{activation}_p6")(x)
        x, pad = pad_for_stride(x, 3, f"pad_p{level}", padding=padding)
        x = _conv3x3(channels, f"output_p{level}", separable=separable, strides=2, padding=pad)(x)
        x = normalize(x, f"norm_p{level}", at="merged")
        outputs.append(x)

    named = zip(LEVELS, outputs, strict=True)
    outputs = [normalize(x, f"norm_p{level}", at="outputs") for level, x in named]
    return keras.Model(features, outputs, name="fpn")
