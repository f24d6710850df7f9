"""Weights of other systems' backbones into ours: which tensor is which of our variables."""

from collections.abc import Iterable, Mapping

import keras
import numpy as np

from keras_retinanet.modeling.backbones.efficientnet_lite import torch_names
from keras_retinanet.weight_files.filling import Row, fill
from keras_retinanet.weight_files.torch_names import torch_resnet_rows

# The classifiers that follow C5.
APPLICATIONS_UNUSED = r"(predictions|probs|fc1000).*"
# num_batches_tracked counts training steps; inference does not read it.
TORCH_UNUSED = r"fc\..*|.*num_batches_tracked"
LITE_UNUSED = r"(_conv_head|_bn1|_fc)\..*|.*num_batches_tracked"


def transfer_keras_applications(tensors: Mapping[str, np.ndarray], backbone: keras.Model) -> None:
    """Copy the weights of a keras.applications ResNet (v1) into a backbone of this package.

    Its convolutions have biases and the backbone's have none: batch norm takes them up exactly, as
    (x + bias) - mean = x - (mean - bias).

    Args:
        tensors: by the paths in their `.h5` file, which end in layer and weight:
            `conv1_bn/conv1_bn/gamma:0`.
        backbone: `resnet` of the same depth, with stride_in_1x1=True and bn_epsilon=1.001e-5.

    Raises:
        UserError: a tensor is missing, left over, or of another shape; the message lists them.
    """
    named = {_layer_and_weight(name): array for name, array in tensors.items()}
    rows = []
    for layer in backbone.layers:
        theirs = _applications_name(layer.name) if layer.weights else ""
        for weight in layer.weights:
            if weight.name == "moving_mean":
                bias = f"{theirs.removesuffix('_bn')}_conv/bias"
                mean = named.get(f"{theirs}/moving_mean")
                if bias in named and mean is not None and named[bias].shape == mean.shape:
                    named[f"{theirs}/moving_mean"] = mean - named.pop(bias)
            rows.append(Row(f"{theirs}/{weight.name}", f"{layer.name}/{weight.name}"))
    _fill(named, backbone, rows, unused=APPLICATIONS_UNUSED)


def _layer_and_weight(path: str) -> str:
    return "/".join(path.split("/")[-2:]).removesuffix(":0")


def _applications_name(name: str) -> str:
    """stage3_block1_conv2 -> conv3_block1_2_conv; the shortcut has number 0."""
    if name.startswith("stem_"):
        return name.replace("stem", "conv1")
    stage, block, kind = name.split("_", 2)
    kind = (
        f"0_{kind.removeprefix('shortcut_')}" if "shortcut" in kind else f"{kind[-1]}_{kind[:-1]}"
    )
    return f"{stage.replace('stage', 'conv')}_{block}_{kind}"


def transfer_torch_resnet(tensors: Mapping[str, np.ndarray], backbone: keras.Model) -> None:
    """Copy a ResNet's or ResNeXt's state dict of PyTorch; raise as `transfer_keras_applications`.

    Args:
        tensors: by torchvision's names (`conv1.weight`, `layer1.0.bn2.running_var`,
            `layer2.0.downsample.0.weight`, ...), convolutions as (out, in, height, width); the
            classifier's may be there or not.
        backbone: `resnet` of the same spec, with TORCH_REQUIREMENTS.
    """
    _fill(tensors, backbone, torch_resnet_rows(backbone, ours=""), unused=TORCH_UNUSED)


def transfer_lite(tensors: Mapping[str, np.ndarray], backbone: keras.Model) -> None:
    """Copy an EfficientNet-Lite state dict of PyTorch; raise as `transfer_keras_applications`.

    Args:
        tensors: by name (`_conv_stem.weight`, `_blocks.3._bn1.running_var`, ...), convolutions
            as (out, in, height, width); the classifier's (LITE_UNUSED) may be there or not.
        backbone: `efficientnet_lite` of the same size.
    """
    rows = []
    for name, weight, is_depthwise in torch_names(backbone):
        kernel = "depthwise" if is_depthwise else "conv"
        layout = kernel if len(weight.shape) == 4 else "same"
        rows.append(Row(name, _layer_and_weight(weight.path), layout))
    _fill(tensors, backbone, rows, unused=LITE_UNUSED)


def _fill(
    tensors: Mapping[str, np.ndarray], backbone: keras.Model, rows: Iterable[Row], *, unused: str
) -> None:
    weights = {f"{layer.name}/{w.name}": w for layer in backbone.layers for w in layer.weights}
    advice = "Give the weights of this backbone, or choose the backbone of these weights."
    fill(tensors, weights, rows, source=backbone.name, advice=advice, unused=unused)
