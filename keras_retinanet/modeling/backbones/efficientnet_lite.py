"""EfficientNet-Lite backbones: image -> C3, C4, C5, from convolutions that any phone runs.

EfficientNet (Tan and Le 2019, table 1) without squeeze-and-excitation, with ReLU6, and with stem
and first and last stage kept at Lite0's size, as in TensorFlow's release
(tensorflow/tpu, models/official/efficientnet/lite).

Layer names, which weight importers map to (the release's seven stages are grouped by stride, so
that stage s ends in C_s, as in `resnet.py`):
  stem_{pad,conv,bn,relu}
  stage{s}_block{b}_expand_{conv,bn,relu}          absent in stage1_block1
  stage{s}_block{b}_depthwise_{pad,conv,bn,relu}   pad only at stride 2 with "symmetric"
  stage{s}_block{b}_project_{conv,bn}
  stage{s}_block{b}_add                            only where input and output agree
No convolution has a bias.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from keras_retinanet.modeling.backbones.resnet import HE_FAN_OUT, pad_for_stride

BN_MOMENTUM = 0.99  # As in the release.
STEM_CHANNELS = 32
# The same layers in PyTorch ports of the release.
_TORCH_PARTS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise_conv": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
_TORCH_STEM = {"stem_conv": "_conv_stem", "stem_bn": "_bn0"}
_TORCH_VARIABLES = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@dataclass(frozen=True)
class Stage:
    """A run of blocks with equal channels (Tan and Le 2019, table 1)."""

    level: int  # the stage of the layers' names: log2 of the output's stride
    blocks: int
    kernel_size: int
    strides: int  # of the first block
    expansion: int
    channels: int


STAGES = (
    Stage(level=1, blocks=1, kernel_size=3, strides=1, expansion=1, channels=16),
    Stage(level=2, blocks=2, kernel_size=3, strides=2, expansion=6, channels=24),
    Stage(level=3, blocks=2, kernel_size=5, strides=2, expansion=6, channels=40),
    Stage(level=4, blocks=3, kernel_size=3, strides=2, expansion=6, channels=80),
    Stage(level=4, blocks=3, kernel_size=5, strides=1, expansion=6, channels=112),
    Stage(level=5, blocks=4, kernel_size=5, strides=2, expansion=6, channels=192),
    Stage(level=5, blocks=1, kernel_size=3, strides=1, expansion=6, channels=320),
)


def _scaled_channels(channels: int, width: float) -> int:
    """Return channels times width, rounded to a multiple of 8, at most a tenth below."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _he_fan_out() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(**HE_FAN_OUT)


def _bn(x: Any, name: str, epsilon: float, *, zero_gamma: bool = False) -> Any:
    return layers.BatchNormalization(
        momentum=BN_MOMENTUM,
        epsilon=epsilon,
        # Goyal et al. 2017, section 5.1: a block with a shortcut starts as the identity.
        gamma_initializer="zeros" if zero_gamma else "ones",
        name=f"{name}_bn",
    )(x)


def _bn_relu6(x: Any, name: str, epsilon: float) -> Any:
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(_bn(x, name, epsilon))


def _pointwise(x: Any, channels: int, name: str) -> Any:
    return layers.Conv2D(
        channels, 1, use_bias=False, kernel_initializer=_he_fan_out(), name=f"{name}_conv"
    )(x)


def _depthwise(x: Any, kernel_size: int, *, strides: int, name: str, padding: str) -> Any:
    pad = "same"
    if strides == 2:
        x, pad = pad_for_stride(x, kernel_size, f"{name}_pad", padding=padding)
    return layers.DepthwiseConv2D(
        kernel_size,
        strides=strides,
        padding=pad,
        use_bias=False,
        depthwise_initializer=_he_fan_out(),
        name=f"{name}_conv",
    )(x)


def _block(
    x: Any, stage: Stage, *, channels: int, strides: int, name: str, padding: str, epsilon: float
) -> Any:
    """Mobile inverted bottleneck (Sandler et al. 2018): expand, depthwise, project."""
    shortcut = x
    if stage.expansion != 1:
        x = _pointwise(x, stage.expansion * x.shape[-1], f"{name}_expand")
        x = _bn_relu6(x, f"{name}_expand", epsilon)
    depthwise = f"{name}_depthwise"
    x = _depthwise(x, stage.kernel_size, strides=strides, name=depthwise, padding=padding)
    x = _bn_relu6(x, depthwise, epsilon)
    x = _pointwise(x, channels, f"{name}_project")
    residual = strides == 1 and shortcut.shape[-1] == channels
    x = _bn(x, f"{name}_project", epsilon, zero_gamma=residual)
    return layers.Add(name=f"{name}_add")([shortcut, x]) if residual else x


def efficientnet_lite(
    width: float,
    depth: float,
    *,
    stages: Sequence[Stage] = STAGES,
    name: str = "efficientnet_lite",
    padding: str = "same",
    bn_epsilon: float = 1e-3,
) -> keras.Model:
    """Build an EfficientNet-Lite backbone with random weights; the defaults are the release's.

    Args:
        width: multiplier of the channels.
        depth: multiplier of the blocks of a stage.
        stages: the network before both multipliers apply.
        name: of the model.
        padding, bn_epsilon: as described in `BackboneConfig`.

    Returns:
        Model: normalized image (B,H,W,3) float -> {"c3", "c4", "c5"}, feature maps (B,h,w,C) of
        strides 8, 16 and 32, sides rounded up; C = 40, 112, 320 for Lite0. They end in a linear
        projection, so values may be negative.
    """
    image = keras.Input((None, None, 3), name="image")
    x, pad = pad_for_stride(image, 3, "stem_pad", padding=padding)
    x = layers.Conv2D(
        STEM_CHANNELS,
        3,
        strides=2,
        padding=pad,
        use_bias=False,
        kernel_initializer=_he_fan_out(),
        name="stem_conv",
    )(x)
    x = _bn_relu6(x, "stem", bn_epsilon)

    features: dict[str, Any] = {}
    counts = dict.fromkeys(range(1, 6), 0)
    for stage in stages:
        channels = _scaled_channels(stage.channels, width)
        is_fixed = stage in (stages[0], stages[-1])
        for index in range(stage.blocks if is_fixed else math.ceil(depth * stage.blocks)):
            counts[stage.level] += 1
            x = _block(
                x,
                stage,
                channels=channels,
                strides=stage.strides if index == 0 else 1,
                name=f"stage{stage.level}_block{counts[stage.level]}",
                padding=padding,
                epsilon=bn_epsilon,
            )
        features[f"c{stage.level}"] = x
    return keras.Model(image, {level: features[level] for level in ("c3", "c4", "c5")}, name=name)


def torch_names(backbone: keras.Model) -> list[tuple[str, Any, bool]]:
    """Name each variable as PyTorch's ports of the release do; they number blocks throughout.

    One (tensor name, variable, whether it is a depthwise kernel) per variable of the backbone.
    """
    names = []
    blocks: list[list[str]] = []
    for layer in backbone.layers:
        *block, part = layer.name.split("_", 2)
        if len(block) == 2 and block not in blocks:
            blocks.append(block)
        for weight in layer.weights:
            tensor = _TORCH_VARIABLES[weight.name]
            if len(block) == 2:
                name = f"_blocks.{len(blocks) - 1}.{_TORCH_PARTS[part]}.{tensor}"
            else:
                name = f"{_TORCH_STEM[layer.name]}.{tensor}"
            names.append((name, weight, isinstance(layer, layers.DepthwiseConv2D)))
    return names
