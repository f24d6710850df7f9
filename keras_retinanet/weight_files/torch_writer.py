"""Tensors -> a file that PyTorch reads, without torch: its zip form, or safetensors.

Tensors are made and written one at a time, so that a file takes the memory of its largest tensor.
The zip form is what `torch.load(weights_only=True)` reads: `<folder>/data.pkl`, a pickle of an
OrderedDict whose tensors name storages, and `<folder>/data/<key>`, the storages' bytes
(torch/serialization.py, caffe2/serialize/inline_container.cc).
"""

import json
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from keras_retinanet.files import atomic_path
from keras_retinanet.files.targets import MARK
from keras_retinanet.version import __version__

# dtype -> (torch's storage class, the name in safetensors).
DTYPES = {
    np.dtype("float32"): ("FloatStorage", "F32"),
    np.dtype("int64"): ("LongStorage", "I64"),
}
FOLDER = "archive"
# Storages start at multiples of it, as torch puts them, so that they can be mapped.
ALIGNMENT = 64
# Of a zip member's header before its name and its extra field (APPNOTE 4.3.7).
_HEADER = 30
# A zip member needs a date; a fixed one makes equal tensors equal files.
_DATE = (1980, 1, 1, 0, 0, 0)


class Tensor(NamedTuple):
    """A tensor to write; `values` is called once, when its turn comes."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    values: Callable[[], np.ndarray]


def write_tensors(path: str | Path, tensors: Sequence[Tensor]) -> None:
    """Write a state dict to `path`: safetensors if its suffix says so, else torch's zip form.

    Args:
        tensors: in the order of the state dict; float32 or int64.
    """
    write = _write_safetensors if Path(path).suffix == ".safetensors" else _write_zip
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        write(stream, tensors)


def _bytes(tensor: Tensor) -> memoryview:
    values = np.ascontiguousarray(tensor.values(), tensor.dtype.newbyteorder("<"))
    return values.reshape(-1).view(np.uint8).data


# --------------------------------------------------------------------------------- torch's zip


def _write_zip(stream: BinaryIO, tensors: Sequence[Tensor]) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, stream, "data.pkl", memoryview(_pickled(tensors)))
        _add(archive, stream, "byteorder", memoryview(b"little"))
        for key, tensor in enumerate(tensors):
            _add(archive, stream, f"data/{key}", _bytes(tensor))
        _add(archive, stream, "version", memoryview(b"3\n"))
        _add(archive, stream, MARK, memoryview(__version__.encode()))


def _add(archive: zipfile.ZipFile, stream: BinaryIO, name: str, content: memoryview) -> None:
    member = zipfile.ZipInfo(f"{FOLDER}/{name}", _DATE)
    # An extra field of id "FB", which readers skip, fills up to the alignment.
    start = stream.tell() + _HEADER + len(member.filename) + 4
    padding = -start % ALIGNMENT
    member.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    archive.writestr(member, content)


def _pickled(tensors: Sequence[Tensor]) -> bytes:
    """The pickle of OrderedDict {name: _rebuild_tensor_v2(storage, 0, shape, strides, ...)}."""
    opcodes = [pickle.PROTO, b"\x02", _EMPTY_DICT, pickle.MARK]
    for key, tensor in enumerate(tensors):
        count = math.prod(tensor.shape)
        storage, _ = DTYPES[tensor.dtype]
        opcodes += [
            _text(tensor.name),
            _name("torch._utils", "_rebuild_tensor_v2"),
            pickle.MARK,
            *(pickle.MARK, _text("storage"), _name("torch", storage), _text(str(key))),
            *(_text("cpu"), _int(count), pickle.TUPLE, pickle.BINPERSID),
            *(_int(0), _ints(tensor.shape), _ints(_strides(tensor.shape))),
            *(pickle.NEWFALSE, _EMPTY_DICT),  # no gradient, no hooks
            *(pickle.TUPLE, pickle.REDUCE),
        ]
    return b"".join([*opcodes, pickle.SETITEMS, pickle.STOP])


def _name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    encoded = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _int(number: int) -> bytes:
    return pickle.BININT + struct.pack("<i", number)


def _ints(numbers: Sequence[int]) -> bytes:
    return pickle.MARK + b"".join(map(_int, numbers)) + pickle.TUPLE


def _strides(shape: tuple[int, ...]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


_EMPTY_DICT = _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE


# -------------------------------------------------------------------------------- safetensors


def _write_safetensors(stream: BinaryIO, tensors: Sequence[Tensor]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt", "writer": MARK}}
    end = 0
    for tensor in tensors:
        start, end = end, end + math.prod(tensor.shape) * tensor.dtype.itemsize
        _, dtype = DTYPES[tensor.dtype]
        header[tensor.name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # the data starts at a multiple of 8
    stream.write(struct.pack("<Q", len(encoded)) + encoded)
    for tensor in tensors:
        stream.write(_bytes(tensor))
