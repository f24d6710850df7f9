"""TensorFlow Lite metadata: what a file says of its input, outputs and labels.

A flatbuffer of the schema of mediapipe/tasks/metadata/metadata_schema.fbs (version 1.5.0,
identifier "M001"); in the comments below a table's fields are counted as there, a union as two.
The labels and our own facts are a zip archive at the end of the file, as the schema's associated
files are.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np

from keras_retinanet.exporting.facts import (
    FACTS_FILE,
    FLATBUFFER_DIGEST,
    LABELS_FILE,
    facts_json,
    labels_text,
)

# The name under which a TensorFlow Lite model holds it.
METADATA_NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
# The newest thing used here is the group of tensors.
MIN_PARSER_VERSION = "1.2.0"
# AssociatedFileType
DESCRIPTIONS, TENSOR_AXIS_LABELS, TENSOR_VALUE_LABELS = 1, 2, 3
# ContentProperties
FEATURE, IMAGE, BOUNDING_BOX = 1, 2, 3
# ProcessUnitOptions
NORMALIZATION = 1
# ColorSpaceType, BoundingBoxType
RGB, BOUNDARIES = 1, 1
# Where left, top, right and bottom are among ymin, xmin, ymax, xmax.
LEFT_TOP_RIGHT_BOTTOM = np.array([1, 0, 3, 2], np.uint32)
# The names that MediaPipe knows the four outputs by.
MEDIAPIPE_NAMES = {
    "boxes": "location",
    "classes": "category",
    "scores": "score",
    "num": "number of detections",
}
# Of all files in the archive: equal models give equal bytes.
ARCHIVE_DATE = (1980, 1, 1, 0, 0, 0)


class _Tables(flatbuffers.Builder):
    """Writes tables by the numbers of their fields."""

    def text(self, text: str) -> int:
        return self.CreateString(text)

    def tables(self, offsets: Sequence[int]) -> int:
        """Return a vector of tables or texts."""
        self.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.PrependUOffsetTRelative(offset)
        return self.EndVector()

    def floats(self, *values: float) -> int:
        return self.CreateNumpyVector(np.array(values, np.float32))

    def table(self, *fields: int | np.uint8 | np.int32 | None) -> int:
        """Return a table of `fields` by number: an offset, a NumPy scalar, None for the default."""
        self.StartObject(len(fields))
        for slot, field in enumerate(fields):
            if isinstance(field, np.uint8):
                self.PrependUint8Slot(slot, int(field), 0)
            elif isinstance(field, np.int32):
                self.PrependInt32Slot(slot, int(field), 0)
            elif field is not None:
                self.PrependUOffsetTRelativeSlot(slot, field, 0)
        return self.EndObject()


def metadata(facts: Mapping[str, Any], name: str) -> bytes:
    """Return the metadata flatbuffer.

    Args:
        facts: of `model_facts`; the outputs are described in their order.
        name: of the model.
    """
    tables = _Tables(1024)
    is_raw = facts["outputs"][0]["name"] not in MEDIAPIPE_NAMES
    outputs = [
        _output(tables, output["name"], output["meaning"], is_raw=is_raw)
        for output in facts["outputs"]
    ]
    groups = None
    if not is_raw:
        title = tables.text("detection result")
        members = [tables.text(MEDIAPIPE_NAMES[name]) for name in ("boxes", "classes", "scores")]
        groups = tables.tables([tables.table(title, tables.tables(members))])
    # SubGraphMetadata: name 0, description 1, inputs 2, outputs 3, files 4, process units 5 6,
    # groups of inputs 7, of outputs 8
    graph = tables.table(
        *(None, None),
        tables.tables([_image(tables, facts["input"])]),
        tables.tables(outputs),
        tables.tables([_file(tables, FACTS_FILE, "Every choice of the model.", DESCRIPTIONS)]),
        *(None, None, None),
        groups,
    )
    # ModelMetadata: name 0, description 1, version 2, subgraphs 3, author 4, license 5, files 6,
    # min_parser_version 7
    origin = facts["metadata"]
    root = tables.table(
        tables.text(name),
        tables.text(_description(facts)),
        tables.text(f"keras_retinanet {facts['keras_retinanet']}"),
        tables.tables([graph]),
        None,
        tables.text(origin["license"]) if origin.get("license") else None,
        None,
        tables.text(MIN_PARSER_VERSION),
    )
    tables.Finish(root, file_identifier=IDENTIFIER)
    return bytes(tables.Output())


def _description(facts) -> str:
    names = ", ".join(f"{i}: {output['name']}" for i, output in enumerate(facts["outputs"]))
    return (
        f"RetinaNet, form {facts['form']}, {len(facts['class_names'])} classes. Outputs in order: "
        f"{names}. Everything else is in the file {FACTS_FILE} at the end of this one."
    )


def _image(tables: _Tables, source: Mapping[str, Any]) -> int:
    """Return the TensorMetadata of the one input."""
    height, width = source["image_size"]
    pad = ", ".join(f"{value:.0f}" for value in source["pad_value"])
    letterbox = {
        "top_left": "Resize the image with its aspect kept to fit in it, put it top left, and "
        f"fill the rest with the color ({pad}).",
        "stretch": "Stretch the image to it.",
    }[source["letterbox"]]
    # NormalizationOptions: mean 0, std 1. One value each: the means per channel are in the graph.
    normalization = tables.table(tables.floats(0.0), tables.floats(1.0))
    size = tables.table(np.int32(width), np.int32(height))  # ImageSize: width 0, height 1
    return _tensor(
        tables,
        "image",
        f"RGB, 0..255, {source['dtype']}, {height} x {width} pixels (height x width). {letterbox} "
        "No other normalization.",
        content=(IMAGE, tables.table(np.uint8(RGB), size), False),
        units=[tables.table(np.uint8(NORMALIZATION), normalization)],
        span=(tables.floats(255.0), tables.floats(0.0)),
    )


def _output(tables: _Tables, name: str, meaning: str, *, is_raw: bool) -> int:
    """Return the TensorMetadata of an output."""
    files = []
    kind = {"class_logits": TENSOR_AXIS_LABELS, "classes": TENSOR_VALUE_LABELS}.get(name)
    if kind:
        files = [_file(tables, LABELS_FILE, "Names of the classes, one a line.", kind)]
    properties, content = tables.table(), FEATURE
    if name == "boxes":
        # BoundingBoxProperties: index 0, type 1, coordinate_type 2 (0: ratio)
        order = tables.CreateNumpyVector(LEFT_TOP_RIGHT_BOTTOM)
        properties, content = tables.table(order, np.uint8(BOUNDARIES)), BOUNDING_BOX
    is_list = not is_raw and name != "num"
    return _tensor(
        tables,
        name if is_raw else MEDIAPIPE_NAMES[name],
        meaning,
        content=(content, properties, is_list),
        files=files,
    )


def _tensor(tables: _Tables, name, description, *, content, units=(), span=None, files=()) -> int:
    """Return a TensorMetadata.

    Args:
        content: its kind, its properties, and whether its third axis is a list of such.
        units: ProcessUnits.
        span: vectors of the highest and the lowest values.
        files: AssociatedFiles.
    """
    kind, properties, is_list = content
    # Content: content_properties 0 1, range 2; ValueRange: min 0, max 1
    value_range = tables.table(np.int32(2), np.int32(2)) if is_list else None
    # TensorMetadata: name 0, description 1, dimension_names 2, content 3, process_units 4,
    # stats 5, associated_files 6
    return tables.table(
        tables.text(name),
        tables.text(description),
        None,
        tables.table(np.uint8(kind), properties, value_range),
        tables.tables(units) if units else None,
        tables.table(*span) if span else None,  # Stats: max 0, min 1
        tables.tables(files) if files else None,
    )


def _file(tables: _Tables, name: str, description: str, kind: int) -> int:
    # AssociatedFile: name 0, description 1, type 2
    return tables.table(tables.text(name), tables.text(description), np.uint8(kind))


def with_files(
    flatbuffer: bytes, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
) -> bytes:
    """Return the whole file: the flatbuffer, then an archive with facts, labels and `arrays`.

    The facts tell the flatbuffer's digest: an interpreter of damaged bytes may end its process.
    """
    facts = {**facts, FLATBUFFER_DIGEST: hashlib.sha256(flatbuffer).hexdigest()}
    stream = io.BytesIO(flatbuffer)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, text in (
            (FACTS_FILE, facts_json(facts)),
            (LABELS_FILE, labels_text(facts["class_names"])),
        ):
            # Not compressed: MediaPipe reads them in place.
            archive.writestr(zipfile.ZipInfo(name, ARCHIVE_DATE), text)
        for name, values in (arrays or {}).items():
            with archive.open(zipfile.ZipInfo(name, ARCHIVE_DATE), "w") as member:
                np.save(member, values)
    return stream.getvalue()
