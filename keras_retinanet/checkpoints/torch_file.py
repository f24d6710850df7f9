"""PyTorch weight files read without torch, and without executing anything they contain.

`torch.save` pickles a structure whose tensors are calls of `torch._utils._rebuild_tensor_v2` on
numbered storages, and lays the storages' raw bytes beside it, in one of two forms:
  legacy (before torch 1.6): magic number, protocol, machine facts, the structure, the list of
    storage keys, then per storage an int64 count and its bytes, all in one stream;
  zip: members `<folder>/data.pkl` and `<folder>/data/<key>`, stored uncompressed.
A pickle can name any function to call, so this reader admits four names and refuses the rest.
"""

import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from keras_retinanet.errors import UserError

STORAGE_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
# Far above any real model, far below what nested shared containers can be made to unfold to.
MAX_NODES = 1_000_000


class _Damaged(Exception):
    """The bytes are not what the format says; `read_torch_file` adds the path and the advice."""


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: str  # a key of STORAGE_DTYPES
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage, in elements; checked only when its bytes are at hand."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any


class _StateDict(dict[Any, Any]):
    """Stands for collections.OrderedDict; drops the `_metadata` that torch hangs on it."""

    def __setstate__(self, state: object) -> None:
        pass


class _TensorUnpickler(pickle.Unpickler):
    """Builds `_Tensor`s, plain containers and plain values, and refuses every other name."""

    def __init__(self, pickled: bytes) -> None:
        super().__init__(io.BytesIO(pickled), encoding="latin1")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _StateDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return self._rebuild_parameter
        if module == "torch" and name in STORAGE_DTYPES:
            return name
        raise UserError(
            "expected a file of plain tensors. Received: a pickle that calls "
            f"{module}.{name}, which is not run. Save the weights alone: "
            "torch.save(model.state_dict(), path)."
        )

    def persistent_load(self, pid: Any) -> _Storage:
        tag, kind, key, _device, count = pid[:5]
        # A sixth entry is a legacy view of another storage; torch stopped writing them in 0.4.
        if tag != "storage" or kind not in STORAGE_DTYPES or any(pid[5:]):
            raise _Damaged("a storage of an unknown kind")
        storage = _Storage(str(key), kind, _natural(count))
        if self.storages.setdefault(storage.key, storage) != storage:
            raise _Damaged("one storage described in two ways")
        return storage

    # Bound methods, because a pickle may try to set attributes on whatever it is given.
    def _rebuild_tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Any:
        return _Tensor(storage, offset, shape, strides)

    def _rebuild_parameter(self, tensor: Any, *_: Any) -> Any:
        return tensor


def _natural(value: object) -> int:
    if type(value) is not int or value < 0:
        raise _Damaged(f"a size of {value!r}")
    return value


def _next_pickle(stream: io.BytesIO) -> bytes:
    """The bytes of the pickle that starts here; leaves the stream behind it.

    Read opcode by opcode first: a pickle of 10 bytes can make the C unpickler allocate a memo of
    many GiB, by storing its first object under a huge number.
    """
    start = stream.tell()
    size = len(stream.getbuffer())
    for opcode, argument, _ in pickletools.genops(stream):
        if "PUT" in opcode.name and int(argument or 0) > size:
            raise _Damaged("a memo index larger than the file")
    end = stream.tell()
    stream.seek(start)
    return stream.read(end - start)


def _storage_array(storage: _Storage, raw: bytes | memoryview) -> np.ndarray:
    dtype = STORAGE_DTYPES[storage.kind]
    if len(raw) < storage.count * dtype.itemsize:
        raise _Damaged(f"storage {storage.key} is cut off")
    return np.frombuffer(raw, dtype, storage.count)


def _read_legacy(content: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """The structure and its storages (views of `content`) from the legacy form."""
    stream = io.BytesIO(content)
    magic, protocol, machine = (_TensorUnpickler(_next_pickle(stream)).load() for _ in range(3))
    if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL or not machine["little_endian"]:
        raise _Damaged("not the header that torch.save writes")
    unpickler = _TensorUnpickler(_next_pickle(stream))
    structure = unpickler.load()
    arrays = {}
    for key in _TensorUnpickler(_next_pickle(stream)).load():
        storage = unpickler.storages[key]
        count = int.from_bytes(stream.read(8), "little")
        if count != storage.count:
            raise _Damaged(f"storage {key} is cut off or has another length than announced")
        start = stream.tell()
        stream.seek(start + count * STORAGE_DTYPES[storage.kind].itemsize)
        arrays[key] = _storage_array(storage, memoryview(content)[start : stream.tell()])
    return structure, arrays


def _read_zip(content: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """The structure and its storages from the zip form."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    members = {info.filename: info for info in archive.infolist()}
    pickled = next(name for name in members if name == "data.pkl" or name.endswith("/data.pkl"))
    folder = pickled.removesuffix("data.pkl")
    # Uncompressed as torch writes them, and together no larger than the file: no bombs.
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise _Damaged("compressed members, which torch.save does not write")
    if sum(info.file_size for info in members.values()) > len(content):
        raise _Damaged("members larger than the file")
    order = f"{folder}byteorder"
    if order in members and archive.read(order) != b"little":
        raise _Damaged("big-endian numbers")
    unpickler = _TensorUnpickler(_next_pickle(io.BytesIO(archive.read(pickled))))
    structure = unpickler.load()
    arrays = {
        key: _storage_array(storage, archive.read(f"{folder}data/{key}"))
        for key, storage in unpickler.storages.items()
    }
    return structure, arrays


def _named_tensors(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every node below `node` with its dotted path; containers and values come along as None."""
    yield name, node if isinstance(node, _Tensor) else None
    if isinstance(node, dict):
        children: Any = node.items()
    elif isinstance(node, (list, tuple)):
        children = enumerate(node)
    else:
        return
    for key, child in children:
        yield from _named_tensors(child, f"{name}.{key}" if name else str(key))


def _view(tensor: _Tensor, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The tensor as a read-only strided view of its storage: nothing is allocated."""
    storage = arrays[tensor.storage.key]
    shape = tuple(_natural(side) for side in tensor.shape)
    strides = tuple(_natural(stride) for stride in tensor.strides)
    first, count = _natural(tensor.offset), math.prod(shape)
    last = first + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    # A stride of 0 lets a few bytes pose as terabytes: not more elements than the storage has.
    if count and (last >= storage.size or count > storage.size):
        raise _Damaged(f"a tensor of shape {shape} beyond its storage of {storage.size}")
    if not count:
        return np.zeros(shape, storage.dtype)
    steps = tuple(step * storage.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(storage[first:], shape, steps, writeable=False)


def _tensors(content: bytes) -> dict[str, np.ndarray]:
    reader = _read_zip if content[:4] == b"PK\x03\x04" else _read_legacy
    structure, arrays = reader(content)
    tensors: dict[str, np.ndarray] = {}
    for visited, (name, tensor) in enumerate(_named_tensors(structure)):
        if visited > MAX_NODES:
            raise _Damaged(f"more than {MAX_NODES} entries")
        if tensor is not None:
            tensors[name] = _view(tensor, arrays)
    return tensors


def read_torch_file(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a file written by `torch.save`, without torch; executes nothing.

    Args:
        path: a `.pth` or `.pt` file of either form that holds tensors in dicts, lists and
            tuples, such as a state dict or a training checkpoint around one.

    Returns:
        The tensors by name in the file's order, nested containers joined by dots
        (`state_dict.conv1.weight`); other values are left out. Each array has the tensor's shape
        and dtype and is a read-only view, with the strides the file gives, of a storage that
        several tensors may share.

    Raises:
        UserError: the file is missing, damaged, not of this format, or names anything to call
            but what builds tensors; the message is one line and names the file.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(
            f"expected a readable weight file. Received: {path} ({error.strerror})."
        ) from error
    try:
        return _tensors(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    # Whatever nonsense does to the parsers above, the finding is the same.
    except Exception as error:
        raise UserError(
            f"expected a whole weight file written by torch.save. Received: {path} "
            f"({error or type(error).__name__}). Fetch it again, or save it anew."
        ) from error
