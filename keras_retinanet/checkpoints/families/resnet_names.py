"""The names of a torch-style ResNet or ResNeXt, as torchvision, mmdet, odtk and timm use them."""

from collections.abc import Iterator
from typing import Any

from keras_retinanet.checkpoints.families.family import Row
from keras_retinanet.weight_files.torch_names import torch_layer_name

# Keras's name of a batch norm's weight -> PyTorch's.
BN_WEIGHTS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
CONV_WEIGHTS = {"kernel": "weight", "bias": "bias"}


def conv_rows(theirs: str, ours: str, *, bias: bool = True) -> Iterator[Row]:
    """Yield the rows of one convolution: `theirs` "fpn.p6", `ours` "fpn/output_p6"."""
    yield Row(f"{theirs}.weight", f"{ours}/kernel", "conv")
    if bias:
        yield Row(f"{theirs}.bias", f"{ours}/bias")


def group_norm_rows(theirs: str, ours: str) -> Iterator[Row]:
    """Yield the two rows of one group norm."""
    yield Row(f"{theirs}.weight", f"{ours}/gamma")
    yield Row(f"{theirs}.bias", f"{ours}/beta")


def torch_resnet_rows(trunk: Any, prefix: str = "") -> Iterator[Row]:
    """Yield the rows of a ResNet or ResNeXt trunk in torch-style names.

    Args:
        trunk: `RetinaNet.backbone`, a model of `modeling.backbones.resnet`.
        prefix: what stands before "conv1.weight" in the checkpoint, such as "backbone.body.".
    """
    for layer in trunk.layers:
        names = BN_WEIGHTS if "_bn" in layer.name else CONV_WEIGHTS
        for weight in layer.weights:
            layout = "conv" if weight.name == "kernel" else "same"
            theirs = f"{prefix}{torch_layer_name(layer.name)}.{names[weight.name]}"
            yield Row(theirs, f"backbone/{layer.name}/{weight.name}", layout)
