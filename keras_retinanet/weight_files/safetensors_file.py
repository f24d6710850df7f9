"""safetensors files: a JSON header of names, dtypes, shapes and places, then the bytes.

Read here and not by the package of that name: the format is one page, this gives views of the
mapped file where the package copies, and bfloat16, which its NumPy half lacks.
Source: the format's description in the README of huggingface/safetensors.
"""

import json
import math
from typing import Any

import ml_dtypes
import numpy as np

from keras_retinanet.weight_files.checkpoint import (
    Checkpoint,
    Damaged,
    checked_shape,
    collect,
    natural,
)

DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
# Some 130 bytes a tensor; the format's own limit of 100 MB would take gigabytes of Python objects.
MAX_HEADER = 16 << 20


def is_safetensors(view: memoryview) -> bool:
    """Return whether the bytes begin as this format does: a header's length, then the header."""
    return view[8:9] == b"{" and int.from_bytes(view[:8], "little") < MAX_HEADER


def read_safetensors(view: memoryview) -> Checkpoint:
    """Read a safetensors file from its bytes; tensors are views of them.

    Raises:
        Damaged, or any other Exception: the bytes are not what the format says.
    """
    start = 8 + int.from_bytes(view[:8], "little")
    if start > len(view):
        raise Damaged("the header is cut off")
    header = json.loads(bytes(view[8:start]))
    metadata = header.pop("__metadata__", None) or {}
    tensors = {name: _tensor(view[start:], entry) for name, entry in header.items()}
    tensors, _ = collect(tensors, lambda leaf: leaf)
    texts = {name: text for name, text in metadata.items() if isinstance(text, str)}
    return Checkpoint(tensors, texts, kind="safetensors")


def _tensor(data: memoryview, entry: dict[str, Any]) -> np.ndarray:
    if entry["dtype"] not in DTYPES:
        raise Damaged("a tensor of a kind that is not read")
    dtype = DTYPES[entry["dtype"]]
    shape = checked_shape(entry["shape"])
    begin, end = (natural(place) for place in entry["data_offsets"])
    size = dtype.itemsize * math.prod(shape)
    if end > len(data) or end - begin != size:
        raise Damaged(f"a tensor of shape {shape[:8]} that its bytes do not fill")
    return np.frombuffer(data[begin:end], dtype).reshape(shape)
