"""ONNX files in float16 and int8: what is in them, and that they detect as their model."""

import sys

import numpy as np
import pytest
from exporting_cases import blobs, small_model

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.checks import TOLERANCES, Tolerance, check_export
from keras_retinanet.exporting.exported import load_exported
from keras_retinanet.exporting.onnx_file import export_onnx
from keras_retinanet.exporting.onnx_quantization import CONVOLUTIONS, int8_file, integer_nodes

onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
pytest.importorskip("tf2onnx", reason="needs the extra `onnx`")

SIZE = (64, 96)
IMAGES = [blobs(*SIZE, seed) for seed in range(4)]
PRECISIONS = ("float32", "float16", "int8")


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """Precision -> its file, of form nms."""
    folder = tmp_path_factory.mktemp("onnx")
    quiet = {"say": lambda line: None, "calibration": IMAGES}
    for precision in PRECISIONS:
        export_onnx(model, folder / f"{precision}.onnx", precision=precision, **quiet)
    return {precision: folder / f"{precision}.onnx" for precision in PRECISIONS}


def bytes_by_type(file) -> dict[str, int]:
    """Return type -> bytes of the constants of that type."""
    found: dict[str, int] = {}
    for tensor in file.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        found[str(array.dtype)] = found.get(str(array.dtype), 0) + array.nbytes
    return found


@pytest.mark.conversion
@pytest.mark.parametrize("precision", PRECISIONS)
def test_detects_as_the_model(model, files, precision, monkeypatch):
    # Scores here are low: the usual tolerance would leave none to compare.
    monkeypatch.setitem(TOLERANCES, "int8", Tolerance(0.7, 0.05, 0.8))
    found = check_export(model, files[precision], IMAGES)
    assert found.compared > 40
    detector = load_exported(files[precision])
    assert (detector.facts["precision"], detector.facts["kind"]) == (precision, "onnx")
    (values,) = onnx.load(files[precision]).graph.input
    assert values.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    types = [each.type.tensor_type.elem_type for each in onnx.load(files[precision]).graph.output]
    assert types == [onnx.TensorProto.FLOAT] * 3 + [onnx.TensorProto.INT32]


@pytest.mark.conversion
def test_float16_halves_the_file_but_keeps_the_last_layers_exact(files):
    file = onnx.load(files["float16"])
    stored = bytes_by_type(file)
    assert stored["float16"] > 20 * stored["float32"]
    ratio = files["float16"].stat().st_size / files["float32"].stat().st_size
    assert 0.45 < ratio < 0.6
    convolutions = [node for node in file.graph.node if node.op_type == "Conv"]
    types = {tensor.name: tensor.data_type for tensor in file.graph.initializer}
    exact = [node for node in convolutions if types[node.input[1]] == onnx.TensorProto.FLOAT]
    assert len(exact) == 10  # of both heads, at five levels
    assert len(convolutions) > 30


@pytest.mark.conversion
def test_int8_has_integer_convolutions_alone_and_scales_per_channel(files):
    file = onnx.load(files["int8"])
    made_by = {name: node for node in file.graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in file.graph.initializer}
    convolutions = [node for node in file.graph.node if node.op_type in CONVOLUTIONS]
    assert len(convolutions) > 20
    for node in convolutions:
        assert [made_by[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
        weights, scales = (
            onnx.numpy_helper.to_array(constants[name]) for name in made_by[node.input[1]].input[:2]
        )
        assert (weights.dtype, scales.shape) == (np.int8, weights.shape[:1])
    # Neither normalization before the network nor suppression behind it.
    after = {name for node in file.graph.node if node.op_type == "Sigmoid" for name in node.output}
    assert after
    assert not any(
        after.intersection(node.input)
        for node in file.graph.node
        if node.op_type == "QuantizeLinear"
    )
    assert bytes_by_type(file)["int8"] > 10 * bytes_by_type(file)["float32"]


def graph_of(rows):
    """Return a graph of (operator, inputs, output), named after their outputs."""
    nodes = [
        onnx.helper.make_node(kind, values.split(), [out], name=out) for kind, values, out in rows
    ]
    kernel = onnx.numpy_helper.from_array(np.zeros((1, 1, 1, 1), "f4"), "kernel")
    return onnx.helper.make_graph(nodes, "graph", [], [], [kernel])


def test_integer_nodes_are_convolutions_and_what_joins_them():
    graph = graph_of(
        [
            ("Sub", "image mean", "normalized"),
            ("Conv", "normalized kernel", "stem"),
            ("Relu", "stem", "relu"),
            ("Conv", "relu kernel", "residual"),
            ("Add", "residual relu", "sum"),
            # A group norm: its last sum joins values that are not all of convolutions.
            ("ReduceMean", "sum", "mean_of_sum"),
            ("Mul", "sum mean_of_sum", "scaled"),
            ("Add", "sum scaled", "group_norm"),
            ("Relu", "group_norm", "relu_of_norm"),
            ("Conv", "relu_of_norm kernel", "logits"),
            # Post-processing.
            ("Transpose", "logits", "moved"),
            ("Sigmoid", "moved", "scores"),
            ("Add", "moved moved", "boxes"),
        ]
    )
    assert integer_nodes(graph) == ["stem", "relu", "residual", "sum", "logits"]


def test_images_and_onnxruntime_are_needed(model, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="precision='int4'"):
        export_onnx(model, tmp_path / "x.onnx", precision="int4")
    with pytest.raises(UserError, match="Expected images to calibrate int8"):
        int8_file(None, iter([]))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="pip install onnxruntime"):
        int8_file(None, iter([np.zeros((1, 8, 8, 3), "f4")]))
    assert list(tmp_path.iterdir()) == []
