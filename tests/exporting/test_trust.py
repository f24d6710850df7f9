"""Exported files of strangers: read as text, run only where they hold what exports of ours hold."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from stranger_files import (
    SIDE,
    Initializer,
    Program,
    as_exported,
    change_facts,
    save_program,
    tiny_flatbuffer,
    tiny_onnx,
)
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_retinanet import cli
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.exported import describe_exported, load_exported
from keras_retinanet.exporting.facts import FILE_DIGESTS
from keras_retinanet.exporting.onnx_check import MESSAGES
from keras_retinanet.exporting.saved_model import program_check
from keras_retinanet.exporting.tflite import flatbuffer as tflite_file
from keras_retinanet.exporting.tflite import tflite_trial
from keras_retinanet.processes import trials
from keras_retinanet.weight_files import h5_file

PICTURE = np.zeros((SIDE, SIDE, 3), np.uint8)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A cache of this test's own: no file was run before."""
    monkeypatch.setenv("KERAS_RETINANET_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def command(*words: str | Path) -> int:
    """Run a command in this process, which has TensorFlow already; returns the exit code."""
    return cli.run(cli.build_parser().parse_args([str(word) for word in words]))


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as error:
        load_exported(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


# -------------------------------------------------------------------------------------- SavedModel


@pytest.fixture(scope="module")
def harmless(tmp_path_factory) -> Path:
    return save_program(Program(), tmp_path_factory.mktemp("saved") / "harmless")


@pytest.fixture(scope="module")
def writer(tmp_path_factory) -> tuple[Path, Path]:
    """A SavedModel that writes a file at loading and another at each call, and their folder."""
    folder = tmp_path_factory.mktemp("writer")
    program = Program(lambda: tf.io.write_file(str(folder / "at_call"), "written at a call"))
    program.resource = Initializer(folder / "at_load")
    _ = program.resource.resource_handle
    return save_program(program, folder / "model"), folder


def test_no_command_runs_a_program_that_is_not_trusted(writer, tmp_path, capsys):
    model, folder = writer
    picture = tmp_path / "picture.png"
    Image.fromarray(PICTURE).save(picture)
    assert command("info", model) == 0
    printed = capsys.readouterr().out
    assert "output 3     num_detections" in printed
    assert "warning      it holds what no export has: an object of the kind resource" in printed
    evaluation = ("evaluate", "shapes", "--limit", "1", "--model", model)
    for words in (("predict", picture, "--model", model, "--out", tmp_path / "out"), evaluation):
        assert command(*words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "the operator WriteFile" in line
        assert "--trust" in line
    assert [file.name for file in folder.iterdir()] == ["model"]
    try:
        assert command(*evaluation, "--trust") == 0
        assert sorted(file.name for file in folder.iterdir()) == ["at_call", "at_load", "model"]
    finally:
        for file in folder.glob("at_*"):
            file.unlink()


@pytest.mark.long
def test_the_command_line_refuses_in_a_process_of_its_own(writer, tmp_path):
    model, folder = writer
    Image.fromarray(PICTURE).save(tmp_path / "picture.png")
    words = ["predict", "picture.png", "--model", str(model)]
    done = subprocess.run(
        [sys.executable, "-m", "keras_retinanet", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("keras_retinanet: error: Expected a file as")
    assert [file.name for file in folder.iterdir()] == ["model"]


def test_a_harmless_program_is_loaded(harmless):
    assert len(load_exported(harmless).detect(PICTURE)) == 1


ACTS = {
    "WriteFile": lambda folder: tf.io.write_file(f"{folder}/marker", "x"),
    "ReadFile": lambda folder: tf.io.read_file("/etc/hostname"),
    "MatchingFiles": lambda folder: tf.io.matching_files("/etc/*"),
    "PrintV2": lambda folder: tf.print("printed"),
    "EagerPyFunc": lambda folder: tf.py_function(print, [], []),
    "SaveV2": lambda folder: tf.raw_ops.SaveV2(
        prefix=f"{folder}/marker", tensor_names=["x"], shape_and_slices=[""], tensors=[[1.0]]
    ),
    "MergeV2Checkpoints": lambda folder: tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=["x"], destination_prefix=f"{folder}/marker"
    ),
}


@pytest.mark.parametrize("operator", ACTS)
def test_an_operator_that_no_export_has_is_named(tmp_path, operator):
    program = Program(lambda: ACTS[operator](tmp_path))
    path = save_program(program, tmp_path / "model")
    assert f"the operator {operator}" in refusal(path)
    assert not list(tmp_path.glob("marker*"))


def edited(source: Path, target: Path, change) -> Path:
    """A copy of a SavedModel after `change` of its one graph."""
    shutil.copytree(source, target)
    saved = SavedModel.FromString((target / "saved_model.pb").read_bytes())
    change(saved.meta_graphs[0])
    (target / "saved_model.pb").write_bytes(saved.SerializeToString())
    return target


def saver_of(graph) -> str:
    names = [function.signature.name for function in graph.graph_def.library.function]
    return next(name for name in names if "traced_save" in name)


def call_the_saver(graph) -> None:
    """Let a function that a request can reach call the one that saves variables."""
    function = next(f for f in graph.graph_def.library.function if "traced" not in f.signature.name)
    node = function.node_def.add(name="save", op="StatefulPartitionedCall")
    node.attr["f"].func.name = saver_of(graph)


def name_the_saver(graph) -> None:
    """Make the function that saves variables one of the loaded object's."""
    node = next(n for n in graph.object_graph_def.nodes if n.WhichOneof("kind") == "function")
    node.function.concrete_functions.append(saver_of(graph))


def add_a_huge_constant(graph) -> None:
    node = graph.graph_def.library.function[0].node_def.add(name="huge", op="Const")
    node.attr["value"].tensor.tensor_shape.dim.add(size=1 << 40)


def call_an_operator(graph) -> None:
    node = graph.graph_def.library.function[0].node_def.add(name="x", op="PartitionedCall")
    inner = node.attr["f"].func
    inner.name = graph.graph_def.library.function[0].signature.name
    inner.attr["f"].func.name = "WriteFile"


def name_a_function_like_an_operator(graph) -> None:
    graph.graph_def.library.function.add().signature.name = "WriteFile"


def add_an_asset(graph) -> None:
    graph.asset_file_def.add(filename="../../x")


def register_an_object(graph) -> None:
    graph.object_graph_def.nodes.add(registered_name="tf.Anything").variable.name = "x"


def restore_by_itself(graph) -> None:
    graph.object_graph_def.nodes[0].saveable_objects["x"].save_function = 1


EDITS = {
    call_the_saver: "the operator SaveV2",
    name_the_saver: "the operator SaveV2",
    add_a_huge_constant: "a constant of more than",
    call_an_operator: "a call of WriteFile",
    name_a_function_like_an_operator: "a function WriteFile",
    add_an_asset: "asset files",
    register_an_object: "an object of the kind tf.Anything",
    restore_by_itself: "an object that restores itself",
}


@pytest.mark.parametrize("change", EDITS, ids=lambda change: change.__name__)
def test_a_way_around_the_operators_is_refused(harmless, tmp_path, change):
    assert EDITS[change] in refusal(edited(harmless, tmp_path / "model", change))


def test_other_graphs_and_sizes_are_refused(harmless, tmp_path, monkeypatch):
    shutil.copytree(harmless, tmp_path / "model")
    (tmp_path / "model" / "saved_model.pbtxt").touch()
    assert "the file saved_model.pbtxt" in refusal(tmp_path / "model")
    monkeypatch.setattr(program_check, "MAX_GRAPH", 100)
    assert "saved_model.pb of at most 100 bytes" in refusal(harmless)


def test_a_changed_savedmodel_runs_only_if_trusted(harmless, tmp_path):
    path = tmp_path / "model"
    shutil.copytree(harmless, path)
    change_facts(path, **{FILE_DIGESTS: program_check.digests(path)})
    load_exported(path)
    variables = next((path / "variables").glob("*.data-*"))
    content = bytearray(variables.read_bytes())
    content[-1] ^= 1
    variables.write_bytes(content)
    message = refusal(path)
    assert "damaged or was changed: its bytes (variables/variables.data-00000-of-00001)" in message
    change_facts(path, **{FILE_DIGESTS: program_check.digests(harmless)})
    shutil.copy(next((harmless / "variables").glob("*.data-*")), variables)
    edited(path, tmp_path / "edited", lambda graph: graph.meta_info_def.tags.append("more"))
    assert "its bytes (saved_model.pb) are not" in refusal(tmp_path / "edited")
    assert len(load_exported(tmp_path / "edited", trust=True).detect(PICTURE)) == 1


# ------------------------------------------------------------------------------------------ TFLite


@pytest.fixture(scope="module")
def flatbuffer() -> bytes:
    return tiny_flatbuffer()


def with_changed_bytes(content: bytes, seed: int, end: int) -> bytes:
    rng, changed = random.Random(seed), bytearray(content)
    for place in rng.sample(range(end), rng.choice((1, 4, 16))):
        changed[place] ^= rng.randrange(1, 256)
    return bytes(changed)


def test_changed_bytes_of_a_tflite_file_are_one_line(flatbuffer, tmp_path):
    content = as_exported(flatbuffer)
    for seed in range(50):
        path = tmp_path / f"{seed}.tflite"
        path.write_bytes(with_changed_bytes(content, seed, len(flatbuffer)))
        assert "which is damaged or was changed: its bytes are not those" in refusal(path)


def test_changed_bytes_of_a_tflite_files_archive_are_one_line_or_change_nothing(
    flatbuffer, tmp_path, monkeypatch
):
    monkeypatch.setattr(tflite_trial, "_problem", lambda content: None)
    content, path = as_exported(flatbuffer), tmp_path / "x.tflite"
    path.write_bytes(content)
    facts, refused = describe_exported(path).facts, 0
    for place in range(len(flatbuffer), len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 0x41
        path.write_bytes(changed)
        try:
            assert load_exported(path).facts == facts
        except UserError:
            refused += 1
    assert refused > 300  # all but dates and the like


@pytest.mark.long
def test_a_digest_that_was_made_to_fit_crashes_another_process(flatbuffer, tmp_path):
    file = tflite_file.read(flatbuffer)
    for tensor in file.subgraphs[0].tensors:
        if file.buffers[tensor.buffer].data is None and len(tensor.shape) > 1:
            tensor.shape = np.array([*tensor.shape[:-1], 0], np.int32)  # something divides by it
    path = tmp_path / "x.tflite"
    path.write_bytes(as_exported(tflite_file.write(file)))
    assert "with which its process crashes" in refusal(path)


@pytest.mark.long
def test_what_the_interpreter_reports_is_one_line(flatbuffer, tmp_path):
    path = tmp_path / "x.tflite"
    path.write_bytes(as_exported(with_changed_bytes(flatbuffer, 2, len(flatbuffer))))
    assert "which it refuses: " in refusal(path)


def test_a_process_that_does_not_end_is_one_line(flatbuffer, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "PROGRAM", "import time; time.sleep(600)")
    monkeypatch.setattr(trials, "SECONDS", 0.2)
    path = tmp_path / "x.tflite"
    path.write_bytes(as_exported(flatbuffer))
    assert "which does not come to an end within 0.2 s" in refusal(path)


@pytest.mark.long
def test_a_file_is_tried_once(flatbuffer, tmp_path, home, monkeypatch):
    path = tmp_path / "x.tflite"
    path.write_bytes(as_exported(flatbuffer))
    assert len(load_exported(path).detect(PICTURE)) == 1
    monkeypatch.setattr(trials, "PROGRAM", "raise SystemExit(1)")
    assert len(load_exported(path).detect(PICTURE)) == 1
    shutil.rmtree(home)
    assert "crashes" in refusal(path)


def test_operators_of_tensorflow_in_a_tflite_file_are_named(flatbuffer, tmp_path):
    file = tflite_file.read(flatbuffer)
    file.operatorCodes[0].customCode = b"FlexWriteFile"
    path = tmp_path / "x.tflite"
    path.write_bytes(as_exported(tflite_file.write(file)))
    assert "the operator FlexWriteFile" in refusal(path)


# -------------------------------------------------------------------------------------------- ONNX


def test_onnx_files_that_no_export_writes_are_refused(tmp_path):
    pytest.importorskip("onnxruntime", reason="runs the .onnx file")
    pytest.importorskip("onnx", reason="writes the .onnx file")
    secret = tmp_path / "secret"
    secret.write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner" / "x.onnx"
    load_exported(tiny_onnx(path))
    assert "data in other files" in refusal(tiny_onnx(path, external="../secret"))
    foreign = tiny_onnx(path, domain="com.microsoft")
    assert "the operator com.microsoft.Identity" in refusal(foreign)
    content = bytearray(tiny_onnx(path).read_bytes())
    content[content.index(b"table")] ^= 1
    path.write_bytes(content)
    assert "damaged or was changed" in refusal(path)
    load_exported(tiny_onnx(path, digest=False))  # exported before digests were kept


def test_the_numbers_of_onnx_fields_are_onnxs():
    onnx = pytest.importorskip("onnx", reason="knows the numbers")
    kinds = {
        "model": onnx.ModelProto,
        "training": onnx.TrainingInfoProto,
        "function": onnx.FunctionProto,
        "graph": onnx.GraphProto,
        "node": onnx.NodeProto,
        "attribute": onnx.AttributeProto,
        "sparse": onnx.SparseTensorProto,
        "tensor": onnx.TensorProto,
    }
    names = {kind.DESCRIPTOR.name: name for name, kind in kinds.items()}
    for name, kind in kinds.items():
        inner = {
            field.number: names[field.message_type.name]
            for field in kind.DESCRIPTOR.fields
            if field.message_type is not None and field.message_type.name in names
        }
        assert inner == MESSAGES[name], name


# ------------------------------------------------------------------------------- facts and modules


def test_info_escapes_what_a_stranger_calls_things(harmless, tmp_path, capsys):
    path = tmp_path / "model"
    shutil.copytree(harmless, path)
    names = ["\x1b]0;owned\x07", "d\nog"]
    change_facts(path, class_names=names, class_ids=[1, 2], metadata={"a\x1b[2J": "b\x1b"})
    assert command("info", path) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "2: \\x1b]0;owned\\x07, d\\nog" in printed


@pytest.mark.parametrize(
    "changes",
    [{"input": {}}, {"outputs": ["x"]}, {"class_names": [1, 2, 3, 4]}, {"form": ["x"]}],
    ids=str,
)
def test_facts_that_are_not_ours_are_one_line(harmless, tmp_path, changes):
    path = tmp_path / "model"
    shutil.copytree(harmless, path)
    change_facts(path, **changes)
    assert "has no valid model.json" in refusal(path)


@pytest.mark.long
@pytest.mark.parametrize(
    "target",
    [(h5_file.__name__, "try_h5"), (tflite_trial.__name__, "run_once")],
    ids=["h5", "tflite"],
)
def test_modules_in_the_current_folder_are_not_imported(tmp_path, target):
    for name in ("resource", "json", "signal", "subprocess"):
        (tmp_path / f"{name}.py").write_text("open('imported', 'w'); raise SystemExit(9)")
    root = str(Path(tflite_trial.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", trials.PROGRAM, root, "60", *target],
        cwd=tmp_path,
        input=b"",
        capture_output=True,
    )
    assert done.returncode != 9
    assert not (tmp_path / "imported").exists()
