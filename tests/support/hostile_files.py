"""Files that try to run code, or lie about sizes; each writer takes the path and a marker file.

The marker appears if a reader runs what the file asks for.
"""

import io
import json
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import keras
import numpy as np

LEGACY_HEAD = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})


class Call:
    """An object whose pickle calls `function` with `args` when read."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


class Storage:
    """What torch pickles by a persistent id."""

    def __init__(self, key, count):
        self.key, self.count = key, count


class FloatStorage:
    """torch's class of that name, as far as a pickle knows it."""


FloatStorage.__module__ = "torch"


def _rebuild_tensor_v2():
    pass


_rebuild_tensor_v2.__module__ = "torch._utils"


def tensor(key, count, shape):
    strides = [int(np.prod(shape[axis + 1 :], dtype=object)) for axis in range(len(shape))]
    storage = Storage(key, count)
    return Call(_rebuild_tensor_v2, storage, 0, shape, tuple(strides), False, OrderedDict())


def torch_pickle(structure):
    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if isinstance(item, Storage):
                return ("storage", FloatStorage, item.key, "cpu", item.count, None)
            return None

    names = {"torch": FloatStorage, "torch._utils": _rebuild_tensor_v2}
    for name, thing in names.items():
        sys.modules[name] = types.ModuleType(name)
        setattr(sys.modules[name], thing.__name__, thing)
    try:
        stream = io.BytesIO()
        Pickler(stream, protocol=2).dump(structure)
    finally:
        for name in names:
            del sys.modules[name]
    return stream.getvalue()


def write_torch_zip(path, structure, storages):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", torch_pickle(structure))
        archive.writestr("archive/byteorder", "little")
        for key, values in storages.items():
            archive.writestr(f"archive/data/{key}", values.tobytes())


def write_torch_legacy(path, structure, storages):
    parts = [pickle.dumps(head, 2) for head in LEGACY_HEAD]
    parts += [torch_pickle(structure), pickle.dumps(list(storages), 2)]
    for values in storages.values():
        parts += [struct.pack("<q", values.size), values.tobytes()]
    path.write_bytes(b"".join(parts))


VALUES = np.arange(6, dtype=np.float32)


def weights():
    return {"conv.weight": tensor("0", 6, (2, 3))}


def attack(marker):
    return Call(os.system, f"touch {marker}")


# ------------------------------------------------------------------------------ the files


def bare_pickle(path, marker):
    path.write_bytes(pickle.dumps({"model": attack(marker)}))


def old_pickle(path, marker):
    path.write_bytes(f"cos\nsystem\n(S'touch {marker}'\ntR.".encode())


def zip_pickle(path, marker):
    write_torch_zip(path, {**weights(), "more": attack(marker)}, {"0": VALUES})


def legacy_pickle(path, marker):
    write_torch_legacy(path, {**weights(), "more": attack(marker)}, {"0": VALUES})


def ten_terabytes(path, marker):
    count = 10 * 10**12 // 4
    write_torch_zip(path, {"conv.weight": tensor("0", count, (count,))}, {"0": VALUES})


def ten_terabytes_by_strides(path, marker):
    shape, none = (10**6, 25 * 10**5), (0, 0)
    huge = Call(_rebuild_tensor_v2, Storage("0", 6), 0, shape, none, False, OrderedDict())
    write_torch_legacy(path, {"conv.weight": huge}, {"0": VALUES})


def ten_terabytes_of_numpy(path, marker):
    plain = pickle.dumps({"model": {"w": np.zeros(1 << 16, "u1")}}, 4)
    # The length of the bytes, in the opcode BINBYTES.
    path.write_bytes(plain.replace(b"B\x00\x00\x01\x00", b"\x8e" + struct.pack("<Q", 10**13)))


def cut_in_half(path, marker):
    write_torch_zip(path, weights(), {"0": VALUES})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_in_half_legacy(path, marker):
    write_torch_legacy(path, weights(), {"0": VALUES})
    path.write_bytes(path.read_bytes()[: -VALUES.nbytes // 2])


def storage_beyond_the_file(path, marker):
    write_torch_zip(path, {"conv.weight": tensor("0", 1000, (1000,))}, {"0": VALUES})


def lambda_model(marker):
    """Keras keeps a Lambda's bytecode in the file, and reads it back into a function."""
    code = compile(f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]", "evil", "eval")
    layers = [keras.Input((2,)), keras.layers.Dense(1), keras.layers.Lambda(eval(code))]
    model = keras.Sequential(layers)
    marker.unlink()  # building the model ran it
    return model


def h5_with_lambda(path, marker):
    target = path.with_suffix(".h5")
    lambda_model(marker).save(target)
    target.rename(path)


def keras_with_lambda(path, marker):
    target = path.with_suffix(".keras")
    lambda_model(marker).save(target)
    target.rename(path)


def _keras_file(path, config):
    target = path.with_name("plain.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(target)
    with zipfile.ZipFile(target) as plain, zipfile.ZipFile(path, "w") as evil:
        for name in plain.namelist():
            evil.writestr(name, json.dumps(config) if name == "config.json" else plain.read(name))
    target.unlink()


def os_system(marker):
    return {
        "module": "os",
        "class_name": "system",
        "config": {"command": f"touch {marker}"},
        "registered_name": None,
    }


def keras_naming_os(path, marker):
    _keras_file(path, os_system(marker))


def keras_naming_os_inside(path, marker):
    config = {"layers": [{"module": "keras.layers", "class_name": "Dense", "config": {
        "units": 1, "kernel_initializer": os_system(marker)}}]}  # fmt: skip
    _keras_file(path, {"module": "keras", "class_name": "Sequential", "config": config})


def keras_posing_as_ours(path, marker):
    """Our own registered name, and an argument that Keras would build an object from."""
    config = {"format": 1, "model": {}, "class_names": ["a"], "class_ids": [1], "metadata": {},
              "name": "retinanet", "dtype": os_system(marker)}  # fmt: skip
    described = {
        "module": "keras_retinanet.modeling.retinanet",
        "class_name": "RetinaNet",
        "config": config,
    }
    _keras_file(path, {**described, "registered_name": "keras_retinanet>RetinaNet"})


def keras_compiled_by_os(path, marker):
    """The model is harmless; what Keras would compile it with is not."""
    config = {"format": 1, "model": {}, "class_names": ["a"], "class_ids": [1], "metadata": {},
              "name": "retinanet"}  # fmt: skip
    described = {
        "module": "keras_retinanet.modeling.retinanet",
        "class_name": "RetinaNet",
        "config": config,
    }
    described["compile_config"] = {"loss": os_system(marker)}
    _keras_file(path, {**described, "registered_name": "keras_retinanet>RetinaNet"})


def keras_fetching_a_file(path, marker):
    function = {"module": "keras.utils", "class_name": "function", "config": "get_file"}
    _keras_file(path, {"module": "keras", "class_name": "Sequential", "config": function,
                       "registered_name": "get_file"})  # fmt: skip


HOSTILE = {
    "evil.pkl": bare_pickle,
    "old.pkl": old_pickle,
    "zip.pth": zip_pickle,
    "legacy.pth": legacy_pickle,
    "10tb.pth": ten_terabytes,
    "10tb_strides.pth": ten_terabytes_by_strides,
    "10tb.pkl": ten_terabytes_of_numpy,
    "half.pth": cut_in_half,
    "half_legacy.pth": cut_in_half_legacy,
    "storage.pth": storage_beyond_the_file,
    "lambda.h5": h5_with_lambda,
    "lambda.keras": keras_with_lambda,
    "os.keras": keras_naming_os,
    "os_inside.keras": keras_naming_os_inside,
    "ours.keras": keras_posing_as_ours,
    "compiled.keras": keras_compiled_by_os,
    "fetching.keras": keras_fetching_a_file,
}
