"""Backbones by name: a normalized image -> C3, C4, C5, with random or ImageNet weights.

SpineNets give the levels P3..P7 instead.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import keras
from keras import layers

from keras_retinanet.config.model import BackboneConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones.efficientnet_lite import efficientnet_lite
from keras_retinanet.modeling.backbones.imagenet import (
    has_public_weights,
    install_hint,
    required_options,
    weights_at_hand,
    weights_license,
)
from keras_retinanet.modeling.backbones.imagenet import load_weights as _load_weights
from keras_retinanet.modeling.backbones.mobilenet_v2 import mobilenet_v2
from keras_retinanet.modeling.backbones.resnet import RESNETS, ResNetSpec, resnet
from keras_retinanet.modeling.backbones.spinenet import SPINENETS, spinenet
from keras_retinanet.modeling.backbones.spinenet_mobile import MOBILE_SPINENETS, spinenet_mobile


def _resnet(spec: ResNetSpec) -> Callable:
    options: dict[str, Any] = {"stride_in_1x1": False} if spec.groups > 1 else {}
    return partial(resnet, spec, **options)


# A builder's defaults are the published graph; its keywords are those of `build_backbone`.
BACKBONES: dict[str, Callable[..., keras.Model]] = {
    **{name: _resnet(spec) for name, spec in RESNETS.items()},
    "efficientnet_lite0": partial(efficientnet_lite, 1.0, 1.0),
    "efficientnet_lite1": partial(efficientnet_lite, 1.0, 1.1),
    "efficientnet_lite2": partial(efficientnet_lite, 1.1, 1.2),
    "efficientnet_lite3": partial(efficientnet_lite, 1.2, 1.4),
    "efficientnet_lite4": partial(efficientnet_lite, 1.4, 1.8),
    "mobilenet_v2": mobilenet_v2,
    **{name: partial(spinenet, spec) for name, spec in SPINENETS.items()},
    **{name: partial(spinenet_mobile, spec) for name, spec in MOBILE_SPINENETS.items()},
}
_INPUT_OPTIONS = ("color_order", "mean", "std")


def _check_name(name: str) -> None:
    if name not in BACKBONES:
        raise UserError(
            f"Expected one of the backbones {', '.join(BACKBONES)}. Received: name={name!r}."
        )


def backbone_preprocessing(name: str, weights: str | None) -> dict[str, Any] | None:
    """Return the input that a backbone's weights require; None: any input.

    Args and Returns: as `imagenet.required_options`; `name` must be a key of `BACKBONES`.
    """
    _check_name(name)
    return required_options(name, weights)


def pyramid_channels(name: str) -> int | None:
    """Return the channels of P3..P7 of a backbone that computes them; None: an FPN follows it."""
    spec = SPINENETS.get(name) or MOBILE_SPINENETS.get(name)
    return spec.channels if spec else None


def build_backbone(
    name: str,
    *,
    weights: str | None = BackboneConfig.weights,
    stride_in_1x1: bool | None = BackboneConfig.stride_in_1x1,
    padding: str | None = BackboneConfig.padding,
    stem_padding: str | None = BackboneConfig.stem_padding,
    pool_padding: str | None = BackboneConfig.pool_padding,
    bn_epsilon: float | None = BackboneConfig.bn_epsilon,
    activation: str | None = BackboneConfig.activation,
    single_pool: bool | None = BackboneConfig.single_pool,
    smooth_gates: bool | None = BackboneConfig.smooth_gates,
    stochastic_depth: float = BackboneConfig.stochastic_depth,
    freeze_bn: bool = BackboneConfig.freeze_bn,
    sync_bn: bool = BackboneConfig.sync_bn,
    frozen_stages: int = BackboneConfig.frozen_stages,
    load_weights: bool = True,
) -> keras.Model:
    """Build a backbone. Options that are None are those of the weights or the published graph.

    Args:
        name: key of `BACKBONES`.
        weights: None (random), "imagenet" or "imagenet_v2", or the path of a file; `imagenet.py`
            lists which.
        stride_in_1x1, stem_padding, pool_padding: of ResNets, as described in `BackboneConfig`.
        activation, single_pool, smooth_gates, stochastic_depth: of SpineNets, the same.
        padding, bn_epsilon, freeze_bn, frozen_stages: the same. Frozen random statistics would be
            noise: the last two are ignored unless `weights` is given.
        sync_bn: compute the statistics of batch norms that train over all devices.
        load_weights: False freezes in the same way but reads no file, for a model whose weights
            come from elsewhere.

    Returns:
        Model: normalized image (B,H,W,3) float -> {"c3", "c4", "c5"}, feature maps (B,h,w,C) of
        strides 8, 16, 32; of SpineNets {"p3", ..., "p7"}, strides 8..128.

    Raises:
        UserError: unknown backbone (the message lists all), an option that this backbone lacks, or
            weights that are not available.
    """
    given = {
        "stride_in_1x1": stride_in_1x1,
        "padding": padding,
        "stem_padding": stem_padding,
        "pool_padding": pool_padding,
        "bn_epsilon": bn_epsilon,
        "activation": activation,
        "single_pool": single_pool,
        "smooth_gates": smooth_gates,
        "stochastic_depth": stochastic_depth or None,
    }
    options = {key: value for key, value in given.items() if value is not None}
    _check_options(name, options, given)
    demanded = required_options(name, weights) or {}
    demanded = {key: value for key, value in demanded.items() if key not in _INPUT_OPTIONS}
    backbone = BACKBONES[name](name=name, **{**demanded, **options})
    _synchronize(backbone, sync_bn)
    if weights is not None:
        if load_weights:
            _load_weights(backbone, name, weights)
        _freeze(backbone, freeze_bn=freeze_bn, frozen_stages=frozen_stages)
    return backbone


def _check_options(name: str, options: Iterable[str], all_options: Iterable[str]) -> None:
    """Raise a `UserError` if there is no backbone `name`, or if it lacks one of `options`."""
    _check_name(name)
    parameters = inspect.signature(BACKBONES[name]).parameters
    known = [key for key in all_options if key in parameters]
    absent = [key for key in options if key not in known]
    if absent:
        raise UserError(
            f"Expected options of {name}: {', '.join(known)}. "
            f"Received: {', '.join(absent)}. Remove them."
        )


def _synchronize(backbone: keras.Model, is_synchronized: bool) -> None:
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.synchronized = is_synchronized


def _freeze(backbone: keras.Model, *, freeze_bn: bool, frozen_stages: int) -> None:
    for layer in backbone.layers:
        stage = layer.name.split("_")[0]
        number = int(stage.removeprefix("stage")) if stage.startswith("stage") else 1
        # The blocks of a scale-permuted network and its outputs are of no stage.
        is_staged = stage.startswith(("stem", "stage"))
        frozen_norm = freeze_bn and isinstance(layer, layers.BatchNormalization)
        if frozen_norm or (is_staged and number <= frozen_stages):
            layer.trainable = False


__all__ = [
    "BACKBONES",
    "backbone_preprocessing",
    "build_backbone",
    "has_public_weights",
    "install_hint",
    "pyramid_channels",
    "weights_at_hand",
    "weights_license",
]
