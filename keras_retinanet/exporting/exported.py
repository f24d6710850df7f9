"""A path that `keras_retinanet export` wrote -> a detector; errors name damaged or foreign files.

An exported file is a program. What it says of itself is read as text; it is loaded only if it is
as it was exported and holds what exports of ours hold, or if the caller trusts it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_retinanet.config.files import model_config_from_dict
from keras_retinanet.config.model import ModelConfig
from keras_retinanet.errors import UserError, listed
from keras_retinanet.exporting import onnx_check, openvino_check
from keras_retinanet.exporting.detectors import (
    CanvasInput,
    ExportedDetector,
    ExportedFile,
    WholePictures,
)
from keras_retinanet.exporting.facts import (
    FILE_DIGESTS,
    FOLDER_KINDS,
    MODEL_DIGEST,
    OPENVINO_FILE,
    export_kind,
    read_facts,
)
from keras_retinanet.exporting.openvino_folder import OPTIONS, import_openvino
from keras_retinanet.exporting.saved_model import program_check
from keras_retinanet.exporting.tflite import tflite_check
from keras_retinanet.exporting.tflite.tflite_trial import make_interpreter, try_tflite
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import load, read_config

# How much of a runtime's own message a line shows.
SHOWN_REASON = 150
# Of what no export has, how many parts a line names, and how much of each.
SHOWN_PARTS, SHOWN_PART = 8, 60


class Kind(NamedTuple):
    """How one kind of file is handled.

    Attributes:
        facts: path -> the text of its facts, nothing run or built.
        doubt: path, facts -> why it is not trusted; None: it is.
        load: path, facts -> its detector.
    """

    facts: Callable[[Path], bytes]
    doubt: Callable[[Path, dict[str, Any]], str | None]
    load: Callable[[Path, dict[str, Any]], ExportedDetector]


def _saved_model_doubt(path: Path, facts: dict[str, Any]) -> str | None:
    if strange := program_check.strange_parts(path):
        return _holds(strange)
    if FILE_DIGESTS not in facts:  # exported before they were kept
        return None
    found = program_check.digests(path)
    return _is_changed(program_check.changed_files(found, facts[FILE_DIGESTS]))


def _openvino_doubt(path: Path, facts: dict[str, Any]) -> str | None:
    if strange := openvino_check.strange_parts(path):
        return _holds(strange)
    found = openvino_check.digests(path)
    return _is_changed(program_check.changed_files(found, facts.get(FILE_DIGESTS)))


def _tflite_doubt(path: Path, facts: dict[str, Any]) -> str | None:
    if tflite_check.is_changed(path, facts):
        return _is_changed(["it"])
    strange = tflite_check.custom_operators(path)
    return _holds([f"the operator {name}" for name in strange]) if strange else None


def _onnx_doubt(path: Path, facts: dict[str, Any]) -> str | None:
    if strange := onnx_check.strange_parts(path):
        return _holds(strange)
    if MODEL_DIGEST not in facts:  # exported before it was kept
        return None
    same = facts[MODEL_DIGEST] == onnx_check.model_digest(path.read_bytes())
    return None if same else _is_changed(["it"])


def _holds(parts: list[str]) -> str:
    shown = [ascii(part)[1:-1][:SHOWN_PART] for part in parts]
    return f"holds what no export has: {listed(shown, limit=SHOWN_PARTS)}"


def _is_changed(files: list[str]) -> str | None:
    if not files:
        return None
    shown = "" if files == ["it"] else f" ({ascii(files[0])[1:-1][:SHOWN_PART]})"
    return f"is damaged or was changed: its bytes{shown} are not those that were exported"


def _load_tflite(path: Path, facts: dict[str, Any]) -> ExportedDetector:
    content = path.read_bytes()
    try_tflite(path, content)
    interpreter = make_interpreter(content)
    source = interpreter.get_input_details()[0]["index"]
    targets = interpreter.get_output_details()

    def run(inputs):
        interpreter.set_tensor(source, inputs)
        interpreter.invoke()
        return [
            _as_float(interpreter.get_tensor(target["index"]), *target["quantization"])
            for target in targets
        ]

    return CanvasInput(path, facts, run, takes_batches=False)


def _as_float(values: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Return what the integers of an output stand for; floats, whose scale is 0, as they are."""
    return (values.astype(np.float32) - zero_point) * np.float32(scale) if scale else values


def _load_onnx(path: Path, facts: dict[str, Any]) -> ExportedDetector:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"Expected onnxruntime, which runs .onnx files. Received: {path} without it. "
            "Install it: pip install onnxruntime."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(
        str(path), options, providers=onnxruntime.get_available_providers()
    )
    source = session.get_inputs()[0]
    return CanvasInput(
        path,
        facts,
        lambda inputs: session.run(None, {source.name: inputs}),
        takes_batches=not isinstance(source.shape[0], int),
    )


def _load_openvino(path: Path, facts: dict[str, Any]) -> ExportedDetector:
    openvino = import_openvino()
    compiled = openvino.Core().compile_model(path / OPENVINO_FILE, "CPU", OPTIONS)
    source = compiled.input(0)

    def run(inputs):
        results = compiled({source: inputs})
        return [results[output] for output in compiled.outputs]

    return CanvasInput(path, facts, run, takes_batches=source.partial_shape[0].is_dynamic)


_KINDS = {
    "saved_model": Kind(program_check.saved_model_facts, _saved_model_doubt, WholePictures),
    "tflite": Kind(tflite_check.tflite_facts, _tflite_doubt, _load_tflite),
    "openvino": Kind(openvino_check.openvino_facts, _openvino_doubt, _load_openvino),
    "onnx": Kind(onnx_check.onnx_facts, _onnx_doubt, _load_onnx),
}


def describe_exported(path: str | Path) -> ExportedFile:
    """Read the facts of an exported file, and why it is not trusted, if it is not.

    Nothing of it is loaded or run.

    Raises:
        UserError: it is not there, damaged, not of this package or of a newer one.
    """
    path = Path(path)
    with _opened(path) as (kind, facts):
        return ExportedFile(path, facts, doubt=kind.doubt(path, facts))


def load_exported(path: str | Path, *, trust: bool = False) -> ExportedDetector:
    """Read a file that `keras_retinanet export` wrote.

    Args:
        path: a SavedModel's or OpenVINO's folder, a .tflite or an .onnx file.
        trust: run it even if it was changed since its export, or holds what exports of ours never
            do, such as operators that read and write files.

    Raises:
        UserError: it is not there, damaged, not of this package, of a newer one, or not trusted.
    """
    path = Path(path)
    with _opened(path) as (kind, facts):
        doubt = None if trust else kind.doubt(path, facts)
        if doubt is not None:
            raise UserError(
                f"Expected a file as keras_retinanet exports it. Received: {path}, which {doubt}. "
                "Such a file is a program that runs with your rights: export it again, or, if you "
                "trust who made it, give --trust (in Python trust=True)."
            )
        return kind.load(path, facts)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Kind, dict[str, Any]]]:
    """Give the kind and the facts of a file.

    Whatever a parser or a runtime raises in the block becomes a UserError that names the file.
    """
    name = export_kind(path)
    is_folder = name in FOLDER_KINDS.values()
    if name is None or not path.exists() or not (is_folder or path.is_file()):
        raise UserError(
            "Expected a SavedModel's or OpenVINO's folder, a .tflite or an .onnx file. "
            f"Received: {path}{', no file' if path.exists() else ', not there'}."
        )
    kind = _KINDS[name]
    try:
        yield kind, read_facts(kind.facts(path), str(path))
    except UserError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0][:SHOWN_REASON] or type(error).__name__
        raise UserError(f"{path} is damaged or not of this package: {reason}") from error


def stored_config(path: str | Path) -> ModelConfig:
    """Return the configuration of the model file `path`, of which nothing is built or run."""
    if export_kind(path) is not None:
        return describe_exported(path).config
    return model_config_from_dict(read_config(path)["model"])


def load_detector(path: str | Path, *, trust: bool = False) -> RetinaNet | ExportedDetector:
    """Return the detector of the model file `path`: a `.keras` file or an exported one.

    Args:
        path: of the file, or a SavedModel's or OpenVINO's folder.
        trust: as `load_exported` takes it; a `.keras` file runs nothing.
    """
    return load(path) if export_kind(path) is None else load_exported(path, trust=trust)
