"""Files that would run code or fill the memory: one clear line, exit code 2, nothing executed."""

import pickle
import struct
import subprocess
import tracemalloc
import warnings

import h5py
import keras
import numpy as np
import pytest
from hostile_files import HOSTILE, VALUES, weights, write_torch_legacy, write_torch_zip
from PIL import Image

from keras_retinanet.cli import build_parser, run
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.saving import load
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.reading import read_checkpoint

# Of `ten_terabytes` and its like: what is claimed is never allocated.
MEGABYTES = 1 << 20


@pytest.fixture(params=HOSTILE)
def hostile(request, tmp_path):
    """A hostile file, and the marker that is there once its code has run."""
    path, marker = tmp_path / request.param, tmp_path / "executed"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras, of its own old formats
        HOSTILE[request.param](path, marker)
    return path, marker


def test_every_command_refuses(hostile, tmp_path, capsys):
    path, marker = hostile
    picture = str(tmp_path / "picture.png")
    Image.new("RGB", (32, 32)).save(picture)
    for words in (
        ["import", str(path), "--out", str(tmp_path / "model.keras")],
        ["predict", picture, "--model", str(path)],
        ["info", str(path)],
    ):
        code = run(build_parser().parse_args(words))
        error = capsys.readouterr().err
        assert (code, error.count("\n")) == (2, 1), (words, error)
        assert path.name in error, words
        assert not marker.exists(), words
    assert not (tmp_path / "model.keras").exists()


def test_every_reader_refuses(hostile):
    path, marker = hostile
    tracemalloc.start()
    for read in (read_checkpoint, load):
        with pytest.raises(UserError) as caught:
            read(path)
        message = str(caught.value)
        assert "\n" not in message
        assert str(path) in message
        assert not marker.exists()
    assert tracemalloc.get_traced_memory()[1] < 20 * MEGABYTES
    tracemalloc.stop()


def test_the_files_are_what_they_say(tmp_path):
    """Python's own unpickler runs the attack: the marker would show it."""
    path, marker = tmp_path / "evil.pkl", tmp_path / "executed"
    for name in ("evil.pkl", "old.pkl"):
        HOSTILE[name](path, marker)
        pickle.loads(path.read_bytes())
        assert marker.exists()
        marker.unlink()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("evil.pkl", "system, which is not run"),
        ("zip.pth", "system, which is not run"),
        ("legacy.pth", "system, which is not run"),
        ("10tb.pth", "is cut off"),
        ("10tb_strides.pth", "beyond its storage of 6"),
        ("storage.pth", "storage 0 is cut off"),
        ("half.pth", "expected a whole weight file"),
        ("lambda.h5", r"asks for code \(Lambda\)"),
        ("lambda.keras", r"asks for code \(Lambda\)"),
        ("os_inside.keras", r"asks for code \(os.system\)"),
        ("fetching.keras", r"asks for code \(get_file\)"),
    ],
)
def test_the_line_says_why(tmp_path, name, words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        HOSTILE[name](tmp_path / name, tmp_path / "executed")
    with pytest.raises(UserError, match=words):
        read_checkpoint(tmp_path / name)


# ------------------------------------------------------------------------------- HDF5's own ways


def refused_h5(path, words):
    with pytest.raises(UserError, match=words):
        read_checkpoint(path)


def test_hdf5_stays_inside_its_file(tmp_path):
    path = tmp_path / "weights.h5"
    (tmp_path / "secret").write_bytes(b"s" * 64)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.ones(3)
    with h5py.File(path, "w") as file:
        file["link"] = h5py.ExternalLink("other.h5", "secret")
    refused_h5(path, "a link to elsewhere")
    with h5py.File(path, "w") as file:
        outside = [(str(tmp_path / "secret"), 0, 64)]
        file.create_dataset("secret", (64,), "u1", external=outside)
    refused_h5(path, "data that lie in another file")
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "secret", (3,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("secret", layout)
    refused_h5(path, "data that lie in another file")


def test_hdf5_sizes_are_checked_before_they_are_believed(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("kernel", (10**6, 10**6), "f4", chunks=(1000, 1000))
    refused_h5(path, "larger than the file holds")
    with h5py.File(path, "w") as file:
        file.create_dataset("kernel", data=np.zeros(10**6), compression="gzip")
    refused_h5(path, "larger than the file holds")
    with h5py.File(path, "w") as file:
        file["names"] = np.array(["a", "b"], h5py.string_dtype())
    refused_h5(path, "values that are no numbers")


def test_a_crash_of_hdf5_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["kernel"] = np.zeros(3)
    segmentation_fault = subprocess.CompletedProcess([], -11, b"")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: segmentation_fault)
    refused_h5(path, "HDF5's library fails on it")


# ------------------------------------------------------------------------------- mutated files


def sample_safetensors(path):
    header = b'{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + VALUES.tobytes())


def sample_h5(path):
    with h5py.File(path, "w") as file:
        file["dense/dense/kernel:0"] = np.ones((2, 3), "f4")
        file.attrs["layer_names"] = [b"dense"]
        file.attrs["keras_version"] = "3"


def sample_keras(path):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)


SAMPLES = {
    "a.pth": (lambda path: write_torch_zip(path, weights(), {"0": VALUES}), 400),
    "b.pth": (lambda path: write_torch_legacy(path, weights(), {"0": VALUES}), 400),
    "c.pkl": (lambda path: path.write_bytes(pickle.dumps({"model": {"w": VALUES}}, 2)), 400),
    "d.pkl": (lambda path: path.write_bytes(pickle.dumps({"model": {"w": VALUES}}, 5)), 400),
    "e.safetensors": (sample_safetensors, 400),
    # Each takes a process of its own.
    "f.h5": (sample_h5, 8),
    "g.keras": (sample_keras, 100),
}


def mutated(content, rng):
    if rng.random() < 0.3:
        return content[: rng.integers(len(content))]
    changed = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        changed[rng.integers(len(content))] = rng.choice([rng.integers(256), 0, 255, 127, 128])
    return bytes(changed)


def outcome_of(path):
    try:
        return read_checkpoint(path)
    except UserError as error:
        return error


@pytest.mark.long
@pytest.mark.parametrize("name", SAMPLES)
def test_mutated_files_give_a_checkpoint_or_one_line(tmp_path, rng, name):
    path = tmp_path / name
    write, rounds = SAMPLES[name]
    write(path)
    content = path.read_bytes()
    assert len(read_checkpoint(path).tensors) in (1, 2)
    tracemalloc.start()
    outcomes = {True: 0, False: 0}
    for _ in range(rounds):
        path.write_bytes(mutated(content, rng))
        outcome = outcome_of(path)
        outcomes[isinstance(outcome, Checkpoint)] += 1
        assert "\n" not in str(outcome) or isinstance(outcome, Checkpoint)
    assert tracemalloc.get_traced_memory()[1] < 50 * MEGABYTES
    tracemalloc.stop()
    assert outcomes[False] > rounds // 4


# ------------------------------------------------------------------------------ pickle's own ways

NESTED = b"N" + b"\x85" * 200_000
EXPONENTIAL = b"N" + b"2\x86" * 60


@pytest.mark.long
@pytest.mark.parametrize(
    ("program", "words"),
    [
        # Python's tuples hash their items: 200,000 deep ends the process, 2**60 items never end.
        (b"\x80\x02}" + NESTED + b"K\x01s.", "holds no tensor"),
        (b"\x80\x04}" + EXPONENTIAL + b"K\x01s.", "holds no tensor"),
        (b"\x80\x04\x8f(" + EXPONENTIAL + b"\x90.", "entries|nested|holds no tensor"),
        (b"\x80\x04(" + EXPONENTIAL + b"\x91.", "entries|nested|holds no tensor"),
        (b"\x80\x02(" + EXPONENTIAL + b"K\x01d.", "made in one step"),
        # A memo with one place far away takes room for all places before it.
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "a memo larger than the file"),
        # The registry of copyreg, buffers that are not there, and a number that hashes slowly.
        (b"\x80\x02\x82\x01.", "the opcode EXT1"),
        (b"\x80\x05\x97.", "the opcode NEXT_BUFFER"),
        (b"\x80\x02\x8b" + struct.pack("<I", 1000) + b"\x7f" * 1000 + b".", "larger than any size"),
        # A state that would set attributes of what stands for a name.
        (b"\x80\x02cbuiltins\ndict\n}U\x07builderNs(N}U\x07builderNst\x86b)R.", "holds no tensor"),
        (b"\x80\x02ctorch\nSize\nN}U\x07builderNs\x86b.", "holds no tensor"),
        # Calls of what is no function, and of a method.
        (b"\x80\x02K\x01)R.", "not callable"),
        (b"\x80\x02cbuiltins\ngetattr\n}U\x05clear\x86R.", "builtins.getattr, which is not run"),
    ],
)
def test_what_pickles_can_do_without_a_name(tmp_path, program, words):
    path = tmp_path / "weights.pkl"
    path.write_bytes(program)
    tracemalloc.start()
    with pytest.raises(UserError, match=words):
        read_checkpoint(path)
    assert tracemalloc.get_traced_memory()[1] < 100 * MEGABYTES
    tracemalloc.stop()
    write_torch_zip(tmp_path / "sound.pth", weights(), {"0": VALUES})
    assert list(read_checkpoint(tmp_path / "sound.pth").tensors) == ["conv.weight"]
