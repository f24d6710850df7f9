"""Backbones by name: a normalized image -> C3, C4, C5, with random or ImageNet weights."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import layers

from keras_retinanet.config.model import BackboneConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones.efficientnet_lite import LiteSpec, efficientnet_lite
from keras_retinanet.modeling.backbones.imagenet import (
    has_public_weights,
    required_options,
    weights_license,
)
from keras_retinanet.modeling.backbones.imagenet import load_weights as _load_weights
from keras_retinanet.modeling.backbones.resnet import ResNetSpec, resnet


def _resnext(groups: int, group_width: int, blocks: tuple[int, int, int, int]) -> Callable:
    spec = ResNetSpec(blocks, groups=groups, group_width=group_width)
    return partial(resnet, spec, stride_in_1x1=False)


def _lite(width: float, depth: float) -> Callable:
    return partial(efficientnet_lite, LiteSpec(width, depth))


# A builder's defaults are the published graph; its keywords are those of `build_backbone`.
BACKBONES: dict[str, Callable[..., keras.Model]] = {
    "resnet18": partial(resnet, ResNetSpec((2, 2, 2, 2), bottleneck=False)),
    "resnet34": partial(resnet, ResNetSpec((3, 4, 6, 3), bottleneck=False)),
    "resnet50": partial(resnet, ResNetSpec((3, 4, 6, 3))),
    "resnet101": partial(resnet, ResNetSpec((3, 4, 23, 3))),
    "resnet152": partial(resnet, ResNetSpec((3, 8, 36, 3))),
    "resnext50_32x4d": _resnext(32, 4, (3, 4, 6, 3)),
    "resnext101_32x4d": _resnext(32, 4, (3, 4, 23, 3)),
    "resnext101_32x8d": _resnext(32, 8, (3, 4, 23, 3)),
    "resnext101_64x4d": _resnext(64, 4, (3, 4, 23, 3)),
    "efficientnet_lite0": _lite(1.0, 1.0),
    "efficientnet_lite1": _lite(1.0, 1.1),
    "efficientnet_lite2": _lite(1.1, 1.2),
    "efficientnet_lite3": _lite(1.2, 1.4),
    "efficientnet_lite4": _lite(1.4, 1.8),
}
_INPUT_OPTIONS = ("color_order", "mean", "std")


def _check_name(name: str) -> None:
    if name not in BACKBONES:
        raise UserError(
            f"Expected one of the backbones {', '.join(BACKBONES)}. Received: name={name!r}."
        )


def backbone_preprocessing(name: str, weights: str | None) -> dict[str, Any] | None:
    """Return the input that a backbone's weights require; None: any input.

    Args:
        name: key of `BACKBONES`.
        weights: as for `build_backbone`.

    Returns:
        `color_order`, `mean` and `std` (3 floats each, in that order, for pixels 0..255), and the
        graph options that these weights were trained with, as arguments of `build_backbone`.
        EfficientNet-Lite requires its colors with random weights too.
    """
    _check_name(name)
    return required_options(name, weights)


def build_backbone(
    name: str,
    *,
    weights: str | None = BackboneConfig.weights,
    stride_in_1x1: bool | None = BackboneConfig.stride_in_1x1,
    padding: str | None = BackboneConfig.padding,
    stem_padding: str | None = BackboneConfig.stem_padding,
    pool_padding: str | None = BackboneConfig.pool_padding,
    bn_epsilon: float | None = BackboneConfig.bn_epsilon,
    freeze_bn: bool = BackboneConfig.freeze_bn,
    frozen_stages: int = BackboneConfig.frozen_stages,
    load_weights: bool = True,
) -> keras.Model:
    """Build a backbone. Options that are None are those of the weights or the published graph.

    Args:
        name: key of `BACKBONES`.
        weights: None (random), "imagenet", or the path of a file that `imagenet.py` lists.
        stride_in_1x1: ResNets: put stride 2 in a bottleneck's first 1x1 convolution, not its 3x3.
        padding: "symmetric" or "same", for convolutions of stride 2.
        stem_padding: ResNets: the same for the first convolution alone.
        pool_padding: ResNets: the same for the stem's max-pool.
        bn_epsilon: epsilon of every batch norm.
        freeze_bn: batch norms keep their loaded statistics, scale and shift.
        frozen_stages: 1 freezes the stem, 2 all up to stride 4, ... 5 everything. Like freeze_bn
            it is ignored unless `weights` is given: frozen random statistics are noise.
        load_weights: False freezes in the same way but reads no file, for a model whose weights
            come from elsewhere.

    Returns:
        Model: normalized image (B,H,W,3) float -> {"c3", "c4", "c5"}, feature maps (B,h,w,C) of
        strides 8, 16, 32.

    Raises:
        UserError: unknown backbone (the message lists all), an option that this backbone lacks, or
            weights that are not available.
    """
    _check_name(name)
    given = {
        "stride_in_1x1": stride_in_1x1,
        "padding": padding,
        "stem_padding": stem_padding,
        "pool_padding": pool_padding,
        "bn_epsilon": bn_epsilon,
    }
    options = {key: value for key, value in given.items() if value is not None}
    builder = BACKBONES[name]
    absent = {"stride_in_1x1", "stem_padding", "pool_padding"} & set(options)
    if name.startswith("efficientnet") and absent:
        raise UserError(
            f"Expected options of {name}: padding, bn_epsilon. "
            f"Received: {', '.join(sorted(absent))}. Remove them."
        )
    demanded = backbone_preprocessing(name, weights) or {}
    demanded = {key: value for key, value in demanded.items() if key not in _INPUT_OPTIONS}
    backbone = builder(name=name, **{**demanded, **options})
    if weights is not None:
        if load_weights:
            _load_weights(backbone, name, weights)
        _freeze(backbone, freeze_bn=freeze_bn, frozen_stages=frozen_stages)
    return backbone


def _freeze(backbone: keras.Model, *, freeze_bn: bool, frozen_stages: int) -> None:
    for layer in backbone.layers:
        stage = layer.name.split("_")[0]
        number = int(stage.removeprefix("stage")) if stage.startswith("stage") else 1
        frozen_norm = freeze_bn and isinstance(layer, layers.BatchNormalization)
        if frozen_norm or number <= frozen_stages:
            layer.trainable = False


__all__ = [
    "BACKBONES",
    "backbone_preprocessing",
    "build_backbone",
    "has_public_weights",
    "weights_license",
]
