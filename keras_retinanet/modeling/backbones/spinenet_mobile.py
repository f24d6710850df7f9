"""Mobile SpineNet backbones (Du et al. 2020, "Efficient Scale-Permuted Backbone"): image -> P3..P7.

A scale-permuted network of mobile inverted bottlenecks (Sandler et al. 2018) with
squeeze-and-excitation (Hu et al. 2018).

Layer names, which weight importers map to, beside those of `scale_permuted.py`:
  stem_{}
  stage{s}_block1_*                     the two blocks of the stem, s = 1, 2; layers as of others
  block{i}_from{j}_{}{k}                k = 1.. halve the size, 4 changes the channels, without an
                                        activation
  block{i}_from{j}_up                   upsampling
  block{i}_expand_{}, depthwise_{}      the inverted bottleneck
  block{i}_se_{mean,reduce,inner,expand,gate,scale}
  block{i}_project_{conv,bn}
  block{i}_{drop,add}                   drop only with stochastic depth; add only where the input
                                        has the output's shape
Only the two convolutions of squeeze-and-excitation, `reduce` and `expand`, have a bias.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
from keras import layers

from keras_retinanet.modeling.backbones.conv_norm import ConvNorm, stochastic_depth_layer
from keras_retinanet.modeling.backbones.scale_permuted import Block, enlarged, grow, pyramid

_mobile = partial(Block, kind="mobile")
# Of TensorFlow Model Garden, after the two blocks of the stem.
BLOCKS = (
    _mobile(1),
    _mobile(2),
    _mobile(2, (0, 1)),
    _mobile(2, (1, 2)),
    _mobile(4, (1, 2)),
    _mobile(3, (3, 4)),
    _mobile(4, (3, 5)),
    _mobile(6, (4, 6)),
    _mobile(4, (4, 6)),
    _mobile(5, (7, 8)),
    _mobile(7, (7, 9)),
    _mobile(5, (9, 10)),
    _mobile(5, (9, 11)),
    _mobile(4, (6, 11), is_output=True),
    _mobile(3, (5, 11), is_output=True),
    _mobile(5, (8, 13), joins=(12,), is_output=True),
    _mobile(7, (6, 15), is_output=True),
    _mobile(6, (13, 15), is_output=True),
)
STEM_BLOCKS = 2
STEM_CHANNELS = 8
CHANNELS = {1: 16, 2: 24, 3: 40, 4: 80, 5: 112, 6: 112, 7: 112}  # level -> of its blocks
EXPANSION = 6
SQUEEZE = 0.2


@dataclass(frozen=True)
class MobileSpec:
    """Differences between mobile SpineNets.

    Attributes:
        width: factor of the channels of stem and blocks.
        channels: of P3..P7.
    """

    width: float
    channels: int

    def width_of(self, block: Block) -> int:
        """Return the channels of the output of `block`."""
        return int(CHANNELS[block.level] * self.width)


MOBILE_SPINENETS = {
    "spinenet49xs_mobile": MobileSpec(width=0.6, channels=24),
    "spinenet49s_mobile": MobileSpec(width=0.65, channels=40),
    "spinenet49_mobile": MobileSpec(width=1.0, channels=48),
}


def _squeezed(x: Any, inner: int, name: str, *, smooth: bool) -> Any:
    """Squeeze-and-excitation: scale each channel by what all of them say of the whole map."""
    channels = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(x)
    for part, filters, activation, place in (
        ("reduce", inner, "silu" if smooth else "relu", "inner"),
        ("expand", channels, "sigmoid" if smooth else "hard_sigmoid", "gate"),
    ):
        conv = layers.Conv2D(
            filters,
            1,
            kernel_initializer=keras.initializers.VarianceScaling(),
            name=f"{name}_{part}",
        )
        gate = layers.Activation(activation, name=f"{name}_{place}")(conv(gate))
    return layers.Multiply(name=f"{name}_scale")([x, gate])


def _block(
    x: Any, block: Block, name: str, *, spec: MobileSpec, parts: ConvNorm, smooth: bool,
    drop_rate: float, strides: int,
) -> Any:  # fmt: skip
    shortcut, width, given = x, spec.width_of(block), x.shape[-1]
    x = parts.conv(x, EXPANSION * given, f"{name}_expand_{{}}")
    x = parts.depthwise(x, f"{name}_depthwise_{{}}", strides=strides)
    x = _squeezed(x, max(1, int(given * SQUEEZE)), f"{name}_se", smooth=smooth)
    x = parts.conv(x, width, f"{name}_project_{{}}", activate=False)
    if strides > 1 or given != width:
        return x
    x = stochastic_depth_layer(x, drop_rate, f"{name}_drop")
    return layers.Add(name=f"{name}_add")([shortcut, x])


def _resampled(
    x: Any, source: Block, target: Block, name: str, like: Any, *, spec: MobileSpec, parts: ConvNorm
) -> Any:
    """Bring the output of one block to the size and channels of another."""
    for number in range(1, target.level - source.level + 1):
        x = parts.depthwise(x, f"{name}_{{}}{number}", strides=2)
    if source.level > target.level:
        x = enlarged(x, like, name)
    return parts.conv(x, spec.width_of(target), f"{name}_{{}}4", activate=False)


def spinenet_mobile(
    spec: MobileSpec,
    *,
    name: str = "spinenet_mobile",
    padding: str = "same",
    bn_epsilon: float = 1e-3,
    activation: str = "hard_swish",
    smooth_gates: bool = False,
    stochastic_depth: float = 0.0,
) -> keras.Model:
    """Build a mobile SpineNet with random weights; the defaults are TensorFlow Model Garden's.

    Args:
        spec: size of the network.
        name: name of the model.
        padding, bn_epsilon, activation, smooth_gates, stochastic_depth: as described in
            `BackboneConfig`.

    Returns:
        Model: normalized image (B,H,W,3) float -> {"p3", ..., "p7"}, feature maps
        (B,h,w,spec.channels) of strides 8..128, sides rounded up.
    """
    parts = ConvNorm(padding, activation, bn_epsilon)
    options: dict[str, Any] = {"spec": spec, "parts": parts}

    def apply(x: Any, block: Block, name: str, share: float, strides: int = 1) -> Any:
        rate = share * stochastic_depth
        return _block(
            x, block, name, smooth=smooth_gates, drop_rate=rate, strides=strides, **options
        )

    image = keras.Input((None, None, 3), name="image")
    stem = int(STEM_CHANNELS * spec.width)
    x = parts.conv(image, stem, "stem_{}", kernel_size=3, strides=2)
    maps = []
    for stage, block in enumerate(BLOCKS[:STEM_BLOCKS], start=1):
        x = apply(x, block, f"stage{stage}_block1", share=0.0, strides=stage)
        maps.append(x)
    levels = grow(maps, BLOCKS, resample=partial(_resampled, **options), apply=apply, parts=parts)
    return keras.Model(image, pyramid(levels, spec.channels, parts), name=name)
