"""Tiny exported files with facts of ours, as a stranger may make them: to change, or to do harm."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tensorflow as tf
from tflite_files import converted

from keras_retinanet.config.files import load_config
from keras_retinanet.exporting.facts import FACTS_KEY, MODEL_DIGEST, facts_json, model_facts
from keras_retinanet.exporting.onnx_check import model_digest
from keras_retinanet.exporting.saved_model.folder import _write_assets
from keras_retinanet.exporting.saved_model.serving import OUTPUTS
from keras_retinanet.exporting.tflite import conversion
from keras_retinanet.exporting.tflite import flatbuffer as tflite_file
from keras_retinanet.exporting.tflite.metadata import with_files
from keras_retinanet.modeling.preprocessing import Preprocessing

SIDE = 32
_CONFIG = load_config(
    "shapes",
    {"model.preprocessing.short_side": SIDE, "model.preprocessing.long_side": SIDE},
).model
# As much of a RetinaNet as facts are made of.
MODEL = SimpleNamespace(
    config=_CONFIG,
    preprocessing=Preprocessing(**vars(_CONFIG.preprocessing)),
    class_names=["circle", "square", "triangle", "star"],  # of the data set `shapes`
    class_ids=[17, 3, 5, 9],
    metadata={"license": "none"},
)


# ------------------------------------------------------------------------------------------ TFLite


def tiny_flatbuffer() -> bytes:
    """A network of a few operators whose outputs are named as those of the form "nms"."""
    kernel = tf.constant(np.linspace(-1, 1, 3 * 3 * 3 * 8, dtype=np.float32).reshape(3, 3, 3, 8))

    @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, 3), tf.uint8, name="image")])
    def run(image):
        features = tf.nn.relu(tf.nn.conv2d(tf.cast(image, tf.float32), kernel, 2, "SAME"))
        rows = tf.nn.softmax(tf.reshape(features, (1, -1, 4)))
        best = tf.gather(rows, tf.argsort(rows[0, :, 0])[:5], axis=1)
        return {
            "boxes": best,
            "classes": tf.round(best[..., 0]),
            "scores": best[..., 1],
            "num": tf.reduce_sum(tf.ones((1, 5)), axis=1),
        }

    file = tflite_file.read(converted(run.get_concrete_function()))
    tflite_file.name_ends(file, "image", list(conversion.FORMS["nms"]))
    return tflite_file.write(file)


def as_exported(flatbuffer: bytes) -> bytes:
    """The whole file, its digest right, of any flatbuffer."""
    facts = model_facts(
        MODEL,
        kind="tflite",
        outputs=conversion.FORMS["nms"],
        form="nms",
        image_size=(SIDE, SIDE),
        letterbox="top_left",
    )
    return with_files(flatbuffer, facts)


# -------------------------------------------------------------------------------------- SavedModel


class Program(tf.Module):
    """A signature `serving_default` that runs `act` first, if there is one."""

    def __init__(self, act=None):
        super().__init__()
        self.scale = tf.Variable(1.0)
        self.serve = tf.function(
            lambda images: self._run(images, act),
            input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")],
            autograph=False,
        )

    def _run(self, images, act):
        size = tf.shape(images)[0]
        with tf.control_dependencies([act()] if act is not None else []):
            zeros = tf.zeros((size, 1)) * self.scale
        boxes = tf.zeros((size, 1, 4))
        return {
            "detection_boxes": boxes,
            "detection_scores": zeros,
            "detection_classes": zeros,
            "num_detections": tf.zeros((size,)),
            "detection_boxes_xyxy": boxes,
        }


class Initializer(tf.saved_model.experimental.TrackableResource):
    """A resource that writes a file when it is loaded."""

    def __init__(self, marker: Path):
        super().__init__()
        self._marker = str(marker)

    def _create_resource(self):
        return tf.raw_ops.HashTableV2(
            key_dtype=tf.string, value_dtype=tf.string, shared_name=self._marker
        )

    def _initialize(self):
        tf.io.write_file(self._marker, "written at load")

    def _destroy_resource(self):
        pass


def save_program(program: tf.Module, folder: Path, **more) -> Path:
    """Save a module with our facts beside it."""
    tf.saved_model.save(program, str(folder), signatures={"serving_default": program.serve})
    facts = model_facts(MODEL, kind="saved_model", outputs=OUTPUTS)
    _write_assets(MODEL, {**facts, **more}, folder / "assets")
    return folder


def change_facts(folder: Path, **changes) -> None:
    """Write other facts beside a SavedModel."""
    file = folder / "assets" / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


# -------------------------------------------------------------------------------------------- ONNX


def tiny_onnx(path: Path, *, domain: str = "", external: str | None = None, digest=True) -> Path:
    """One operator of `domain` and one constant, whose numbers lie in the file `external`."""
    import onnx

    outputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in ("boxes", "classes", "scores", "num")
    ]
    nodes = [
        onnx.helper.make_node("Identity", ["table"], [output.name], domain=domain)
        for output in outputs
    ]
    table = onnx.numpy_helper.from_array(np.ones((2, 2), np.float32), "table")
    if external is not None:
        onnx.external_data_helper.set_external_data(table, external)
        table.ClearField("raw_data")
    shape = (1, SIDE, SIDE, 3)
    source = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, shape)
    graph = onnx.helper.make_graph(nodes, "tiny", [source], outputs, [table])
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid(domain or "x", 1)]
    file = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    facts = model_facts(
        MODEL,
        kind="onnx",
        outputs=dict.fromkeys(conversion.FORMS["nms"], "-"),
        form="nms",
        image_size=(SIDE, SIDE),
        letterbox="top_left",
    )
    if digest:
        facts[MODEL_DIGEST] = model_digest(file.SerializeToString())
    onnx.helper.set_model_props(file, {FACTS_KEY: facts_json(facts)})
    path.write_bytes(file.SerializeToString())
    return path
