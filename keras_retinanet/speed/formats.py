"""Every exported form of a model in one table: AP, milliseconds, megabytes."""

import importlib.util
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.runner import evaluate
from keras_retinanet.exporting import onnx_file
from keras_retinanet.exporting.exported import load_exported
from keras_retinanet.exporting.folding import PRECISIONS
from keras_retinanet.exporting.onnx_file import export_onnx
from keras_retinanet.exporting.openvino_folder import export_openvino
from keras_retinanet.exporting.sample import Sample
from keras_retinanet.exporting.saved_model.folder import export_saved_model
from keras_retinanet.exporting.tflite import conversion
from keras_retinanet.exporting.tflite.conversion import export_tflite
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import save_model
from keras_retinanet.speed.tables import Table, time_row
from keras_retinanet.speed.timing import Times, measure

# Images that each form is timed on.
TIMED = 10
CALIBRATION = 32
SOURCE = ".keras"
# Files of one input size: kind -> its precisions, what writes it, its file, and what that needs.
_FIXED: dict[str, tuple[tuple[str, ...], Callable[..., None], str, tuple[str, ...]]] = {
    "TFLite": (conversion.PRECISIONS, export_tflite, "{}.tflite", ()),
    "ONNX": (onnx_file.PRECISIONS, export_onnx, "{}.onnx", ("tf2onnx", "onnxruntime")),
    "OpenVINO": (onnx_file.PRECISIONS, export_openvino, "openvino_{}", ("tf2onnx", "openvino")),
}
NOTES = [
    "Times are from a file's own input to detections, one image at a time: those of a SavedModel "
    "contain the resize, all others get a letterboxed image in float32.",
]


def formats(
    model: RetinaNet,
    dataset: Dataset,
    calibration: Dataset,
    folder: Path,
    *,
    only: Sequence[str] = (),
    repeat: int,
) -> list[Table]:
    """Export a model in every form, score each on a dataset, and time them in turn.

    Args:
        calibration: data whose images int8 is calibrated on.
        folder: that files are written to.
        only: the forms to write, by their names in the table; none: all.
    """
    canvas = usual_canvas(model, dataset)
    forms = _exporters(model, canvas, Sample(calibration, CALIBRATION))
    if unknown := [name for name in only if name not in forms]:
        raise UserError(f"Expected --only of {', '.join(forms)}. Received: {', '.join(unknown)}.")
    save_model(model, folder / "model.keras")
    detectors: dict[str, Any] = {SOURCE: model}
    sizes = {SOURCE: _megabytes(folder / "model.keras")}
    for name in only or forms:
        path = folder / forms[name][0]
        forms[name][1](path)
        detectors[name], sizes[name] = load_exported(path), _megabytes(path)
    metrics = {
        name: evaluate(detector, dataset, batch_size=1, progress=False)
        for name, detector in detectors.items()
    }
    images = list(Sample(dataset, TIMED))
    calls = {name: _detecting(detector, images) for name, detector in detectors.items()}
    times = measure(calls, repeat=repeat, wait=tf.test.experimental.sync_devices)
    title = (
        f"Formats: AP in percent and ms per image, {len(dataset.records)} images of "
        f"{dataset.name}, {dataset.split}, input {canvas[0]}x{canvas[1]}, "
        f"{model.config.backbone.name}"
    )
    return [Table(title, _rows(metrics, times, sizes, images=len(images)), NOTES)]


def _rows(
    metrics: dict[str, dict[str, Any]],
    times: dict[str, Times],
    sizes: dict[str, float],
    *,
    images: int,
) -> list[dict[str, Any]]:
    """Return a row for each form; `images` were detected in at a time."""
    source = metrics[SOURCE]["AP"]
    rows = []
    for name, found in metrics.items():
        timed = time_row(name, times[name], per=images)
        del timed["part"]
        rows.append(
            {
                "form": name,
                "AP": f"{100 * found['AP']:.2f}",
                "difference": f"{100 * (found['AP'] - source):+.2f}",
                "AP50": f"{100 * found['AP50']:.2f}",
                **timed,
                "MB": sizes[name],
            }
        )
    return rows


def usual_canvas(model: RetinaNet, dataset: Dataset) -> tuple[int, int]:
    """Return the (height, width) that most images of `dataset` are padded to by `model`."""
    sizes = model.preprocessing
    canvases = Counter(
        sizes.canvas_size(*sizes.resized_size(record.height, record.width))
        for record in dataset.records
    )
    return canvases.most_common(1)[0][0]


def _exporters(
    model: RetinaNet, canvas: tuple[int, int], calibration: Sample
) -> dict[str, tuple[str, Callable[[Path], None]]]:
    """Return name of a form -> file name and the function that writes it."""
    quiet: dict[str, Any] = {"say": lambda line: None}
    fixed: dict[str, Any] = {"image_size": canvas, "input_type": "float32", **quiet}
    forms: dict[str, tuple[str, Callable[[Path], None]]] = {}
    for precision in PRECISIONS:
        write = partial(export_saved_model, model, precision=precision, **quiet)
        forms[f"SavedModel {precision}"] = (f"saved_model_{precision}", write)
    for kind, (precisions, export, place, needed) in _FIXED.items():
        if not all(importlib.util.find_spec(name) for name in needed):
            continue
        for precision in precisions:
            write = partial(export, model, precision=precision, **fixed)
            if precision == "int8":
                write = partial(write, calibration=calibration)
            forms[f"{kind} {precision}"] = (place.format(precision), write)
    return forms


def _megabytes(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def _detecting(detector: Any, images: Sequence[np.ndarray]) -> Callable[[], None]:
    """Return the call that detects in all images, one at a time, from the detector's own input."""
    prepared = [detector.prepare(image) for image in images]
    batches = [(inputs[None], np.array([size], np.int32)) for inputs, size in prepared]

    def detect() -> None:
        for inputs, sizes in batches:
            detector.infer(inputs, sizes)

    return detect
