"""What PyTorch's ResNets call the layers of `modeling.backbones.resnet` and their weights."""

# Keras's name of a convolution's or batch norm's weight -> PyTorch's.
TORCH_WEIGHTS = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def torch_layer_name(layer: str) -> str:
    """Returns PyTorch's name of a trunk's layer.

    stem_conv -> conv1, stage3_block1_conv2 -> layer2.0.conv2, stage3_block1_shortcut_bn ->
    layer2.0.downsample.1.
    """
    if layer.startswith("stem_"):
        return f"{layer.removeprefix('stem_')}1"
    stage, block, kind = layer.split("_", 2)
    place = f"layer{int(stage.removeprefix('stage')) - 1}.{int(block.removeprefix('block')) - 1}"
    shortcut = {"shortcut_conv": "downsample.0", "shortcut_bn": "downsample.1"}
    return f"{place}.{shortcut.get(kind, kind)}"
