"""How Keras 3 names things in a weight file, for ResNets built by KerasHub and KerasCV.

Keras saves a layer's weights as `vars/0`, `vars/1`, ... below the path of the layer, and calls the
layers of one container by their class: the first convolution `conv2d`, the next `conv2d_1`. A
functional model counts its layers from the input on. The shortcut of a block has the depth of
the branch's last convolution and comes before it, as the sum names it first.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from keras_retinanet.checkpoints.families.family import Shapes
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones.resnet import RESNETS
from keras_retinanet.weight_files.filling import Row

BN_WEIGHTS = ("gamma", "beta", "moving_mean", "moving_variance")
GROUP_NORM_WEIGHTS = ("gamma", "beta")
CONV_WEIGHTS = ("kernel", "bias")
STAGE_WIDTHS = (64, 128, 256, 512)
# (blocks of each stage, whether they are bottlenecks) -> name. Neither package has a ResNeXt.
TRUNKS: dict[tuple[tuple[int, ...], bool], str] = {
    (s.blocks, s.bottleneck): name for name, s in RESNETS.items() if s.groups == 1
}


class TrunkConv(NamedTuple):
    """A convolution of a block: stage 0..3, block from 0, number from 1, 0 for the shortcut."""

    stage: int
    block: int
    number: int


def numbered(layer: str, index: int) -> str:
    """Return Keras's name of the layer `index` of its class: conv2d, conv2d_1, ..."""
    return f"{layer}_{index}" if index else layer


def trunk_name(kernels: Iterable[tuple[int, ...]]) -> str:
    """Return the backbone of `BACKBONES` whose convolutions have these kernels, in any order.

    Args:
        kernels: shapes (height, width, in, out), the stem's among them.

    Raises:
        UserError: it is no ResNet of ours.
    """
    kernels = list(kernels)
    bottleneck = max((kernel[-1] for kernel in kernels), default=0) == 4 * STAGE_WIDTHS[-1]
    found = tuple(
        sum(kernel[:2] == (3, 3) and kernel[3] == width for kernel in kernels)
        // (1 if bottleneck else 2)
        for width in STAGE_WIDTHS
    )
    if (found, bottleneck) not in TRUNKS:
        raise UserError(
            f"expected a backbone among {', '.join(TRUNKS.values())}. Received: {found} blocks in "
            "its four stages. Other backbones cannot be imported."
        )
    return TRUNKS[found, bottleneck]


def trunk_convolutions(name: str) -> list[TrunkConv]:
    """Return the convolutions after the stem's in the order in which Keras counts them."""
    spec = RESNETS[name]
    order = []
    for stage, count in enumerate(spec.blocks):
        for block in range(count):
            numbers = [1, 2, 3] if spec.bottleneck else [1, 2]
            if block == 0 and (spec.bottleneck or stage > 0):
                numbers.insert(-1, 0)
            order += [TrunkConv(stage, block, number) for number in numbers]
    return order


def layer_rows(theirs: str, ours: str, weights: Iterable[str] = CONV_WEIGHTS) -> Iterator[Row]:
    """Yield the rows of one layer: `theirs` without "/vars", `ours` "part/layer"."""
    for index, weight in enumerate(weights):
        yield Row(f"{theirs}/vars/{index}", f"{ours}/{weight}")


def trunk_rows(name: str, theirs: str) -> Iterator[Row]:
    """Yield the rows of a ResNet whose layers are below `theirs`, such as "layers/functional"."""
    ours = ["stem_{}"]
    for stage, block, number in trunk_convolutions(name):
        part = f"{{}}{number}" if number else "shortcut_{}"
        ours.append(f"stage{stage + 2}_block{block + 1}_{part}")
    for index, layer in enumerate(ours):
        conv = f"{theirs}/layers/{numbered('conv2d', index)}"
        norm = f"{theirs}/layers/{numbered('batch_normalization', index)}"
        yield from layer_rows(conv, f"backbone/{layer.format('conv')}", ("kernel",))
        yield from layer_rows(norm, f"backbone/{layer.format('bn')}", BN_WEIGHTS)


def shape_in(shapes: Shapes, name: str, family: str) -> tuple[int, ...]:
    """Return the shape of the tensor `name`.

    Raises:
        UserError: there is none.
    """
    if name not in shapes:
        raise UserError(
            f"expected the tensors of a {family} checkpoint. Received: a file without {name}. "
            "Give the whole file, or name another --family."
        )
    return shapes[name]


def below(shapes: Shapes, pattern: str) -> list[tuple[int, ...]]:
    """Return the shapes of all tensors whose whole name matches `pattern`."""
    compiled = re.compile(pattern)
    return [shape for name, shape in shapes.items() if compiled.fullmatch(name)]
