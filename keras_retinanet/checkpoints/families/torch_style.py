"""Names of a torch-style ResNet or ResNeXt, as torchvision, mmdet, odtk and timm use them."""

import re
from collections.abc import Iterator, Mapping

from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones.resnet import RESNETS
from keras_retinanet.weight_files.filling import Row

# (blocks of layer1..4, channels inside layer1's bottleneck, channels of one of its groups);
# basic blocks have neither.
TRUNKS: dict[tuple[tuple[int, ...], int | None, int | None], str] = {
    (spec.blocks, spec.groups * spec.group_width, spec.group_width)
    if spec.bottleneck
    else (spec.blocks, None, None): name
    for name, spec in RESNETS.items()
}


def trunk_name(shapes: Mapping[str, tuple[int, ...]], prefix: str = "") -> str:
    """Return the key of `BACKBONES` for the backbone whose first convolution is "<prefix>conv1".

    Args:
        shapes: name -> shape of every tensor of the file, convolutions (out, in, h, w).
        prefix: of the backbone's names, such as "backbone.".

    Raises:
        UserError: it is no ResNet or ResNeXt that we have.
    """
    block = re.compile(re.escape(prefix) + r"layer([1-4])\.(\d+)\.conv1\.weight")
    found = [match.groups() for match in map(block.fullmatch, shapes) if match]
    blocks = tuple(sum(stage == str(number) for stage, _ in found) for number in (1, 2, 3, 4))
    inner = group = None
    if f"{prefix}layer1.0.conv3.weight" in shapes:
        inner, group = shapes.get(f"{prefix}layer1.0.conv2.weight", (0, 0))[:2]
    if (blocks, inner, group) not in TRUNKS:
        raise UserError(
            f"expected a backbone among {', '.join(TRUNKS.values())}. Received: blocks={blocks}, "
            f"channels={inner}, of one group={group}. Other backbones cannot be imported."
        )
    return TRUNKS[blocks, inner, group]


def conv_rows(theirs: str, ours: str, *, bias: bool = True) -> Iterator[Row]:
    """Yield the rows of one convolution: `theirs` "fpn.p6", `ours` "fpn/output_p6"."""
    yield Row(f"{theirs}.weight", f"{ours}/kernel", "conv")
    if bias:
        yield Row(f"{theirs}.bias", f"{ours}/bias")


def group_norm_rows(theirs: str, ours: str) -> Iterator[Row]:
    """Yield the two rows of one group norm."""
    yield Row(f"{theirs}.weight", f"{ours}/gamma")
    yield Row(f"{theirs}.bias", f"{ours}/beta")
