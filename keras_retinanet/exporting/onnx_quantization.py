"""An ONNX network in int8: convolutions and what joins them; what int8 would spoil stays in float.

Weights are int8 per output channel, activations int8 per tensor with the ranges seen on real
images, as pairs of QuantizeLinear and DequantizeLinear: ONNX Runtime, OpenVINO and TensorRT make
integer operators of them. The image's normalization, group norms, sigmoid, decoding and
suppression stay in float32.
"""

import itertools
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError

CONVOLUTIONS = {"Conv", "ConvTranspose"}
# In int8 where all that they take is: residual sums and the pyramid's, what moves values or cuts.
JOINTS = {"Add", "Relu", "Clip", "MaxPool", "Resize", "Transpose"}


def int8_file(file: Any, inputs: Iterator[np.ndarray]) -> Any:
    """Return the ONNX model `file` with its network in int8.

    Args:
        file: of float32, one input.
        inputs: (1, H, W, 3) in the file's dtype, made as it will be fed. Their activations set the
            ranges: a hundred images like those to come.

    Raises:
        UserError: no input, or onnxruntime is missing.
    """
    first = next(inputs, None)
    if first is None:
        raise UserError(
            "Expected images to calibrate int8 with. Received: none. Give a dataset that has some."
        )
    quantization = _import_quantization()
    with tempfile.TemporaryDirectory() as folder, _quiet():
        out = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            file,
            out,
            _reader(quantization, file.graph.input[0].name, first, inputs),
            quant_format=quantization.QuantFormat.QDQ,
            nodes_to_quantize=integer_nodes(file.graph),
            per_channel=True,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        import onnx

        return onnx.load(out)


def _import_quantization() -> Any:
    try:
        from onnxruntime import quantization
    except ImportError as error:
        raise UserError(
            "Expected onnxruntime, which quantizes ONNX files. Received: a Python without it. "
            "Install it: pip install onnxruntime."
        ) from error
    return quantization


def _reader(quantization: Any, name: str, first: np.ndarray, inputs: Iterator[np.ndarray]) -> Any:
    """Return what onnxruntime calls for one input after the other, None at their end."""

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._inputs = itertools.chain([first], inputs)

        def get_next(self) -> dict[str, np.ndarray] | None:
            canvas = next(self._inputs, None)
            return None if canvas is None else {name: canvas}

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the advice to prepare the model first: its batch norms are folded, its shapes known."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def integer_nodes(graph: Any) -> list[str]:
    """Return the names of the operators that become int8, in their order.

    Convolutions, and `JOINTS` between them. A group norm is neither: in int8 its variances and
    factors are coarse, and no faster. What follows the last convolutions is no network anymore.
    """
    constants = {tensor.name for tensor in graph.initializer}
    integer: set[str] = set()  # values
    found = []
    for node in graph.node:  # in the order in which they run
        values = [name for name in node.input if name and name not in constants]
        is_joint = node.op_type in JOINTS and values and integer.issuperset(values)
        if node.op_type in CONVOLUTIONS or is_joint:
            integer.update(node.output)
            found.append(node)
    return [node.name for node in _before_convolutions(found, graph)]


def _before_convolutions(nodes: list[Any], graph: Any) -> list[Any]:
    """Return those of `nodes` that are convolutions or that a convolution's input depends on."""
    needed: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type in CONVOLUTIONS or needed.intersection(node.output):
            needed.update(node.input)
    return [
        node for node in nodes if node.op_type in CONVOLUTIONS or needed.intersection(node.output)
    ]
