"""Which batch norms can be folded into the convolution before them, and what they become there.

Shape letter: C channels.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

# Where a batch norm before or after the bias is the same thing: kernel's axes of output channels.
_KERNELS = {
    layers.SeparableConv2D: ("pointwise_kernel", (3,)),
    layers.DepthwiseConv2D: ("kernel", (2, 3)),
    layers.Conv2D: ("kernel", (3,)),
}


class FoldedKernel(NamedTuple):
    """What a convolution computes with once the batch norm after it is folded in."""

    variable: keras.Variable  # of the convolution: its last kernel
    kernel: np.ndarray  # float64, instead of that variable's value
    bias: np.ndarray  # (C,) float64, instead of the convolution's own, if it has one


def own_norms(model: Any) -> dict[int, Any]:
    """Return id of convolution -> batch norm, where each is the other's only neighbor.

    Args:
        model: a functional model; models in it are not looked into.
    """
    depths = model._nodes_by_depth.values()
    nodes = [node for depth in depths for node in depth if not node.is_input]
    calls: dict[int, int] = {}
    readers: dict[int, int] = {id(tensor): 1 for tensor in model.outputs}
    for node in nodes:
        calls[id(node.operation)] = calls.get(id(node.operation), 0) + 1
        for tensor in node.input_tensors:
            readers[id(tensor)] = readers.get(id(tensor), 0) + 1
    norms = {}
    for node in nodes:
        if isinstance(node.operation, layers.BatchNormalization):
            (features,) = node.input_tensors
            before = features._keras_history.operation
            alone = calls.get(id(before)) == calls[id(node.operation)] == readers[id(features)] == 1
            if alone and isinstance(before, tuple(_KERNELS)):
                norms[id(before)] = node.operation
    return norms


def scale_and_shift(norm: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return what a batch norm multiplies by and adds, (C,) float64 each."""
    gamma, beta, mean, variance = (np.asarray(weight, np.float64) for weight in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return scale, beta - mean * scale


def folded_kernel(conv: Any, norm: Any) -> FoldedKernel:
    """Return the kernel and bias with which `conv` does what it and `norm` did."""
    scale, shift = scale_and_shift(norm)
    name, axes = next(found for kind, found in _KERNELS.items() if isinstance(conv, kind))
    weights = {weight.name: weight for weight in conv.weights}
    kernel = np.asarray(weights[name].numpy(), np.float64)
    sides = [size if axis in axes else 1 for axis, size in enumerate(kernel.shape)]
    bias = np.asarray(weights["bias"].numpy(), np.float64) if "bias" in weights else 0.0
    return FoldedKernel(weights[name], kernel * scale.reshape(sides), bias * scale + shift)
