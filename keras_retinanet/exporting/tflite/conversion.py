"""A model as one TensorFlow Lite file of fixed size, in several forms."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import default_image_size, model_facts
from keras_retinanet.exporting.folding import folded
from keras_retinanet.exporting.sample import network_inputs
from keras_retinanet.exporting.tflite import edge_tpu, flatbuffer
from keras_retinanet.exporting.tflite.graphs import detection_function, network_function
from keras_retinanet.exporting.tflite.metadata import METADATA_NAME, metadata, with_files
from keras_retinanet.exporting.tflite.quantization import int8_flatbuffer
from keras_retinanet.exporting.tflite.tflite_trial import remember
from keras_retinanet.files import atomic_write
from keras_retinanet.modeling.retinanet import RetinaNet

PRECISIONS = ("float32", "float16", "dynamic", "int8")
INPUT_TYPES = ("uint8", "float32")
_DETECTIONS = {
    "boxes": "(1, N, 4) float32: ymin, xmin, ymax, xmax in 0..1 of the network input, best first",
    "classes": "(1, N) float32: index of the class, from 0, in the order of the labels",
    "scores": "(1, N) float32: 0..1",
    "num": "(1,) float32: how many of the N rows are detections; the rest is 0",
}
# Form -> its outputs, in order, and what each means.
FORMS = {
    "nms": _DETECTIONS,
    "mediapipe": _DETECTIONS,
    "raw": {
        "class_logits": "(1, R, K) float32: before the sigmoid",
        "box_deltas": "(1, R, 4) float32: relative to the anchors, as config.box_coder says",
        "anchors": "(1, R, 4) float32: x1, y1, x2, y2 in pixels of the network input, always "
        "the same",
    },
    edge_tpu.FORM: edge_tpu.OUTPUTS,
}


def export_tflite(
    model: RetinaNet,
    out: Path,
    *,
    form: str = "nms",
    precision: str = "float32",
    image_size: tuple[int, int] | None = None,
    input_type: str = "uint8",
    calibration: Iterable[np.ndarray] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Write `model` as a TensorFlow Lite file that takes one image (1, H, W, 3), RGB 0..255.

    The signature "serving_default" takes "image"; its outputs are those of `FORMS`, in their
    order in the file too. The file says all of this itself (`tflite_metadata`).

    Args:
        model: thresholds as wanted in the file.
        out: file to write.
        form: "nms", the model's own detections by TensorFlow Lite's own operators alone;
            "mediapipe", the same by the operator `TFLite_Detection_PostProcess` of MediaPipe's
            ObjectDetector, for images stretched to the input; "raw", the heads' outputs;
            "edgetpu", these in integers, for the compiler of the Edge TPU: precision "int8" alone.
        precision: of the weights: "float32"; "float16"; "dynamic", int8 weights with float
            activations; "int8", int8 both. Decoding and suppression are float32 always.
        image_size: (height, width) in pixels of the input; default the square that holds any
            image at the model's own scale.
        input_type: "uint8" or "float32".
        calibration: uint8 RGB images (H, W, 3) of any sizes, for "int8" alone.
        say: takes one line for each step.

    Raises:
        UserError: an unknown choice, "int8" without images, or a network that "edgetpu" would
            spoil.
    """
    _check(form, precision, input_type, image_size)
    image_size = image_size or default_image_size(model.preprocessing)
    stretch = form == "mediapipe"
    converted = _network(
        model,
        form=form,
        precision=precision,
        image_size=image_size,
        input_type=input_type,
        calibration=calibration,
        say=say,
    )
    file = flatbuffer.read(converted)
    anchors = model.anchors(*image_size).numpy()[None]
    if form == "raw":
        flatbuffer.add_constant(file, "anchors", anchors)
    elif form != edge_tpu.FORM:
        say("converting decoding and suppression")
        behind = _converter(detection_function(model, image_size, form), custom=stretch)
        flatbuffer.join(file, flatbuffer.read(behind.convert()))
    flatbuffer.name_ends(file, "image", list(FORMS[form]))
    facts = model_facts(
        model,
        kind="tflite",
        outputs=FORMS[form],
        form=form,
        precision=precision,
        dtype=input_type,
        image_size=image_size,
        letterbox="stretch" if stretch else "top_left",
    )
    flatbuffer.add_metadata(file, METADATA_NAME, metadata(facts, model.name))
    say("writing")
    files = {edge_tpu.ANCHORS_FILE: anchors} if form == edge_tpu.FORM else {}
    _write(with_files(flatbuffer.write(file), facts, files), out)


def _network(
    model: RetinaNet,
    *,
    form: str,
    precision: str,
    image_size: tuple[int, int],
    input_type: str,
    calibration: Iterable[np.ndarray] | None,
    say: Callable[[str], None],
) -> bytes:
    """Return the flatbuffer of the network alone; the arguments are those of `export_tflite`."""
    say("folding batch norms")
    network = folded(model)  # holds the variables that the function below only mentions
    quantize = int8_flatbuffer
    if form == edge_tpu.FORM:
        edge_tpu.check_network(network)
        quantize, input_type = edge_tpu.integer_flatbuffer, "float32"  # it makes integers of it
    say("converting the network")
    converter = _converter(network_function(network, image_size, input_type), precision)
    if precision != "int8":
        return converter.convert()
    say("calibrating and quantizing")
    stretch = form == "mediapipe"
    canvases = network_inputs(
        model.preprocessing, calibration, image_size, input_type, stretch=stretch
    )
    return quantize(converter, canvases)


def _write(content: bytes, out) -> None:
    with atomic_write(out, "wb") as stream:
        stream.write(content)
    remember(hashlib.sha256(content).hexdigest())  # it need not be tried before its first use


def _check(form, precision, input_type, image_size) -> None:
    for name, value, known in (
        ("form", form, FORMS),
        ("precision", precision, PRECISIONS),
        ("input_type", input_type, INPUT_TYPES),
    ):
        if value not in known:
            raise UserError(
                f"Expected {name} to be one of {', '.join(known)}. Received: {name}={value!r}."
            )
    if form == edge_tpu.FORM and (precision, input_type) != ("int8", "uint8"):
        raise UserError(
            f"Expected --precision int8 and --input_type uint8 with --form {form}, which is all "
            f"integers. Received: precision={precision!r}, input_type={input_type!r}."
        )
    if image_size is not None and min(image_size) < 1:
        raise UserError(
            f"Expected an image_size of at least 1,1. Received: image_size={image_size}."
        )


def _converter(function, precision: str = "float32", *, custom: bool = False):
    """Return TensorFlow Lite's converter of a concrete function, its variables frozen.

    Operators outside TensorFlow Lite are allowed if `custom`; int8 is left to `int8_flatbuffer`.
    """
    holder = tf.Module()
    # Keras's own object would keep them as variables in the file, without their values.
    holder.variables_of_function = list(function.variables)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], holder)
    converter.allow_custom_ops = custom
    if precision in ("float16", "dynamic"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return converter
