"""Scale-permuted networks (Du et al. 2020, section 3): blocks in any order of scales.

A classification network shrinks its maps block by block and an FPN enlarges them again. Here a
search chose the scale of each block and the two earlier blocks that feed it; the last five blocks
are the pyramid, and no FPN follows.

Layer names, with {} for conv, bn, act, and pad before a stride of 2 with "symmetric" padding:
  block{i}_from{j}_*     block j, resampled to the size and channels of block i
  block{i}_{sum,act}     what enters block i: the sum of its parents, activated
  block{i}_*             the block itself
  p{level}_{}            the outputs
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from keras import layers

from keras_retinanet.config.model import LEVELS
from keras_retinanet.modeling.backbones.conv_norm import ConvNorm
from keras_retinanet.modeling.upsampling import UpsampleToMatch


@dataclass(frozen=True)
class Block:
    """A block of a scale-permuted network.

    Attributes:
        level: of its output, which has stride 2 ** level.
        parents: the two blocks that are resampled to it, by their place; the stem's come first.
        kind: "bottleneck", "residual" (two 3x3 convolutions) or "mobile" (inverted bottleneck).
        joins: a block that no other reads; it is added as it is.
        is_output: whether it becomes the level of the pyramid.
    """

    level: int
    parents: tuple[int, ...] = ()
    kind: str = "bottleneck"
    joins: tuple[int, ...] = ()
    is_output: bool = False


# (map, its block, block to feed, name, map of that block's size if it is larger) -> resampled map
Resample = Callable[[Any, Block, Block, str, Any], Any]
# (map, block, name, its share of the full rate of stochastic depth) -> its output
Apply = Callable[[Any, Block, str, float], Any]


def grow(
    maps: Sequence[Any],
    blocks: Sequence[Block],
    *,
    resample: Resample,
    apply: Apply,
    parts: ConvNorm,
) -> dict[int, Any]:
    """Build all blocks after the stem.

    Args:
        maps: outputs of the stem's blocks, the first of `blocks`.
        blocks: of the whole network.
        resample, apply: build one connection and one block.
        parts: gives the activation.

    Returns:
        Level -> output of the block that becomes it.
    """
    maps, levels = list(maps), {}
    stem = len(maps)
    for place in range(stem, len(blocks)):
        block, name = blocks[place], f"block{place}"
        x = _sum_of_parents(maps, blocks, place, resample)
        x = parts.activated(x, f"{name}_act")
        share = (place - stem + 1) / (len(blocks) - stem)
        maps.append(apply(x, block, name, share))
        if block.is_output:
            levels[block.level] = maps[-1]
    return levels


def _sum_of_parents(
    maps: Sequence[Any], blocks: Sequence[Block], place: int, resample: Resample
) -> Any:
    block = blocks[place]
    # Finest first: a parent that must grow takes its size from one that has it already.
    order = sorted(block.parents, key=lambda parent: blocks[parent].level)
    resampled: list[Any] = []
    for parent in order:
        name = f"block{place}_from{parent}"
        like = resampled[0] if resampled else None
        resampled.append(resample(maps[parent], blocks[parent], block, name, like))
    joined = [maps[other] for other in block.joins]
    return layers.Add(name=f"block{place}_sum")([*resampled, *joined])


def enlarged(x: Any, like: Any, name: str) -> Any:
    """Return `x` in the height and width of `like` by nearest neighbor."""
    return UpsampleToMatch(name=f"{name}_up")([x, like])


def pyramid(levels: dict[int, Any], channels: int, parts: ConvNorm) -> dict[str, Any]:
    """Return {"p3", ..., "p7"} with equal channels, from the blocks that become the levels."""
    return {f"p{level}": parts.conv(levels[level], channels, f"p{level}_{{}}") for level in LEVELS}
