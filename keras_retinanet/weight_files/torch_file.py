"""PyTorch weight files and bare pickles, read without torch and without executing anything.

`torch.save` pickles a structure whose tensors are calls of `torch._utils._rebuild_tensor_v2` on
numbered storages, and lays the storages' raw bytes beside it, in one of two forms:
  legacy (before torch 1.6): magic number, protocol, machine facts, the structure, the list of
    storage keys, then per storage an int64 count and its bytes, all in one stream;
  zip: members `<folder>/data.pkl` and `<folder>/data/<key>`, stored uncompressed.
A bare pickle (`.pkl` of detectron2, Detectron) has NumPy arrays for tensors.
"""

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.weight_files.checkpoint import (
    Checkpoint,
    Damaged,
    checked_shape,
    collect,
    natural,
)
from keras_retinanet.weight_files.mapped_file import (
    ViewFile,
    release_pages,
    zip_member,
    zip_members,
)
from keras_retinanet.weight_files.pickle_names import Bound, NumpyArray, Stateless
from keras_retinanet.weight_files.unpickling import unpickle

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
UNREADABLE = {
    "_rebuild_qtensor": "quantized",
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_sparse_csr_tensor": "sparse",
    "_rebuild_nested_tensor": "nested",
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


@dataclass(frozen=True)
class _Storage(Stateless):
    key: str
    kind: str  # a key of STORAGE_DTYPES
    count: int


@dataclass(frozen=True)
class _StorageKind(Stateless):
    name: str


@dataclass(frozen=True)
class _Tensor(Stateless):
    """A view of a storage, in elements; checked only when its bytes are at hand."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


def _rebuild_from_type(function: Any, _type: Any, arguments: Any, *_: Any) -> Any:
    if not isinstance(function, Bound) or function.builder not in (_rebuild_tensor, _parameter):
        raise Damaged("a tensor of an unknown making")
    return function(*arguments)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _unreadable(kind: str) -> Callable[..., None]:
    def refuse(*_: Any) -> None:
        raise UserError(
            f"expected plain tensors. Received: a {kind} tensor, which no RetinaNet here has. "
            "Save the model's float weights."
        )

    return refuse


TORCH_BUILDERS: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
    **{("torch._utils", name): _unreadable(kind) for name, kind in UNREADABLE.items()},
    **{("torch", kind): _StorageKind(kind) for kind in STORAGE_DTYPES},
}


def _structure(file: ViewFile) -> tuple[Any, dict[str, _Storage]]:
    """Return what a pickle of torch's builds, and the storages that it speaks of, by key."""
    known: dict[str, _Storage] = {}

    def storage_of(pid: Any) -> _Storage:
        tag, kind, key, _device, count = pid[:5]
        # A sixth entry is a legacy view of another storage; torch stopped writing them in 0.4.
        if tag not in ("storage", b"storage") or not isinstance(kind, _StorageKind) or any(pid[5:]):
            raise Damaged("a storage of a kind that is not read, such as a quantized one")
        storage = _Storage(_key(key), kind.name, natural(count))
        if known.setdefault(storage.key, storage) != storage:
            raise Damaged("one storage described in two ways")
        return storage

    return unpickle(file, TORCH_BUILDERS, storage_of), known


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise Damaged("a storage without a name")
    return key


def _storage_array(storage: _Storage, raw: memoryview) -> np.ndarray:
    dtype = STORAGE_DTYPES[storage.kind]
    if len(raw) < storage.count * dtype.itemsize:
        raise Damaged(f"storage {storage.key[:100]} is cut off")
    return np.frombuffer(raw, dtype, storage.count)


def _read_legacy(view: memoryview) -> tuple[Any, dict[str, np.ndarray]]:
    """The structure and its storages (views of the file) from the legacy form."""
    file = ViewFile(view)
    magic, protocol, machine = (unpickle(file) for _ in range(3))
    if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL:
        raise Damaged("not the header that torch.save writes")
    if not machine["little_endian"]:
        raise Damaged("big-endian numbers")
    structure, known = _structure(file)
    arrays = {}
    for key in unpickle(file):
        storage = known[_key(key)]
        start = file.tell() + 8
        count = int.from_bytes(view[start - 8 : start], "little")
        if count != storage.count:
            raise Damaged(f"storage {key[:100]} is cut off or has another length than announced")
        end = file.seek(start + count * STORAGE_DTYPES[storage.kind].itemsize)
        arrays[key] = _storage_array(storage, view[start:end])
    return structure, arrays


def _read_zip(view: memoryview) -> tuple[Any, dict[str, np.ndarray]]:
    """The structure and its storages (views of the file) from the zip form."""
    members = zip_members(view)
    pickled = next(name for name in members if name == "data.pkl" or name.endswith("/data.pkl"))
    folder = pickled.removesuffix("data.pkl")
    # Uncompressed as torch writes them: a storage is a slice of the file, and there are no bombs.
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise Damaged("compressed members, which torch.save does not write")
    if sum(info.file_size for info in members.values()) > len(view):
        raise Damaged("members larger than the file")
    order = members.get(f"{folder}byteorder")
    if order is not None and zip_member(view, order) != b"little":
        raise Damaged("big-endian numbers")
    structure, known = _structure(ViewFile(zip_member(view, members[pickled])))
    arrays = {
        key: _storage_array(storage, zip_member(view, members[f"{folder}data/{key}"]))
        for key, storage in known.items()
    }
    return structure, arrays


def _view(tensor: _Tensor, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The tensor as a read-only strided view of its storage: nothing is allocated."""
    if not isinstance(tensor.storage, _Storage):
        raise Damaged("a tensor without a storage")
    storage = arrays[tensor.storage.key]
    shape, strides = checked_shape(tensor.shape), checked_shape(tensor.strides)
    first, count = natural(tensor.offset), math.prod(shape)
    last = first + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    # A stride of 0 lets a few bytes pose as terabytes: not more elements than the storage has.
    if count and (last >= storage.size or count > storage.size):
        raise Damaged(f"a tensor of shape {shape[:8]} beyond its storage of {storage.size}")
    if not count:
        return np.zeros(shape, storage.dtype)
    steps = tuple(step * storage.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(storage[first:], shape, steps, writeable=False)


def read_torch(view: memoryview) -> Checkpoint:
    """Read what `torch.save` wrote, in either format, from the file's bytes.

    Returns:
        Tensors as read-only views, with the strides that the file gives, of storages that several
        may share; `metadata` as of `collect`.

    Raises:
        UserError: the file names anything to call but what builds tensors and plain values.
        Damaged, or any other Exception: the bytes are not what the format says.
    """
    structure, arrays = (_read_zip if view[:2] == b"PK" else _read_legacy)(view)

    def array_of(leaf: Any) -> np.ndarray | None:
        if isinstance(leaf, _Tensor):
            return _view(leaf, arrays)
        return leaf.value if isinstance(leaf, NumpyArray) else None

    return Checkpoint(*collect(structure, array_of), kind="torch")


def read_pickle(view: memoryview) -> Checkpoint:
    """Read a bare pickle of NumPy arrays, of any protocol. Return and raise as `read_torch`."""
    structure = unpickle(ViewFile(view))
    release_pages(view)
    tensors, metadata = collect(
        structure, lambda leaf: leaf.value if isinstance(leaf, NumpyArray) else None
    )
    return Checkpoint(tensors, metadata, kind="pickle")
