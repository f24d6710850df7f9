"""A model as one ONNX file, converted by tf2onnx from the graph that `detect` runs.

So decoding and suppression are this package's own, and the same for any option of a model.

Shape letters: B images, R anchors, K classes, N detections.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import FACTS_KEY, MODEL_DIGEST, facts_json, model_facts
from keras_retinanet.exporting.folding import folded
from keras_retinanet.exporting.onnx_check import model_digest
from keras_retinanet.exporting.plain_detections import PlainPostProcessing
from keras_retinanet.exporting.sample import network_inputs
from keras_retinanet.files import atomic_path
from keras_retinanet.modeling.anchors import spatial_shape
from keras_retinanet.modeling.post_processing import PostProcessing
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.version import __version__

# The newest operator set that tf2onnx writes; onnxruntime reads it since 1.14 (2023).
OPSET = 18
PRECISIONS = ("float32", "float16", "int8")
# Form -> usual dtype of its images.
DTYPES = {"nms": "uint8", "raw": "float32"}
# Form -> its outputs: name -> (dimensions, meaning), in their order.
OUTPUTS: dict[str, dict[str, tuple[tuple[str | int, ...], str]]] = {
    "nms": {
        "boxes": (
            ("batch", "detections", 4),
            "(B, N, 4) float32 ymin, xmin, ymax, xmax in 0..1 of the input, best first",
        ),
        "classes": (("batch", "detections"), "(B, N) float32 index into class_names, from 0"),
        "scores": (("batch", "detections"), "(B, N) float32 in 0..1; 0 past num"),
        "num": (("batch",), "(B,) int32, how many of the N rows are detections"),
    },
    "raw": {
        "class_logits": (("batch", "anchors", "classes"), "(B, R, K) float32 before the sigmoid"),
        "box_deltas": (("batch", "anchors", 4), "(B, R, 4) float32, as config.box_coder decodes"),
        "anchors": ((1, "anchors", 4), "(1, R, 4) float32 x1, y1, x2, y2 in pixels of the input"),
    },
}


def export_onnx(
    model: RetinaNet,
    out: Path,
    *,
    form: str = "nms",
    precision: str = "float32",
    image_size: tuple[int, int] | None = None,
    input_type: str | None = None,
    calibration: Iterable[np.ndarray] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Write `model` to the file `out` (.onnx), with its facts as the property "keras_retinanet".

    Its input `images` is (B, H, W, 3) RGB 0..255, letterboxed by `Preprocessing`. B is free, but 1
    where boxes of all classes suppress each other (`detections.suppress` "best_class").

    Args:
        model: the detector, with the thresholds to export.
        out: file to write.
        form: "nms": boxes, classes, scores, num, by the operator NonMaxSuppression. "raw":
            class_logits, box_deltas and the anchors that they are relative to.
        precision: of the network: "float32"; "float16", weights and most activations; "int8",
            convolutions and what joins them. Normalization, inputs, outputs, decoding and
            suppression are float32 always.
        image_size: (height, width) in pixels, if the input shall have this size alone; None for
            any size.
        input_type: "uint8" (usual for "nms") or "float32" (usual for "raw"), which spares a
            resized image its rounding.
        calibration: uint8 RGB images (H, W, 3) of any sizes, for "int8" alone.
        say: takes a line for each step.

    Raises:
        UserError: an unknown choice, "int8" without images, or tf2onnx is missing.
    """
    file = onnx_model(
        model,
        form=form,
        precision=precision,
        image_size=image_size,
        input_type=input_type,
        calibration=calibration,
        say=say,
    )
    say("writing")
    _write(file, Path(out))


def onnx_model(
    model: RetinaNet,
    *,
    form: str,
    precision: str,
    image_size: tuple[int, int] | None,
    input_type: str | None,
    calibration: Iterable[np.ndarray] | None,
    say: Callable[[str], None],
) -> Any:
    """Return the `ModelProto` that `export_onnx` writes, whose arguments these are."""
    dtype = _checked_dtype(form, precision, input_type)
    tf2onnx = _import_tf2onnx()
    say("folding batch norms")
    half = {"precision": "float16", "compute": "float16"} if precision == "float16" else {}
    network = folded(model, **half)
    say("tracing")
    picture = tf.TensorSpec((*(image_size or (None, None)), 3), dtype)
    function = _graph(model, network, form, picture)
    say("converting to ONNX")
    file, _ = tf2onnx.convert.from_function(
        function, input_signature=function.input_signature, opset=OPSET
    )
    if precision == "int8":
        from keras_retinanet.exporting.onnx_quantization import int8_file

        say("calibrating and quantizing")
        file = int8_file(file, network_inputs(model.preprocessing, calibration, image_size, dtype))
    _describe(file, model, form, precision=precision, image_size=image_size, dtype=dtype)
    return file


def _checked_dtype(form: str, precision: str, input_type: str | None) -> str:
    """Return the dtype of the input; refuse what is unknown."""
    if form not in OUTPUTS:
        raise UserError(f"Expected a form of {', '.join(OUTPUTS)}. Received: form={form!r}.")
    if precision not in PRECISIONS:
        raise UserError(
            f"Expected a precision of {', '.join(PRECISIONS)}. Received: precision={precision!r}."
        )
    dtype = input_type or DTYPES[form]
    if dtype not in DTYPES.values():
        raise UserError(f"Expected input_type to be uint8 or float32. Received: {input_type!r}.")
    return dtype


def _import_tf2onnx() -> Any:
    try:
        import tf2onnx
    except ImportError as error:
        raise UserError(
            "Expected tf2onnx, which writes ONNX files. Received: a Python without it. "
            "Install it: pip install tf2onnx onnx onnxruntime."
        ) from error
    return tf2onnx


def _graph(model: RetinaNet, network: Any, form: str, picture: tf.TensorSpec) -> Any:
    """Return the tf.function of a form, of one input `images`, each as `picture`."""
    post_processing = _post_processing(model)
    single = form == "nms" and isinstance(post_processing, PlainPostProcessing)

    def run(images):
        canvas = spatial_shape(images)
        outputs = network(tf.cast(images, tf.float32), training=False)
        if form == "raw":
            return {**outputs, "anchors": model.anchors(*canvas)[None]}
        size = tf.stack([canvas])  # the file takes each input for a whole image
        found = model.detect_outputs(outputs, canvas, size, post_processing)
        height, width = tf.unstack(tf.cast(size[0], tf.float32))
        x1, y1, x2, y2 = tf.unstack(found.boxes, axis=-1)
        return {
            "boxes": tf.stack([y1 / height, x1 / width, y2 / height, x2 / width], axis=-1),
            "classes": tf.cast(found.classes, tf.float32),
            "scores": found.scores,
            "num": found.num,
        }

    shape = (1 if single else None, *picture.shape)
    return tf.function(run, input_signature=[tf.TensorSpec(shape, picture.dtype, name="images")])


def _post_processing(model: RetinaNet) -> PostProcessing:
    """Return the suppression without a loop over images, which OpenVINO cannot read."""
    options = vars(model.config.detections)
    if model.config.detections.suppress == "best_class":
        return PlainPostProcessing(**options)
    return PostProcessing(**options)  # its operator becomes NonMaxSuppression per class


def _describe(
    file: Any,
    model: RetinaNet,
    form: str,
    *,
    precision: str,
    image_size: tuple[int, int] | None,
    dtype: str,
) -> None:
    """Order the outputs, name their free dimensions and store the facts."""
    import onnx

    outputs = {output.name: output for output in file.graph.output}
    del file.graph.output[:]
    file.graph.output.extend(outputs[name] for name in OUTPUTS[form])
    for output in file.graph.output:
        _name_dimensions(output, OUTPUTS[form][output.name][0])
    _name_dimensions(file.graph.input[0], ("batch", "height", "width", 3))
    facts = model_facts(
        model,
        kind="onnx",
        form=form,
        precision=precision,
        dtype=dtype,
        image_size=image_size,
        letterbox="top_left",
        outputs={name: meaning for name, (_, meaning) in OUTPUTS[form].items()},
    )
    file.producer_name, file.producer_version = "keras_retinanet", __version__
    facts[MODEL_DIGEST] = model_digest(file.SerializeToString())
    onnx.helper.set_model_props(file, {FACTS_KEY: facts_json(facts)})


def _name_dimensions(value: Any, names: tuple[str | int, ...]) -> None:
    """Give the dimensions of `value` that have no size a name; tf2onnx numbers them."""
    for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
        if not dimension.dim_value:
            dimension.dim_param = name


def _write(file: Any, out: Path) -> None:
    import onnx

    with atomic_path(out) as temporary:
        onnx.save_model(file, temporary)
        # Refuses an operator that the converter did not know and has left as TensorFlow's.
        onnx.checker.check_model(temporary)
