"""A .tflite file, read without its interpreter: its facts, its digest, operators of its own."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_retinanet.exporting.facts import (
    FACTS_FILE,
    FLATBUFFER_DIGEST,
    LABELS_FILE,
    MAX_FACTS,
    labels_text,
)

# Of the form "mediapipe". Others, such as TensorFlow's own behind "Flex", may write files.
CUSTOM_OPERATORS = {b"TFLite_Detection_PostProcess"}


def tflite_facts(path: Path) -> bytes:
    """Return the text of the facts in a .tflite file; nothing if there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _member(archive, FACTS_FILE)
    except (zipfile.BadZipFile, KeyError):
        return b""


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MAX_FACTS:
        raise zipfile.BadZipFile(f"{name} larger than any")
    return archive.read(name)


def is_changed(path: Path, facts: Mapping[str, Any]) -> bool:
    """Return whether a .tflite file is other than its facts say."""
    with zipfile.ZipFile(path) as archive:
        end = min(entry.header_offset for entry in archive.infolist())
        has_labels = LABELS_FILE in archive.namelist()
        labels = _member(archive, LABELS_FILE) if has_labels else None
    wanted = labels_text(facts["class_names"]).encode()
    is_same = facts.get(FLATBUFFER_DIGEST) == hashlib.sha256(path.read_bytes()[:end]).hexdigest()
    return not is_same or labels not in (None, wanted)


def custom_operators(path: Path) -> list[str]:
    """Return the operators of a .tflite file that no export of ours has.

    Raises:
        Exception: of the reader, for offsets that lead outside of the file.
    """
    from tensorflow.lite.python.schema_py_generated import Model

    model = Model.GetRootAs(path.read_bytes(), 0)
    codes = (model.OperatorCodes(index) for index in range(model.OperatorCodesLength()))
    customs = {code.CustomCode() for code in codes} - {None, b""} - CUSTOM_OPERATORS
    return sorted(custom.decode(errors="replace") for custom in customs)
