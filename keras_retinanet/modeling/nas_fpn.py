"""NAS-FPN (Ghiasi et al. 2019): C3, C4, C5 -> P3..P7 through a pyramid that a search found.

Seven merging cells make new maps of the five levels from two maps each, and the pyramid is repeated
on its own outputs. Every choice that the paper leaves open is TensorFlow Model Garden's.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import keras
from keras import layers

from keras_retinanet.config.model import LEVELS, FPNConfig
from keras_retinanet.modeling.activations import activation_layer
from keras_retinanet.modeling.fpn import norm_layer
from keras_retinanet.modeling.upsampling import UpsampleToMatch


class Cell(NamedTuple):
    """A merging cell: two earlier maps, brought to its level, become one.

    Attributes:
        merge: "sum"; or "attention", where the map of the coarser level is added to the other one
            times the sigmoid of the coarser one's maximum in each channel (global pooling).
        inputs: numbers of the maps: 0 to 4 are P3 to P7 that the pyramid began with, 5 is the
            first cell's, and so on.
        beside: number of a map of the cell's own level that no other cell takes, which is added.
    """

    level: int
    merge: Literal["sum", "attention"]
    inputs: tuple[int, int]
    beside: int | None = None


# What the search found. The last five cells are the outputs.
CELLS = (
    Cell(4, "attention", (1, 3)),
    Cell(4, "sum", (1, 5)),
    Cell(3, "sum", (0, 6)),
    Cell(4, "sum", (6, 7)),
    Cell(5, "attention", (7, 8), beside=2),
    Cell(7, "attention", (6, 9), beside=4),
    Cell(6, "attention", (9, 10)),
)


def build_nas_fpn(
    input_channels: Sequence[int],
    *,
    channels: int = FPNConfig.channels,
    repeats: int = FPNConfig.repeats,
    activation: str = FPNConfig.activation,
    norm: str = FPNConfig.norm,
    norm_epsilon: float | None = FPNConfig.norm_epsilon,
    separable: bool = FPNConfig.separable,
) -> keras.Model:
    """Build the pyramid.

    Args:
        input_channels: numbers of channels of C3, C4 and C5.
        channels, repeats, activation, norm, norm_epsilon, separable: as described in `FPNConfig`.

    Returns:
        Model: [C3, C4, C5], each (B,h,w,C) where each side is half the previous one,
        rounded up or down -> [P3, P4, P5, P6, P7], each (B,h,w,channels).
    """
    convolve = partial(
        _convolve, channels=channels, norm=norm, epsilon=norm_epsilon, separable=separable
    )
    features = [
        keras.Input((None, None, count), name=f"c{level}")
        for level, count in zip(LEVELS, input_channels, strict=False)
    ]
    maps = []
    for level, x in zip(LEVELS, features, strict=False):
        fits = x.shape[-1] == channels
        maps.append(x if fits else convolve(x, 1, f"lateral_c{level}"))
    for level in (6, 7):
        maps.append(layers.MaxPooling2D(2, padding="same", name=f"pool_p{level}")(maps[-1]))
    for repeat in range(1, repeats + 1):
        maps = _pyramid(maps, f"repeat{repeat}", activation=activation, convolve=convolve)
    return keras.Model(features, maps, name="fpn")


def _pyramid(maps: list[Any], name: str, *, activation: str, convolve: Any) -> list[Any]:
    """Return the next P3 to P7 of these."""
    inputs, maps, levels = maps, list(maps), list(LEVELS)
    for number, cell in enumerate(CELLS, start=1):
        prefix = f"{name}_cell{number}"
        like = inputs[cell.level - LEVELS[0]]
        pair = [
            _resample(maps[place], levels[place], cell.level, like, f"{prefix}_input{which}")
            for which, place in enumerate(cell.inputs, start=1)
        ]
        if cell.merge == "attention":
            first, second = (levels[place] for place in cell.inputs)
            coarse, fine = pair if first >= second else reversed(pair)
            peak = layers.GlobalMaxPooling2D(keepdims=True, name=f"{prefix}_peak")(coarse)
            gate = layers.Activation("sigmoid", name=f"{prefix}_gate")(peak)  # (B,1,1,channels)
            pair = [coarse, layers.Multiply(name=f"{prefix}_attention")([fine, gate])]
        if cell.beside is not None:
            pair.append(maps[cell.beside])
        x = layers.Add(name=f"{prefix}_merge")(pair)
        x = activation_layer(activation, f"{prefix}_{activation}")(x)
        maps.append(convolve(x, 3, f"{prefix}_conv"))
        levels.append(cell.level)
    outputs = dict(zip(levels[-len(LEVELS) :], maps[-len(LEVELS) :], strict=True))
    return [outputs[level] for level in LEVELS]


def _resample(x: Any, level: int, target: int, like: Any, name: str) -> Any:
    """Return a map of `level` at the size of `like`, which is of the level `target`."""
    if level < target:
        return layers.MaxPooling2D(2 ** (target - level), padding="same", name=f"{name}_pool")(x)
    if level > target:
        return UpsampleToMatch(name=f"{name}_upsample")([x, like])
    return x


def _convolve(
    x: Any,
    size: int,
    name: str,
    *,
    channels: int,
    norm: str,
    epsilon: float | None,
    separable: bool,
) -> Any:
    """Return a convolution of stride 1 with its norm."""
    kind = layers.SeparableConv2D if separable else layers.Conv2D
    names = ("depthwise", "pointwise") if separable else ("kernel",)
    initializers = {f"{part}_initializer": _he_fan_out() for part in names}
    x = kind(channels, size, padding="same", name=name, **initializers)(x)
    return x if norm == "none" else norm_layer(norm, channels, f"{name}_norm", epsilon)(x)


def _he_fan_out() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
