"""Convolution, batch norm and activation in a row: what scale-permuted networks are made of."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from keras_retinanet.modeling.activations import activation_layer
from keras_retinanet.modeling.backbones.resnet import pad_for_stride

BN_MOMENTUM = 0.99  # As in TensorFlow Model Garden.


def _initializer() -> keras.initializers.Initializer:
    """Return the release's: truncated normal with variance 1 / fan_in."""
    return keras.initializers.VarianceScaling()


@dataclass(frozen=True)
class ConvNorm:
    """The choices that all convolutions of a backbone share.

    Attributes:
        padding, activation, bn_epsilon: as described in `BackboneConfig`.
    """

    padding: str
    activation: str
    bn_epsilon: float

    def conv(
        self,
        x: Any,
        filters: int,
        name: str,
        *,
        kernel_size: int = 1,
        strides: int = 1,
        activate: bool = True,
    ) -> Any:
        """Apply convolution, batch norm and activation; {} in `name` is the kind of the layer."""
        x, pad = self._padded(x, kernel_size, strides, name)
        x = layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            padding=pad,
            use_bias=False,
            kernel_initializer=_initializer(),
            name=name.format("conv"),
        )(x)
        return self._normalized(x, name, activate=activate)

    def depthwise(self, x: Any, name: str, *, strides: int = 1) -> Any:
        """Apply the same with one 3x3 filter for each channel."""
        x, pad = self._padded(x, 3, strides, name)
        x = layers.DepthwiseConv2D(
            3,
            strides=strides,
            padding=pad,
            use_bias=False,
            depthwise_initializer=_initializer(),
            name=name.format("conv"),
        )(x)
        return self._normalized(x, name, activate=True)

    def activated(self, x: Any, name: str) -> Any:
        """Apply the activation alone."""
        return activation_layer(self.activation, name)(x)

    def _padded(self, x: Any, kernel_size: int, strides: int, name: str) -> tuple[Any, str]:
        if strides == 1 or kernel_size == 1:
            return x, "same"
        return pad_for_stride(x, kernel_size, name.format("pad"), padding=self.padding)

    def _normalized(self, x: Any, name: str, *, activate: bool) -> Any:
        x = layers.BatchNormalization(
            momentum=BN_MOMENTUM, epsilon=self.bn_epsilon, name=name.format("bn")
        )(x)
        return self.activated(x, name.format("act")) if activate else x


def stochastic_depth_layer(x: Any, rate: float, name: str) -> Any:
    """Drop a branch for whole images in training (Huang et al. 2016); nothing for rate 0."""
    return layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=name)(x) if rate else x
