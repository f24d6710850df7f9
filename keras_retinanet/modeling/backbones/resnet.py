"""ResNet (He et al. 2015) and ResNeXt (Xie et al. 2016) backbones: image -> C3, C4, C5.

Layer names, which weight importers map to:
  stem_{pad,conv,bn,relu,pool_pad,pool}
  stage{s}_block{b}_{conv,bn,relu}{i}   s = 2..5 so that stage s ends in C_s; b from 1;
                                        i = 1..2 in a basic block, 1..3 in a bottleneck
  stage{s}_block{b}_pad{i}              only where convolution i has stride 2 and padding is
                                        "symmetric"
  stage{s}_block{b}_shortcut_{conv,bn}  only where the shape changes
  stage{s}_block{b}_{add,out}           the sum and the ReLU after it
No convolution has a bias.
"""

from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf
from keras import layers

# For random weights: keeps the gradient's variance through ReLU (He et al. 2015, section 2.2).
HE_FAN_OUT = {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"}
BN_MOMENTUM = 0.9  # As in the original Caffe release and torchvision.


@dataclass(frozen=True)
class ResNetSpec:
    """Differences between ResNets (He et al. 2015, table 1; Xie et al. 2016, table 1)."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool = True
    groups: int = 1
    # Channels of one group in stage 2; they double with each stage.
    group_width: int = 64


# By the names that torchvision and timm give them.
RESNETS = {
    "resnet18": ResNetSpec((2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNetSpec((3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNetSpec((3, 4, 6, 3)),
    "resnet101": ResNetSpec((3, 4, 23, 3)),
    "resnet152": ResNetSpec((3, 8, 36, 3)),
    "resnext50_32x4d": ResNetSpec((3, 4, 6, 3), groups=32, group_width=4),
    "resnext101_32x4d": ResNetSpec((3, 4, 23, 3), groups=32, group_width=4),
    "resnext101_32x8d": ResNetSpec((3, 4, 23, 3), groups=32, group_width=8),
    "resnext101_64x4d": ResNetSpec((3, 4, 23, 3), groups=64, group_width=4),
}


@dataclass(frozen=True)
class _Options:
    stride_in_1x1: bool
    padding: str
    bn_epsilon: float


@keras.saving.register_keras_serializable(package="keras_retinanet")
class GroupedConv2D(layers.Conv2D):
    """`Conv2D(groups=...)` whose gradient also runs on a CPU.

    TensorFlow has no CPU kernel for the gradient of a grouped convolution; Keras lets XLA make
    one, which took 3.9 s instead of 14 ms (128 channels in 32 groups, 64 x 64). One
    convolution per group is also supported by every exporter. The kernel keeps Keras's shape
    (kernel, kernel, channels / groups, filters).
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> tf.Tensor:
        """Return (B,h,w,filters) of inputs (B,H,W,C) and a kernel; Keras calls this."""
        parts = zip(
            tf.split(inputs, self.groups, axis=-1),
            tf.split(tf.convert_to_tensor(kernel), self.groups, axis=-1),
            strict=True,
        )
        convolved = [tf.nn.conv2d(x, k, self.strides, self.padding.upper()) for x, k in parts]
        return tf.concat(convolved, axis=-1)


def pad_for_stride(x: Any, kernel_size: int, name: str, *, padding: str) -> tuple[Any, str]:
    """Pad before a window of stride 2, where the two conventions differ.

    Args:
        x: feature map (B,H,W,C).
        kernel_size: odd side of the window.
        name: name of the padding layer.
        padding: "symmetric" puts kernel_size // 2 zeros on all sides, as PyTorch does; "same"
            leaves it to TensorFlow, which puts the odd zero at the end.

    Returns:
        The map, and the `padding` argument for the layer that follows.
    """
    if padding == "same":
        return x, "same"
    return layers.ZeroPadding2D(kernel_size // 2, name=name)(x), "valid"


def _conv_bn(
    x: Any,
    filters: int,
    name: str,
    *,
    options: _Options,
    kernel_size: int = 1,
    strides: int = 1,
    groups: int = 1,
    zero_gamma: bool = False,
) -> Any:
    """Apply convolution and batch norm; {} in `name` is replaced by the kind of the layer."""
    pad = "same"
    if strides == 2 and kernel_size > 1:
        x, pad = pad_for_stride(x, kernel_size, name.format("pad"), padding=options.padding)
    kind = layers.Conv2D if groups == 1 else GroupedConv2D
    x = kind(
        filters,
        kernel_size,
        strides=strides,
        padding=pad,
        groups=groups,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(**HE_FAN_OUT),
        name=name.format("conv"),
    )(x)
    return layers.BatchNormalization(
        momentum=BN_MOMENTUM,
        epsilon=options.bn_epsilon,
        # Goyal et al. 2017, section 5.1: each block starts as the identity.
        gamma_initializer="zeros" if zero_gamma else "ones",
        name=name.format("bn"),
    )(x)


def _basic_branch(x: Any, width: int, *, strides: int, name: str, options: _Options) -> Any:
    x = _conv_bn(x, width, f"{name}_{{}}1", kernel_size=3, strides=strides, options=options)
    x = layers.ReLU(name=f"{name}_relu1")(x)
    return _conv_bn(x, width, f"{name}_{{}}2", kernel_size=3, zero_gamma=True, options=options)


def _bottleneck_branch(
    x: Any, width: int, *, strides: int, name: str, options: _Options, spec: ResNetSpec
) -> Any:
    inner = width * spec.groups * spec.group_width // 64
    first, second = (strides, 1) if options.stride_in_1x1 else (1, strides)
    x = _conv_bn(x, inner, f"{name}_{{}}1", strides=first, options=options)
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = _conv_bn(
        x,
        inner,
        f"{name}_{{}}2",
        kernel_size=3,
        strides=second,
        groups=spec.groups,
        options=options,
    )
    x = layers.ReLU(name=f"{name}_relu2")(x)
    return _conv_bn(x, 4 * width, f"{name}_{{}}3", zero_gamma=True, options=options)


def _block(
    x: Any, width: int, *, strides: int, name: str, options: _Options, spec: ResNetSpec
) -> Any:
    place: dict[str, Any] = {"strides": strides, "name": name, "options": options}
    if spec.bottleneck:
        branch = _bottleneck_branch(x, width, spec=spec, **place)
    else:
        branch = _basic_branch(x, width, **place)
    if strides != 1 or x.shape[-1] != branch.shape[-1]:
        shortcut = f"{name}_shortcut_{{}}"
        x = _conv_bn(x, branch.shape[-1], shortcut, strides=strides, options=options)
    x = layers.Add(name=f"{name}_add")([x, branch])
    return layers.ReLU(name=f"{name}_out")(x)


def resnet(
    spec: ResNetSpec,
    *,
    name: str = "resnet",
    stride_in_1x1: bool = True,
    padding: str = "symmetric",
    stem_padding: str | None = None,
    pool_padding: str = "symmetric",
    bn_epsilon: float = 1e-5,
) -> keras.Model:
    """Build a ResNet or ResNeXt backbone with random weights.

    The defaults are He et al.'s; ResNeXt was published with stride_in_1x1=False.

    Args:
        spec: depth, kind of block and groups.
        name: name of the model.
        stride_in_1x1, padding, stem_padding, pool_padding, bn_epsilon: as described in
            `BackboneConfig`. Basic blocks have no 1x1 convolution and ignore the first.

    Returns:
        Model: normalized image (B,H,W,3) float -> {"c3", "c4", "c5"}, feature maps (B,h,w,C) of
        strides 8, 16 and 32, sides rounded up.
    """
    options = _Options(stride_in_1x1, padding, bn_epsilon)
    image = keras.Input((None, None, 3), name="image")
    stem = replace(options, padding=stem_padding or padding)
    x = _conv_bn(image, 64, "stem_{}", kernel_size=7, strides=2, options=stem)
    x = layers.ReLU(name="stem_relu")(x)
    # After ReLU no value is below zero, so padding never changes the maximum.
    x, pad = pad_for_stride(x, 3, "stem_pool_pad", padding=pool_padding)
    x = layers.MaxPooling2D(3, strides=2, padding=pad, name="stem_pool")(x)

    features = {}
    for stage, blocks in enumerate(spec.blocks, start=2):
        width = 64 * 2 ** (stage - 2)
        for block in range(1, blocks + 1):
            strides = 2 if stage > 2 and block == 1 else 1
            block_name = f"stage{stage}_block{block}"
            x = _block(x, width, strides=strides, name=block_name, options=options, spec=spec)
        features[f"c{stage}"] = x
    return keras.Model(image, {level: features[level] for level in ("c3", "c4", "c5")}, name=name)
