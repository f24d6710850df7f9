"""A model's network as a package of Core ML, converted by coremltools.

Core ML runs on Apple's systems alone: a package that was written elsewhere was never run. Its
structure is checked: input and outputs by name, shape and type.
"""

import base64
import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import FACTS_KEY, default_image_size, facts_json, model_facts
from keras_retinanet.exporting.folding import folded
from keras_retinanet.exporting.staging import staged
from keras_retinanet.exporting.tflite.graphs import network_function
from keras_retinanet.modeling.retinanet import RetinaNet

PRECISIONS = ("float32", "float16")
# Key of the metadata: base64 of the anchors, which a constant output would round to half.
ANCHORS_KEY = "keras_retinanet_anchors"
OUTPUTS = {
    "class_logits": "(1, R, K) float32: before the sigmoid",
    "box_deltas": "(1, R, 4) float32: relative to the anchors, as config.box_coder says. The "
    f"anchors are the metadata {ANCHORS_KEY}: base64 of (R, 4) little-endian float32 x1, y1, x2, "
    "y2 in pixels of the network input",
}


def export_coreml(
    model: RetinaNet,
    out: Path,
    *,
    precision: str = "float32",
    image_size: tuple[int, int] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Write the network of `model` to the folder `out` (.mlpackage), whole or not at all.

    Its input `image` is an RGB image of one size, its outputs are those of `OUTPUTS`; decoding and
    suppression are the application's. It runs from iOS 16 and macOS 13 on.

    Args:
        model: whose normalization is in the package.
        out: a new folder.
        precision: of weights and arithmetic: "float32", or "float16", which Apple's neural
            engine needs.
        image_size: (height, width) in pixels; default the square that holds any image at the
            model's own scale.
        say: takes a line for each step.

    Raises:
        UserError: unknown `precision`, or coremltools is missing.
    """
    if precision not in PRECISIONS:
        raise UserError(
            f"Expected a precision of {', '.join(PRECISIONS)}. Received: precision={precision!r}."
        )
    with _quiet():
        tools = _import_coremltools()
    size = image_size or default_image_size(model.preprocessing)
    say("folding batch norms")
    network = folded(model)  # holds the variables that the function below only mentions
    function = network_function(network, size)
    say("converting to Core ML")
    with _quiet():
        package = _converted(tools, function, size, precision)
    facts = model_facts(
        model,
        kind="coreml",
        form="raw",
        precision=precision,
        image_size=size,
        letterbox="top_left",
        outputs=OUTPUTS,
    )
    anchors = model.anchors(*size).numpy().astype("<f4")
    package.user_defined_metadata[FACTS_KEY] = facts_json(facts)
    package.user_defined_metadata[ANCHORS_KEY] = base64.b64encode(anchors.tobytes()).decode()
    say("writing")
    with staged(Path(out)) as folder:
        package.save(str(folder))
        check_package(folder, {"class_logits": len(model.class_names), "box_deltas": 4}, anchors)


def _import_coremltools() -> Any:
    try:
        import coremltools
    except ImportError as error:
        raise UserError(
            "Expected coremltools, which writes packages of Core ML. Received: a Python without "
            "it. Install it: pip install coremltools."
        ) from error
    return coremltools


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide progress bars, and that it has not seen this TensorFlow nor runs on this system."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _converted(tools: Any, function: Any, size: tuple[int, int], precision: str) -> Any:
    """Return the package of a concrete function of the network, in memory."""
    image = tools.ImageType(
        name="image", shape=(1, *size, 3), color_layout=tools.colorlayout.RGB, channel_first=False
    )
    # TensorFlow orders a dict's outputs by their keys, and calls all of them Identity.
    given = {
        tensor.name.split(":")[0]: name
        for name, tensor in zip(sorted(OUTPUTS), function.outputs, strict=True)
    }
    package = tools.convert(
        [function],
        source="tensorflow",
        inputs=[image],
        outputs=[tools.TensorType(name=name, dtype=np.float32) for name in given],
        compute_precision=getattr(tools.precision, precision.upper()),
        convert_to="mlprogram",
        minimum_deployment_target=tools.target.iOS16,
        skip_model_load=True,
    )
    spec = package.get_spec()
    for old, new in given.items():
        tools.utils.rename_feature(spec, old, new)
    return tools.models.MLModel(spec, weights_dir=package.weights_dir, skip_model_load=True)


def check_package(folder: Path, channels: dict[str, int], anchors: np.ndarray) -> None:
    """Raise a ValueError if the package in `folder` has not the input and outputs that it says.

    Args:
        channels: output -> its last dimension.
        anchors: (R, 4) of the network input.
    """
    with _quiet():
        spec = _import_coremltools().utils.load_spec(str(folder))
    found = {
        output.name: tuple(output.type.multiArrayType.shape) for output in spec.description.output
    }
    wanted = {name: (1, len(anchors), count) for name, count in channels.items()}
    inputs = [source.name for source in spec.description.input]
    if found != wanted or inputs != ["image"]:
        raise ValueError(
            f"Expected an input image and the outputs {wanted}. Received: {inputs} and {found}."
        )
