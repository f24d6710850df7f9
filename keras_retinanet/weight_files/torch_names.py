"""What PyTorch's ResNets call the layers of `modeling.backbones.resnet` and their weights."""

from collections.abc import Iterator
from typing import Any

from keras_retinanet.weight_files.filling import Row

# Keras's name of a convolution's or batch norm's weight -> PyTorch's.
TORCH_WEIGHTS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def torch_layer_name(layer: str) -> str:
    """Return PyTorch's name of a backbone's layer.

    stem_conv -> conv1, stage3_block1_conv2 -> layer2.0.conv2, stage3_block1_shortcut_bn ->
    layer2.0.downsample.1.
    """
    if layer.startswith("stem_"):
        return f"{layer.removeprefix('stem_')}1"
    stage, block, kind = layer.split("_", 2)
    place = f"layer{int(stage.removeprefix('stage')) - 1}.{int(block.removeprefix('block')) - 1}"
    shortcut = {"shortcut_conv": "downsample.0", "shortcut_bn": "downsample.1"}
    return f"{place}.{shortcut.get(kind, kind)}"


def torch_resnet_rows(backbone: Any, theirs: str = "", *, ours: str = "backbone/") -> Iterator[Row]:
    """Yield the rows of a ResNet or ResNeXt backbone in PyTorch's names.

    Args:
        backbone: a model of `modeling.backbones.resnet`.
        theirs: what stands before "conv1.weight" in the checkpoint, such as "backbone.body.".
        ours: what stands before "stem_conv/kernel" in the names of the weights.
    """
    for layer in backbone.layers:
        for weight in layer.weights:
            name = f"{theirs}{torch_layer_name(layer.name)}.{TORCH_WEIGHTS[weight.name]}"
            layout = "conv" if weight.name == "kernel" else "same"
            yield Row(name, f"{ours}{layer.name}/{weight.name}", layout)
