"""The network as a training step runs it: frozen batch norms are folded into their convolutions.

A frozen batch norm is a scale and a shift per channel. Scaling the kernel instead of its output
saves a pass over each feature map forward and one backward (and, in mixed precision, its copy in
float32); the kernel's gradient is the same. C: channels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from keras_retinanet.modeling.batch_norms import own_norms
from keras_retinanet.modeling.recomputation import Piece, run_pieces

# id of a model within the network -> its pieces, whose activations are computed again.
Recomputed = Mapping[int, Sequence[Piece]]


def run_for_training(model: Any, inputs: Any, recomputed: Recomputed | None = None) -> Any:
    """Return the outputs of a functional `model`, called inside `model(..., training=True)`."""
    norms = frozen_norms(model)
    folded = {id(norm) for norm in norms.values()}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if recomputed and id(layer) in recomputed:
            return run_pieces(run_for_training, recomputed[id(layer)], *args)
        if isinstance(layer, keras.Model):
            return run_for_training(layer, *args)
        if id(layer) in folded:
            return args[0]
        if id(layer) in norms:
            return _convolve_and_normalize(layer, norms[id(layer)], *args)
        return layer(*args, **kwargs)

    # Keras's own walk over a functional graph.
    return model._run_through_graph(inputs, call_fn=call)


def frozen_norms(model: Any) -> dict[int, layers.BatchNormalization]:
    """Return id of convolution -> frozen batch norm, where each is the other's only neighbor."""
    norms = own_norms(model)
    folded = [layer for layer in model.layers if id(layer) in norms and _can_fold(layer)]
    return {id(conv): norms[id(conv)] for conv in folded if not norms[id(conv)].trainable}


def _can_fold(layer: Any) -> bool:
    kinds = layers.Conv2D, layers.DepthwiseConv2D
    return (
        isinstance(layer, kinds)
        and not layer.use_bias
        and layer.activation is keras.activations.linear
    )


def _convolve_and_normalize(
    conv: Any, norm: layers.BatchNormalization, features: tf.Tensor
) -> tf.Tensor:
    """Return norm(conv(features)) for a frozen `norm`."""
    gamma, beta = (tf.cast(weight, tf.float32) for weight in (norm.gamma, norm.beta))
    scale = gamma * tf.math.rsqrt(tf.cast(norm.moving_variance, tf.float32) + norm.epsilon)
    shift = beta - tf.cast(norm.moving_mean, tf.float32) * scale
    features = tf.cast(features, conv.compute_dtype)
    kernel = tf.cast(conv.kernel, tf.float32)
    if isinstance(conv, layers.DepthwiseConv2D):
        kernel *= tf.reshape(scale, kernel.shape[2:])  # (h, w, C, multiplier)
        convolved = keras.ops.depthwise_conv(
            features,
            tf.cast(kernel, features.dtype),
            strides=conv.strides,
            padding=conv.padding,
            dilation_rate=conv.dilation_rate,
        )
    else:
        convolved = conv.convolution_op(features, tf.cast(kernel * scale, features.dtype))
    return tf.nn.bias_add(convolved, tf.cast(shift, features.dtype))
