"""Warm-up requests: TensorFlow Serving runs them while it loads a model, so that none of the first
clients waits.

The file is what https://www.tensorflow.org/tfx/serving/saved_model_warmup asks for, a TFRecord of
`tensorflow.serving.PredictionLog`. Its few fields are written by hand: the package that has the
messages, tensorflow-serving-api, also needs gRPC.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
# Numbers of the fields in tensorflow_serving/apis: PredictionLog and PredictLog (prediction_log),
# PredictRequest (predict), ModelSpec (model), and of the entries of any map.
PREDICT_LOG = 6
REQUEST = 1
MODEL_SPEC, INPUTS = 1, 2
SIGNATURE_NAME = 3
KEY, VALUE = 1, 2
# Of protocol buffers: a length and that many bytes.
LENGTH_DELIMITED = 2


def write_warmup(folder: Path, requests: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Write the warm-up requests of a SavedModel; the server runs them in this order.

    Args:
        folder: of the SavedModel.
        requests: signature name, and its inputs: name -> array, or what else `make_tensor_proto`
            takes: a list of bytes for strings, or a TensorProto. At most 1000, as real ones look.
    """
    path = Path(folder, WARMUP_FILE)
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            writer.write(prediction_log(signature, inputs))


def prediction_log(signature: str, inputs: Mapping[str, Any]) -> bytes:
    """Return the serialized `PredictionLog` of one request, its model's name left to the server."""
    request = _field(MODEL_SPEC, _field(SIGNATURE_NAME, signature.encode()))
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += _field(INPUTS, _field(KEY, name.encode()) + _field(VALUE, tensor))
    return _field(PREDICT_LOG, _field(REQUEST, request))


def _field(number: int, content: bytes) -> bytes:
    """Return a field that holds bytes, a string or a message."""
    return _varint(number << 3 | LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Return an integer as protocol buffers write it: seven bits a byte, the lowest first."""
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
