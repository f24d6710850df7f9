"""A network in int8: convolutions and what joins them; what int8 would spoil stays in float.

Weights are int8 per output channel, activations int8 per tensor with the ranges seen on real
images. Sigmoid, decoding and suppression are not here: they are converted apart, in float.
"""

import warnings
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.tflite import flatbuffer as tflite_file

# Their weights are what int8 makes small and fast.
_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"}
_SUMS = {"ADD", "SUB"}
# Of a sum's range to its inputs': TensorFlow Lite's own bound is half of it.
FINEST = 2.0**-18


def int8_flatbuffer(converter: tf.lite.TFLiteConverter, canvases: Iterable[np.ndarray]) -> bytes:
    """Return the flatbuffer of a network in int8, with the input and outputs of its function.

    Args:
        converter: of a function of the network alone, RGB 0..255 -> logits and deltas in float32.
        canvases: inputs (1, H, W, 3) in the function's dtype, made as the file will be fed. Their
            activations set the ranges: a hundred images like those to come.

    Raises:
        UserError: no canvas.
    """
    canvases = iter(canvases)
    first = next(canvases, None)
    if first is None:
        raise UserError(
            "Expected images to calibrate int8 with. Received: none. Give a dataset that has some."
        )

    def inputs():
        yield [first]
        yield from ([canvas] for canvas in canvases)

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = inputs
    with warnings.catch_warnings():
        # On integer inputs, which are not asked for, and of the interpreter that the debugger
        # makes. It is the only public way to name what is not to be quantized.
        warnings.simplefilter("ignore", UserWarning)
        debugger = tf.lite.experimental.QuantizationDebugger(converter=converter)
        debugger.options = tf.lite.experimental.QuantizationDebugOptions(
            denylisted_nodes=float_operators(debugger.calibrated_model)
        )
        return debugger.get_nondebug_quantized_model()


def float_operators(flatbuffer: bytes) -> list[str]:
    """Return the first outputs' names of the operators that stay in float.

    Groups of operators between the convolutions stay whole, those that
    - take the input: an image is rounded to int8 once, normalized, not at each step;
    - hold a mean: group norms. In int8 their variances and factors are coarse, and no faster;
    - hold a sum of next to nothing (a group norm of one cell): interpreters end the process at one
      whose scale is 2 ** 19 times finer than its inputs'.
    """
    graph = tflite_file.read(flatbuffer).subgraphs[0]
    kinds = tflite_file.operators(flatbuffer)[: len(graph.operators)]
    others = [i for i, kind in enumerate(kinds) if kind not in _CONVOLUTIONS]
    made_by = {int(tensor): i for i in others for tensor in graph.operators[i].outputs}
    group = {i: {i} for i in others}
    for i in others:
        for tensor in graph.operators[i].inputs:
            before = group.get(made_by.get(int(tensor), -1))
            if before is not None and before is not group[i]:
                before |= group[i]
                group |= dict.fromkeys(group[i], before)
    pictures = {*map(int, graph.inputs)}

    def stays_float(i: int) -> bool:
        operator = graph.operators[i]
        least = FINEST * _span(graph, operator.inputs)
        is_nothing = kinds[i] in _SUMS and _span(graph, operator.outputs) < least
        takes_input = not pictures.isdisjoint(operator.inputs.tolist())
        return kinds[i] == "MEAN" or takes_input or is_nothing

    floats = {member for i in others if stays_float(i) for member in group[i]}
    return [graph.tensors[graph.operators[i].outputs[0]].name.decode() for i in sorted(floats)]


def _span(graph, tensors) -> float:
    """Return the widest range that calibration saw in any of `tensors`; constants have none."""
    seen = (graph.tensors[tensor].quantization for tensor in tensors)
    return max(
        (
            float(part.max[0] - part.min[0])
            for part in seen
            if part is not None and part.max is not None
        ),
        default=0.0,
    )
