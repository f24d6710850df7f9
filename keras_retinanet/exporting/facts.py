"""The facts that travel with an exported file: written by every exporter, read back as JSON.

A SavedModel has them in `assets/model.json` and `assets/labels.txt`, OpenVINO's folder in files of
these names, a TFLite file as associated files, an ONNX file as its metadata property
"keras_retinanet".
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_retinanet.config.files import config_to_dict, metadata_from_dict
from keras_retinanet.errors import UserError
from keras_retinanet.version import __version__

if TYPE_CHECKING:  # commands ask `export_kind` before they pay for TensorFlow
    from keras_retinanet.modeling.preprocessing import Preprocessing
    from keras_retinanet.modeling.retinanet import RetinaNet

# Of exported files. A reader refuses a newer one; raise it when an older reader would be wrong.
EXPORT_FORMAT = 1
FACTS_FILE = "model.json"
LABELS_FILE = "labels.txt"
# Of real ones; the names of thousands of classes have some 100 KB.
MAX_FACTS = 16 << 20
# Among the facts, SHA-256 of what is loaded. Of a .tflite file: all before its archive; of an .onnx
# file: all but its properties; of a folder: file -> digest, of its graph and numbers.
FLATBUFFER_DIGEST = "flatbuffer_sha256"
MODEL_DIGEST = "model_sha256"
FILE_DIGESTS = "files_sha256"
# Key of an ONNX file's metadata properties.
FACTS_KEY = "keras_retinanet"
# What a reader needs: key -> its type in JSON.
NEEDED = {
    "export_format": int,
    "kind": str,
    "class_names": list,
    "class_ids": list,
    "config": dict,
    "metadata": dict,
    "input": dict,
    "outputs": list,
}
INPUT_TYPES = ("uint8", "float32")
LETTERBOXES = ("top_left", "stretch", None)
SAVED_MODEL_FILE = "saved_model.pb"
OPENVINO_FILE, OPENVINO_WEIGHTS = "model.xml", "model.bin"
# File in a folder -> kind of export that the folder is.
FOLDER_KINDS = {SAVED_MODEL_FILE: "saved_model", OPENVINO_FILE: "openvino"}
COREML_SUFFIX = ".mlpackage"
# Suffix of a file -> kind of export.
FILE_KINDS = {".tflite": "tflite", ".onnx": "onnx"}


def export_kind(path: str | Path) -> str | None:
    """Return the kind of export that a path looks like, such as "onnx"; None for others."""
    path = Path(path)
    for name, kind in FOLDER_KINDS.items():
        if (path / name).is_file():
            return kind
    return FILE_KINDS.get(path.suffix.lower())


def model_facts(
    model: "RetinaNet",
    *,
    kind: str,
    outputs: Mapping[str, str],
    form: str | None = None,
    precision: str = "float32",
    dtype: str = "uint8",
    image_size: tuple[int, int] | None = None,
    letterbox: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return what an exported file says of itself, as plain JSON values.

    Args:
        model: what is exported, its thresholds as exported.
        kind: "saved_model", "openvino", "tflite" or "onnx".
        outputs: name -> meaning (shape, unit, order), in the order of the file's outputs.
        form: "nms", "mediapipe" or "raw"; None where a file has all signatures.
        precision: of the weights, as `--precision` names it.
        dtype: of the images that the file takes.
        image_size: (height, width) in pixels of a fixed input; None if any size is taken.
        letterbox: how an image must be fitted into a fixed input: "top_left" keeps its aspect and
            pads at the bottom and right with `pad_value`, "stretch" does not; None if the file
            takes whole images.
        more: further facts of this kind of file.
    """
    return {
        "keras_retinanet": __version__,
        "export_format": EXPORT_FORMAT,
        "kind": kind,
        "form": form,
        "precision": precision,
        "class_names": list(model.class_names),
        "class_ids": [int(class_id) for class_id in model.class_ids],
        "config": config_to_dict(model.config),
        "metadata": metadata_from_dict(model.metadata),
        "input": {
            "dtype": dtype,
            "range": [0, 255],
            "color": "rgb",
            "image_size": list(image_size) if image_size else None,
            "letterbox": letterbox,
            "pad_value": list(model.preprocessing.mean_rgb),
        },
        "outputs": [{"name": name, "meaning": meaning} for name, meaning in outputs.items()],
        **more,
    }


def facts_json(facts: Mapping[str, Any]) -> str:
    """Return the text to store; `read_facts` is its inverse."""
    return json.dumps(facts, indent=2)


def read_facts(text: str | bytes, origin: str) -> dict[str, Any]:
    """Return the facts in `text`; `origin` names the file in errors.

    Raises:
        UserError: it is not what `facts_json` wrote, or a newer version wrote it.
    """
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        facts = None
    facts = facts if isinstance(facts, dict) else {}
    version = facts.get("export_format")
    if isinstance(version, int) and version > EXPORT_FORMAT:
        raise UserError(
            f"{origin} has export format {version}; this version reads up to {EXPORT_FORMAT}. "
            "Install a newer keras_retinanet."
        )
    if not _is_ours(facts):
        raise UserError(f"{origin} has no valid {FACTS_FILE} of `keras_retinanet export` inside.")
    return {**facts, "metadata": metadata_from_dict(facts["metadata"])}


def _is_ours(facts: Mapping[str, Any]) -> bool:
    """Return whether all that readers use is there."""
    if not all(isinstance(facts.get(key), kind) for key, kind in NEEDED.items()):
        return False
    given, size = facts["input"], facts["input"].get("image_size")
    return (
        len(facts["class_names"]) == len(facts["class_ids"])
        and all(isinstance(name, str) for name in facts["class_names"])
        and all(isinstance(facts.get(key) or "", str) for key in ("form", "precision"))
        and isinstance(facts.get("keras_retinanet"), str)
        and given.get("dtype") in INPUT_TYPES
        and given.get("letterbox", "") in LETTERBOXES
        and (
            size is None or (isinstance(size, list) and [type(side) for side in size] == [int] * 2)
        )
        and all(_is_output(output) for output in facts["outputs"])
    )


def _is_output(output: Any) -> bool:
    texts = (output.get("name"), output.get("meaning")) if isinstance(output, dict) else (None,)
    return all(isinstance(text, str) for text in texts)


def labels_text(class_names: list[str]) -> str:
    """Return `labels.txt`: one class name a line, in the order of the outputs."""
    return "".join(" ".join(name.split()) + "\n" for name in class_names)


def default_image_size(preprocessing: "Preprocessing") -> tuple[int, int]:
    """Return the fixed input (height, width) that holds any image at the model's own scale."""
    multiple = preprocessing.multiple
    return (-(-preprocessing.long_side // multiple) * multiple,) * 2
