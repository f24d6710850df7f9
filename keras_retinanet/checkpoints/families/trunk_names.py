"""Which of our backbones a torch-style state dict holds, told by its names and shapes alone."""

import re
from collections.abc import Mapping

from keras_retinanet.errors import UserError

# (blocks of layer1..4, channels inside layer1's bottleneck, channels of one of its groups);
# basic blocks have neither.
TRUNKS: dict[tuple[tuple[int, ...], int | None, int | None], str] = {
    ((2, 2, 2, 2), None, None): "resnet18",
    ((3, 4, 6, 3), None, None): "resnet34",
    ((3, 4, 6, 3), 64, 64): "resnet50",
    ((3, 4, 23, 3), 64, 64): "resnet101",
    ((3, 8, 36, 3), 64, 64): "resnet152",
    ((3, 4, 6, 3), 128, 4): "resnext50_32x4d",
    ((3, 4, 23, 3), 128, 4): "resnext101_32x4d",
    ((3, 4, 23, 3), 256, 8): "resnext101_32x8d",
    ((3, 4, 23, 3), 256, 4): "resnext101_64x4d",
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
