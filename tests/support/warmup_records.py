"""Warm-up files read as TF Serving's own messages have them, without its package."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.framework import tensor_pb2

from keras_retinanet.exporting.saved_model.warmup import WARMUP_FILE


def prediction_log_class():
    """Return the message `PredictionLog` with the fields of tensorflow_serving/apis used here."""
    file = descriptor_pb2.FileDescriptorProto(
        name="warmup_test.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[tensor_pb2.DESCRIPTOR.name],
    )
    field = descriptor_pb2.FieldDescriptorProto
    text, message = field.TYPE_STRING, field.TYPE_MESSAGE
    serving = ".tensorflow.serving."
    messages = {
        "ModelSpec": [("name", 1, text, ""), ("signature_name", 3, text, "")],
        "Input": [("key", 1, text, ""), ("value", 2, message, ".tensorflow.TensorProto")],
        "PredictRequest": [
            ("model_spec", 1, message, serving + "ModelSpec"),
            ("inputs", 2, message, serving + "Input"),
        ],
        "PredictLog": [("request", 1, message, serving + "PredictRequest")],
        "PredictionLog": [("predict_log", 6, message, serving + "PredictLog")],
    }
    for name, fields in messages.items():
        added = file.message_type.add(name=name)
        for key, number, kind, type_name in fields:
            label = field.LABEL_REPEATED if key == "inputs" else field.LABEL_OPTIONAL
            added.field.add(
                name=key, number=number, type=kind, type_name=type_name or None, label=label
            )
    pool = descriptor_pool.DescriptorPool()
    for known in (*_dependencies(tensor_pb2.DESCRIPTOR), file):
        pool.Add(known)
    found = pool.FindMessageTypeByName("tensorflow.serving.PredictionLog")
    return message_factory.GetMessageClass(found)


def _dependencies(file):
    """Return a file's descriptor after those of all that it imports, each once."""
    ordered = {}
    for needed in file.dependencies:
        ordered |= {found.name: found for found in _dependencies(needed)}
    own = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(own)
    return [*(ordered | {own.name: own}).values()]


def read_warmup(folder: Path) -> list[tuple[str, dict[str, np.ndarray]]]:
    log = prediction_log_class()
    requests = []
    for record in tf.data.TFRecordDataset(str(folder / WARMUP_FILE)):
        request = log.FromString(record.numpy()).predict_log.request
        tensors = {
            entry.key: tf.make_ndarray(
                tensor_pb2.TensorProto.FromString(entry.value.SerializeToString())
            )
            for entry in request.inputs
        }
        requests.append((request.model_spec.signature_name, tensors))
    return requests
