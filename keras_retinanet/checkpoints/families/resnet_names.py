"""The names of a torch-style ResNet or ResNeXt, as torchvision, mmdet, odtk and timm use them."""

from collections.abc import Iterator

from keras_retinanet.weight_files.filling import Row


def conv_rows(theirs: str, ours: str, *, bias: bool = True) -> Iterator[Row]:
    """Yield the rows of one convolution: `theirs` "fpn.p6", `ours` "fpn/output_p6"."""
    yield Row(f"{theirs}.weight", f"{ours}/kernel", "conv")
    if bias:
        yield Row(f"{theirs}.bias", f"{ours}/bias")


def group_norm_rows(theirs: str, ours: str) -> Iterator[Row]:
    """Yield the two rows of one group norm."""
    yield Row(f"{theirs}.weight", f"{ours}/gamma")
    yield Row(f"{theirs}.bias", f"{ours}/beta")
