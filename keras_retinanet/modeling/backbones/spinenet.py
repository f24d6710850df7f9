"""SpineNet backbones (Du et al. 2020): image -> P3..P7, a scale-permuted network of ResNet blocks.

Layer names, which weight importers map to, beside those of `scale_permuted.py`:
  stem_{}, stem_pool
  stage2_block{b}_*               the two blocks of the stem, b = 1, 2; layers as of other blocks
  block{i}_from{j}_{}{k}          k = 1 reduces channels, 2 halves the size (only where it shrinks),
                                  3 restores channels, without an activation
  block{i}_from{j}_pool{n}, _up   max pooling; upsampling
  block{i}_{r}_{}{k}              repeat r from 1; k = 1..2 in a residual block, 1..3 in a
                                  bottleneck
  block{i}_{r}_shortcut_{}        only where the channels change
  block{i}_{r}_{drop,add,out}     drop only with stochastic depth
No convolution has a bias.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
from keras import layers

from keras_retinanet.modeling.backbones.conv_norm import ConvNorm, stochastic_depth_layer
from keras_retinanet.modeling.backbones.scale_permuted import Block, enlarged, grow, pyramid

# Du et al. 2020, section 4: the network that the search found, after the two blocks of the stem.
BLOCKS = (
    Block(2),
    Block(2),
    Block(2, (0, 1)),
    Block(4, (0, 1), "residual"),
    Block(3, (2, 3)),
    Block(4, (2, 4)),
    Block(6, (3, 5), "residual"),
    Block(4, (3, 5)),
    Block(5, (6, 7), "residual"),
    Block(7, (6, 8), "residual"),
    Block(5, (8, 9)),
    Block(5, (8, 10)),
    Block(4, (5, 10), is_output=True),
    Block(3, (4, 10), is_output=True),
    Block(5, (7, 12), joins=(11,), is_output=True),
    Block(7, (5, 14), is_output=True),
    Block(6, (12, 14), is_output=True),
)
STEM_BLOCKS = 2
STEM_CHANNELS = 64
# Level -> channels of its blocks before `SpineNetSpec.width`; what leaves a bottleneck has 4 times
# as many.
CHANNELS = {2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256}
EXPANSION = {"bottleneck": 4, "residual": 1}


@dataclass(frozen=True)
class SpineNetSpec:
    """Differences between SpineNets (Du et al. 2020, section 3.3).

    Attributes:
        width: factor of the channels of all blocks.
        repeats: number of blocks in each place.
        alpha: factor of the channels in which blocks are resampled.
        channels: of P3..P7.
    """

    width: float
    repeats: int
    alpha: float
    channels: int

    def width_of(self, block: Block) -> int:
        """Return the channels of the 3x3 convolutions of `block`."""
        return int(CHANNELS[block.level] * self.width)


SPINENETS = {
    "spinenet49s": SpineNetSpec(width=0.65, repeats=1, alpha=0.5, channels=128),
    "spinenet49": SpineNetSpec(width=1.0, repeats=1, alpha=0.5, channels=256),
    "spinenet96": SpineNetSpec(width=1.0, repeats=2, alpha=0.5, channels=256),
    "spinenet143": SpineNetSpec(width=1.0, repeats=3, alpha=1.0, channels=256),
    "spinenet190": SpineNetSpec(width=1.3, repeats=4, alpha=1.0, channels=512),
}


def _branch(x: Any, kind: str, width: int, name: str, parts: ConvNorm) -> Any:
    if kind == "residual":
        x = parts.conv(x, width, f"{name}_{{}}1", kernel_size=3)
        return parts.conv(x, width, f"{name}_{{}}2", kernel_size=3, activate=False)
    x = parts.conv(x, width, f"{name}_{{}}1")
    x = parts.conv(x, width, f"{name}_{{}}2", kernel_size=3)
    return parts.conv(x, EXPANSION[kind] * width, f"{name}_{{}}3", activate=False)


def _repeated(
    x: Any, block: Block, name: str, share: float, *, spec: SpineNetSpec, parts: ConvNorm,
    drop_rate: float,
) -> Any:  # fmt: skip
    """Apply the repeats of a block; its size does not change."""
    for repeat in range(1, spec.repeats + 1):
        place = f"{name}_{repeat}"
        branch = _branch(x, block.kind, spec.width_of(block), place, parts)
        branch = stochastic_depth_layer(branch, share * drop_rate, f"{place}_drop")
        if x.shape[-1] != branch.shape[-1]:
            x = parts.conv(x, branch.shape[-1], f"{place}_shortcut_{{}}", activate=False)
        x = layers.Add(name=f"{place}_add")([branch, x])
        x = parts.activated(x, f"{place}_out")
    return x


def _pooled(x: Any, halvings: int, name: str, *, single_pool: bool) -> Any:
    """Halve a map `halvings` times by max pooling."""
    if single_pool and halvings == 2:
        return layers.MaxPooling2D(5, 4, padding="same", name=f"{name}_pool1")(x)
    for number in range(1, halvings + 1):
        x = layers.MaxPooling2D(3, 2, padding="same", name=f"{name}_pool{number}")(x)
    return x


def _resampled(
    x: Any, source: Block, target: Block, name: str, like: Any, *, spec: SpineNetSpec,
    parts: ConvNorm, single_pool: bool,
) -> Any:  # fmt: skip
    """Bring the output of one block to the size and channels of another (section 3.1)."""
    reduced = int(spec.width_of(source) * spec.alpha)
    x = parts.conv(x, reduced, f"{name}_{{}}1")
    if source.level < target.level:
        x = parts.conv(x, reduced, f"{name}_{{}}2", kernel_size=3, strides=2)
        x = _pooled(x, target.level - source.level - 1, name, single_pool=single_pool)
    elif source.level > target.level:
        x = enlarged(x, like, name)
    channels = EXPANSION[target.kind] * spec.width_of(target)
    return parts.conv(x, channels, f"{name}_{{}}3", activate=False)


def spinenet(
    spec: SpineNetSpec,
    *,
    name: str = "spinenet",
    padding: str = "same",
    bn_epsilon: float = 1e-3,
    activation: str = "swish",
    single_pool: bool = False,
    stochastic_depth: float = 0.0,
) -> keras.Model:
    """Build a SpineNet with random weights; the defaults are TensorFlow Model Garden's.

    Args:
        spec: size of the network.
        name: name of the model.
        padding, bn_epsilon, activation, single_pool, stochastic_depth: as described in
            `BackboneConfig`.

    Returns:
        Model: normalized image (B,H,W,3) float -> {"p3", ..., "p7"}, feature maps
        (B,h,w,spec.channels) of strides 8..128, sides rounded up.
    """
    parts = ConvNorm(padding, activation, bn_epsilon)
    apply = partial(_repeated, spec=spec, parts=parts, drop_rate=stochastic_depth)
    image = keras.Input((None, None, 3), name="image")
    x = parts.conv(image, STEM_CHANNELS, "stem_{}", kernel_size=7, strides=2)
    x = layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    maps = []
    for number, block in enumerate(BLOCKS[:STEM_BLOCKS], start=1):
        x = apply(x, block, f"stage2_block{number}", 0.0)
        maps.append(x)
    resample = partial(_resampled, spec=spec, parts=parts, single_pool=single_pool)
    levels = grow(maps, BLOCKS, resample=resample, apply=apply, parts=parts)
    return keras.Model(image, pyramid(levels, spec.channels, parts), name=name)
