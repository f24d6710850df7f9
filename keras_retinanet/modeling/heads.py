"""The two subnets (RetinaNet paper, section 4): P3..P7 -> one row of outputs per anchor.

Same shape, separate weights; the convolutions of each are shared over the levels. Rows of a level
are ordered by row, column and anchor of the cell, and levels from P3 to P7: the order of
`anchors.py`.

Layer names, which weight importers map to, with i from 1 to `depth`: `conv{i}`; `norm{i}`
(GroupNorm, shared) or `norm{i}_p{level}` (BatchNorm, per level); `final`.
"""

import math
from typing import Any

import keras
from keras import layers

from keras_retinanet.config.model import LEVELS, HeadConfig
from keras_retinanet.modeling.activations import activation_layer
from keras_retinanet.modeling.convolutions import Conv2D
from keras_retinanet.modeling.fpn import norm_layer


def _conv3x3(
    filters: int, name: str, *, separable: bool, kind: Any = layers.Conv2D, **options: Any
) -> Any:
    """Return a 3x3 convolution drawn from normal(.01); of a separable one the pointwise half is."""
    options |= {"padding": "same", "name": name}
    normal = keras.initializers.RandomNormal(stddev=0.01)
    if not separable:
        return kind(filters, 3, kernel_initializer=normal, **options)
    # The depthwise half keeps the variance, so that the product stays normal(.01)-sized.
    depthwise = keras.initializers.VarianceScaling(1.0, "fan_out")
    halves = {"depthwise_initializer": depthwise, "pointwise_initializer": normal}
    return layers.SeparableConv2D(filters, 3, **halves, **options)


def _norms(norm: str, channels: int, name: str, epsilon: float | None) -> list[Any]:
    """Return one normalization per level."""
    if norm == "batch_norm":
        # Statistics differ between levels; shared ones would fit none of them.
        return [norm_layer(norm, channels, f"{name}_p{level}", epsilon) for level in LEVELS]
    return [norm_layer(norm, channels, name, epsilon)] * len(LEVELS)


def build_head(
    name: str,
    *,
    in_channels: int,
    num_anchors: int,
    outputs_per_anchor: int,
    channels: int = HeadConfig.channels,
    depth: int = HeadConfig.depth,
    norm: str = HeadConfig.norm,
    norm_epsilon: float | None = HeadConfig.norm_epsilon,
    activation: str = HeadConfig.activation,
    bias_before_norm: bool = HeadConfig.bias_before_norm,
    separable: bool = HeadConfig.separable,
    prior: float | None = None,
) -> keras.Model:
    """Build one subnet; the defaults are the paper's (section 4, "Classification Subnet").

    Args:
        name: name of the model.
        in_channels: number of channels of P3..P7.
        num_anchors: A, number of anchors per cell.
        outputs_per_anchor: K for classes, 4 for boxes.
        channels, depth, norm, norm_epsilon, activation, bias_before_norm, separable: as described
            in `HeadConfig`. A group norm is shared over levels, a batch norm is one per level; with
            a norm the tower's convolutions have no bias.
        prior: initial probability of every output after a sigmoid (section 4.1), for the class
            head only; None: outputs start around 0.

    Returns:
        Model: [P3..P7], each (B,h,w,in_channels) -> (B,R,outputs_per_anchor), float32 under any
        precision policy.
    """
    use_bias = bias_before_norm or norm == "none"
    tower = []
    for i in range(1, depth + 1):
        conv = _conv3x3(channels, f"conv{i}", separable=separable, use_bias=use_bias)
        tower.append((conv, _norms(norm, channels, f"norm{i}", norm_epsilon)))
    bias = 0.0 if prior is None else -math.log((1 - prior) / prior)
    activate = activation_layer(activation, activation)
    # In mixed precision all digits of boxes are kept, and of logits those that count.
    is_mixed = prior is not None and not separable
    options: dict[str, Any] = {"kind": Conv2D} if is_mixed else {"dtype": "float32"}
    final = _conv3x3(
        num_anchors * outputs_per_anchor,
        "final",
        separable=separable,
        bias_initializer=keras.initializers.Constant(bias),
        **options,
    )
    # (B,h,w,A*K) -> (B,h*w*A,K)
    per_anchor = layers.Reshape((-1, outputs_per_anchor), name="per_anchor", dtype="float32")
    features = [keras.Input((None, None, in_channels), name=f"p{level}") for level in LEVELS]
    outputs = []
    for index, x in enumerate(features):
        for conv, norms in tower:
            x = activate(norms[index](conv(x)))
        outputs.append(per_anchor(final(x)))
    joined = layers.Concatenate(axis=1, name="joined", dtype="float32")(outputs)  # (B,R,K)
    return keras.Model(features, joined, name=name)
