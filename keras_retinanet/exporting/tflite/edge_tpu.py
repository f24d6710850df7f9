"""A network of integers alone, as the compiler of the Edge TPU takes it.

That compiler was not run here. What it takes is as coral.ai/docs/edgetpu/models-intro says: from
the first operator that it does not know on, the whole rest of a network stays on the processor. So
the image's normalization and the outputs are integers too, and suppression is the application's.
"""

from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_retinanet.errors import UserError, listed
from keras_retinanet.exporting.tflite import flatbuffer as tflite_file

FORM = "edgetpu"
ANCHORS_FILE = "anchors.npy"
OUTPUTS = {
    "class_logits": "(1, R, K) int8: before the sigmoid, by the tensor's scale and zero point",
    "box_deltas": "(1, R, 4) int8: relative to the anchors, as config.box_coder says, by the "
    f"tensor's scale and zero point. The anchors are the file {ANCHORS_FILE} at the end of this "
    "one, (1, R, 4) float32 x1, y1, x2, y2 in pixels of the network input",
}
# Of the compiler's list, those that a detector may have.
OPERATORS = {
    *("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "LOGISTIC"),
    *("MAX_POOL_2D", "MEAN", "MUL", "PAD", "QUANTIZE", "RELU", "RELU6", "RESHAPE"),
    *("RESIZE_NEAREST_NEIGHBOR", "STRIDED_SLICE", "SUB", "TRANSPOSE_CONV"),
}
WHITE = 255.0


def check_network(network: keras.Model) -> None:
    """Raise a UserError for a network that integers would spoil."""
    if any(isinstance(layer, layers.GroupNormalization) for layer in network.layers):
        raise UserError(
            f"Expected a model without group norms for form {FORM}: in integers their variances "
            "are coarse, and the Edge TPU has not all of their operators. Received: one with some. "
            "Train with model.head.norm: batch_norm, or none, or export another form."
        )


def integer_flatbuffer(converter: tf.lite.TFLiteConverter, canvases: Iterable[np.ndarray]) -> bytes:
    """Return the flatbuffer of a network in integers: uint8 in, int8 out.

    Args:
        converter: of a function of the network alone, RGB 0..255 -> logits and deltas in float32.
        canvases: inputs (1, H, W, 3) float32 that set the ranges of activations.

    Raises:
        UserError: no canvas, or operators that the Edge TPU has not.
    """
    canvases = iter(canvases)
    first = next(canvases, None)
    if first is None:
        raise UserError(
            "Expected images to calibrate int8 with. Received: none. Give a dataset that has some."
        )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _inputs(first, canvases)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.int8
    flatbuffer = converter.convert()
    if strange := sorted(set(tflite_file.operators(flatbuffer)) - OPERATORS):
        raise UserError(
            f"Expected a network of operators that the Edge TPU has for form {FORM}. "
            f"Received: {listed(strange)}. Export another form."
        )
    return flatbuffer


def _inputs(first: np.ndarray, others: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Give the canvases; the first gets a black and a white pixel.

    So the input's range is 0..255 whatever the images are, and its integers are the pixels.
    """
    first = first.copy()
    first[0, 0, 0], first[0, -1, -1] = 0.0, WHITE
    yield [first]
    yield from ([canvas] for canvas in others)
