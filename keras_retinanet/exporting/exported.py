"""A path that `keras_retinanet export` wrote -> a detector; what is damaged or foreign is named."""

import hashlib
import os
import warnings
import zipfile
from pathlib import Path

import tensorflow as tf

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.detectors import CanvasInput, ExportedDetector, WholePictures
from keras_retinanet.exporting.facts import (
    FACTS_FILE,
    FACTS_KEY,
    FLATBUFFER_DIGEST,
    export_kind,
    read_facts,
)
from keras_retinanet.model import RetinaNet
from keras_retinanet.saving import load

# How much of a runtime's own message a line shows.
SHOWN_REASON = 150


def _saved_model(path: Path) -> ExportedDetector:
    facts = path / "assets" / FACTS_FILE
    return WholePictures(
        path, read_facts(facts.read_bytes() if facts.is_file() else b"", str(path))
    )


def _tflite(path: Path) -> ExportedDetector:
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(FACTS_FILE)
            end = min(entry.header_offset for entry in archive.infolist())
    except (zipfile.BadZipFile, KeyError):
        text, end = b"", 0
    facts = read_facts(text, str(path))
    # An interpreter of damaged bytes may end the process.
    digest = hashlib.sha256(path.read_bytes()[:end]).hexdigest()
    if facts.get(FLATBUFFER_DIGEST) != digest:
        raise UserError(f"{path} is damaged: its bytes are not those that were exported.")
    with warnings.catch_warnings():
        # It advises to install ai-edge-litert; what TensorFlow brings along runs the same files.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = tf.lite.Interpreter(str(path), num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    targets = [details["index"] for details in interpreter.get_output_details()]

    def run(inputs):
        interpreter.set_tensor(source, inputs)
        interpreter.invoke()
        return [interpreter.get_tensor(target) for target in targets]

    return CanvasInput(path, facts, run, takes_batches=False)


def _onnx(path: Path) -> ExportedDetector:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"Expected onnxruntime, which runs .onnx files. Received: {path} without it. "
            "Install it: pip install 'keras_retinanet[onnx]'."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(
        str(path), options, providers=onnxruntime.get_available_providers()
    )
    stored = session.get_modelmeta().custom_metadata_map.get(FACTS_KEY, "")
    source = session.get_inputs()[0]
    return CanvasInput(
        path,
        read_facts(stored, str(path)),
        lambda inputs: session.run(None, {source.name: inputs}),
        takes_batches=not isinstance(source.shape[0], int),
    )


_LOADERS = {"saved_model": _saved_model, "tflite": _tflite, "onnx": _onnx}


def load_exported(path: str | Path) -> ExportedDetector:
    """Read a file that `keras_retinanet export` wrote.

    Args:
        path: a SavedModel's folder, a .tflite or an .onnx file.

    Raises:
        UserError: it is not there, damaged, not of this package, or of a newer one.
    """
    path, kind = Path(path), export_kind(path)
    if kind is None or not path.exists():
        raise UserError(
            "Expected a SavedModel's folder, a .tflite or an .onnx file. "
            f"Received: {path}{'' if path.exists() else ', not there'}."
        )
    try:
        return _LOADERS[kind](path)
    except UserError:
        raise
    except Exception as error:  # Each runtime raises whatever its parser raised.
        reason = (str(error).splitlines() or [""])[0][:SHOWN_REASON] or type(error).__name__
        raise UserError(f"{path} is damaged or not of this package: {reason}") from error


def load_detector(path: str | Path) -> RetinaNet | ExportedDetector:
    """Return what detects with the model file `path`: a `.keras` file or an exported one."""
    return load(path) if export_kind(path) is None else load_exported(path)
