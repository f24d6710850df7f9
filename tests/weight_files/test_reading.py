"""Every format that weights come in, told apart by its first bytes; real files hold much else."""

import argparse
import datetime
import json
import pathlib
import pickle
import random
import sys
import types
import zipfile
from collections import Counter, OrderedDict, defaultdict

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hostile_files import VALUES, Call, tensor, weights, write_torch_legacy, write_torch_zip

from keras_retinanet.errors import UserError
from keras_retinanet.weight_files.mapped_file import map_file, release_array
from keras_retinanet.weight_files.reading import read_checkpoint

STATE = {"conv.weight": VALUES.reshape(2, 3), "conv.bias": np.arange(2.0), "step": np.int64(7)}


class HistoryBuffer:
    """A logger's class that the reader cannot import; methods of it are pickled by getattr."""

    def current(self):
        pass


HistoryBuffer.__module__ = "mmengine.logging.history_buffer"
HistoryBuffer.__qualname__ = "HistoryBuffer"


@pytest.fixture
def training_state(monkeypatch):
    """What training systems pickle beside the weights."""
    for name in ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["mmengine.logging.history_buffer"].HistoryBuffer = HistoryBuffer
    buffer = HistoryBuffer()
    buffer.values, buffer.names = np.ones(3), {"a"}
    return {
        "meta": {"CLASSES": ("cat", "dog"), "epoch": 12, "seed": np.int64(3), "lr": 0.5},
        "hub": OrderedDict(loss=buffer, method=Call(getattr, HistoryBuffer, "current")),
        "args": argparse.Namespace(folder=pathlib.PurePosixPath("/data")),
        "when": datetime.datetime(2026, 11, 21),
        "random": [random.Random(0), np.random.RandomState(0), np.random.default_rng(0)],
        "rest": [defaultdict(list), Counter("aab"), {1, 2}, frozenset("a"), b"\xff", range(3)],
        "types": [np.float32, np.dtype("O"), np.array(["a", None]), slice(1), complex(1, 2)],
        (1, 2): None,
    }


@pytest.mark.parametrize("write", [write_torch_zip, write_torch_legacy])
def test_training_checkpoints_of_torch(tmp_path, training_state, write):
    path = tmp_path / "weights.anything"
    write(path, {"state_dict": weights(), **training_state}, {"0": VALUES})
    checkpoint = read_checkpoint(path)
    assert (checkpoint.kind, list(checkpoint.tensors)) == ("torch", ["conv.weight"])
    np.testing.assert_array_equal(checkpoint.tensors["conv.weight"], VALUES.reshape(2, 3))
    meta = {key: text for key, text in checkpoint.metadata.items() if key.startswith("meta.")}
    assert meta == {"meta.CLASSES.0": "cat", "meta.CLASSES.1": "dog", "meta.epoch": "12",
                    "meta.seed": "3", "meta.lr": "0.5"}  # fmt: skip
    assert "mmengine.runner" not in sys.modules


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol(tmp_path, training_state, protocol):
    path = tmp_path / "model.pkl"
    training_state["hub"].pop("method")  # protocol 0 and 1 write calls of classes otherwise
    if protocol < 2:
        training_state = {"author": "zoo"}
    fortran = np.asfortranarray(np.arange(6).reshape(2, 3))
    model = {**STATE, "f": fortran, "big": VALUES.astype(">f4"), "empty": np.zeros((0, 3))}
    path.write_bytes(pickle.dumps({"model": model, **training_state}, protocol))
    checkpoint = read_checkpoint(path)
    assert checkpoint.kind == "pickle"
    assert checkpoint.metadata["step"] == "7"
    assert list(checkpoint.tensors) == ["conv.weight", "conv.bias", "f", "big", "empty"]
    for name, values in checkpoint.tensors.items():
        np.testing.assert_array_equal(values, model[name])
        assert values.dtype == model[name].dtype
        assert not values.flags.writeable


def test_a_pickle_of_python_2(tmp_path):
    """Detectron's: text and bytes are one, module names are Python 2's."""
    raw = VALUES.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR(I1\n(I2\nI3\nt"
        b"cnumpy\ndtype\n(U\x02f4I0\nI1\ntR(I3\nU\x01<NNNI-1\nI-1\nI0\ntbI00\n"
        b"U" + bytes([len(raw)]) + raw + b"tb"
    )
    (tmp_path / "old.pkl").write_bytes(b"\x80\x02}U\x05blobs}U\x06conv_w" + array + b"ss.")
    checkpoint = read_checkpoint(tmp_path / "old.pkl")
    np.testing.assert_array_equal(checkpoint.tensors["conv_w"], VALUES.reshape(2, 3))


def test_large_arrays_are_views_of_the_file(tmp_path):
    path = tmp_path / "model.pkl"
    large = np.arange(1 << 19, dtype="f4")
    path.write_bytes(pickle.dumps({"model": {"w": large}}, 4))
    values = read_checkpoint(path).tensors["w"]
    base = values
    while getattr(base, "base", None) is not None:
        base = base.base
    assert isinstance(base, memoryview)
    release_array(values)
    np.testing.assert_array_equal(values, large)


def opcodes(value):
    """The pickle of a value without its start and end."""
    return pickle.dumps(value, 2)[2:-1]


@pytest.mark.parametrize(
    ("function", "value", "more"),
    [
        (b"c_codecs\nencode\n", "a" * 10_000, opcodes("latin1") + b"\x86"),
        (b"ccollections\nOrderedDict\n", [("a", 1)] * 10_000, b"\x85"),
    ],
    ids=["text", "list"],
)
def test_one_value_is_not_copied_a_thousand_times(tmp_path, function, value, more):
    path = tmp_path / "model.pkl"
    # Kept in the memo, number 200, and from there an argument each time.
    memo = opcodes(value) + b"q\xc80"
    for calls, words in ((1, "holds no tensor"), (100, "more data than the file holds")):
        path.write_bytes(b"\x80\x02](" + memo + (function + b"h\xc8" + more + b"R") * calls + b"e.")
        with pytest.raises(UserError, match=words):
            read_checkpoint(path)


def test_dataparallel_and_nested_wrappers(tmp_path):
    path = tmp_path / "weights.pth"
    inner = {f"module.{name}": value for name, value in weights().items()}
    write_torch_zip(path, {"model": {"state_dict": inner, "classes": 80}}, {"0": VALUES})
    checkpoint = read_checkpoint(path)
    assert list(checkpoint.tensors) == ["conv.weight"]
    assert checkpoint.metadata == {"classes": "80"}


def test_a_wrapper_around_itself(tmp_path):
    (tmp_path / "loop.pkl").write_bytes(b"\x80\x02}q\x00U\x05modelh\x00s.")
    with pytest.raises(UserError, match="nested more than"):
        read_checkpoint(tmp_path / "loop.pkl")


def test_a_pth_alone_in_a_zip(tmp_path):
    write_torch_legacy(tmp_path / "rn50.pth", weights(), {"0": VALUES})
    with zipfile.ZipFile(tmp_path / "rn50.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "rn50.pth", "folder/rn50.pth")
    tensors = read_checkpoint(tmp_path / "rn50.zip").tensors
    np.testing.assert_array_equal(tensors["conv.weight"], VALUES.reshape(2, 3))

    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.pth", bytes(50_000_000))
    with pytest.raises(UserError, match="more than 20-fold"):
        read_checkpoint(tmp_path / "bomb.zip")


def test_a_flipped_bit_of_a_weight_is_noticed(tmp_path):
    path = tmp_path / "weights.pth"
    write_torch_zip(path, weights(), {"0": VALUES})
    content = bytearray(path.read_bytes())
    content[content.index(VALUES.tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="fails its checksum"):
        read_checkpoint(path)


def test_safetensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    brain = np.array([1.5, 2], ml_dtypes.bfloat16)
    header = {
        "__metadata__": {"format": "pt"},
        "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [2], "data_offsets": [24, 28]},
    }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + VALUES.tobytes() + brain.tobytes())
    checkpoint = read_checkpoint(path)
    assert (checkpoint.kind, checkpoint.metadata) == ("safetensors", {"format": "pt"})
    np.testing.assert_array_equal(checkpoint.tensors["w"], VALUES.reshape(2, 3))
    np.testing.assert_array_equal(checkpoint.tensors["b"], brain)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Keras, of its own old formats
@pytest.mark.parametrize("name", ["full.h5", "only.weights.h5", "model.keras"])
def test_keras_files(tmp_path, name):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="dense")], name="net")
    model.compile("adam", "mse")
    model.fit(np.ones((2, 2)), np.ones((2, 3)), verbose=0)  # the optimizer has its slots
    path = tmp_path / name
    model.save_weights(path) if "weights" in name else model.save(path)
    checkpoint = read_checkpoint(path)
    kernel, bias = model.get_weights()
    found = sorted(checkpoint.tensors.values(), key=np.size)
    np.testing.assert_array_equal(found[1], kernel)
    np.testing.assert_array_equal(found[0], bias)
    assert len(found) == 2
    if name == "model.keras":
        assert json.loads(checkpoint.metadata["config.json"])["class_name"] == "Sequential"
    elif name == "full.h5":
        assert checkpoint.metadata["layer_names"] == "dense"
        assert sorted(checkpoint.tensors) == [
            f"model_weights/dense/net/dense/{weight}" for weight in ("bias", "kernel")
        ]


def test_weights_of_keras_2(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv1", b"padding_conv1"]
        file["conv1/conv1/kernel:0"] = VALUES
    checkpoint = read_checkpoint(path)
    assert list(checkpoint.tensors) == ["conv1/conv1/kernel:0"]
    assert checkpoint.metadata["layer_names"] == "conv1\npadding_conv1"


def test_tensorflow_checkpoints(tmp_path):
    kernel = tf.Variable(VALUES)
    tf.train.Checkpoint(backbone=tf.train.Checkpoint(kernel=kernel), name=tf.Variable("x")).write(
        str(tmp_path / "ckpt-7")
    )
    for path in ("ckpt-7", "ckpt-7.index", "ckpt-7.data-00000-of-00001", "."):
        checkpoint = read_checkpoint(tmp_path / path)
        assert list(checkpoint.tensors) == ["backbone/kernel/.ATTRIBUTES/VARIABLE_VALUE"]
        np.testing.assert_array_equal(*checkpoint.tensors.values(), VALUES)
    (tmp_path / "ckpt-7.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(UserError, match="larger than the data files"):
        read_checkpoint(tmp_path / "ckpt-7")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>404</html>", "not the first bytes of"),
        (b"\x1f\x8b" + bytes(600), "unpack it"),
        (pickle.dumps({"epoch": 3}), "holds no tensor"),
        (b"", "an empty file"),
    ],
)
def test_what_is_no_weight_file(tmp_path, content, words):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_checkpoint(path)
    with pytest.raises(UserError, match="without a TensorFlow checkpoint"):
        read_checkpoint(tmp_path)


def test_sparse_and_quantized_tensors_are_refused(tmp_path):
    names = {"_rebuild_sparse_tensor": "a sparse tensor", "_rebuild_qtensor": "a quantized tensor"}
    for name, words in names.items():
        path = tmp_path / "weights.pth"
        write_torch_zip(path, weights(), {"0": VALUES})
        with zipfile.ZipFile(path) as archive:
            pickled = archive.read("archive/data.pkl")
        with zipfile.ZipFile(path, "w") as archive:
            changed = pickled.replace(b"_rebuild_tensor_v2", name.encode())
            archive.writestr("archive/data.pkl", changed)
            archive.writestr("archive/data/0", VALUES.tobytes())
        with pytest.raises(UserError, match=words):
            read_checkpoint(path)


def test_mapping_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        map_file(tmp_path / "absent")
    assert tensor("0", 6, (2, 3)).call[1][2:4] == ((2, 3), (3, 1))
