"""OpenVINO's IR: that it detects as its model, and which folders are neither run nor replaced."""

import json
import sys

import numpy as np
import pytest
from exporting_cases import blobs, small_model

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.checks import TOLERANCES, Tolerance, check_export
from keras_retinanet.exporting.exported import describe_exported, load_exported
from keras_retinanet.exporting.facts import export_kind
from keras_retinanet.exporting.openvino_check import strange_parts
from keras_retinanet.exporting.openvino_folder import export_openvino, import_openvino
from keras_retinanet.exporting.staging import check_place

IMAGES = [blobs(64, 96, seed) for seed in range(4)]
FILES = ["labels.txt", "model.bin", "model.json", "model.xml"]


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """The model, and precision -> its folder, written when first asked for."""
    for name in ("openvino", "onnxruntime", "tf2onnx"):
        pytest.importorskip(name, reason="needs the extra `openvino`")
    model, place = small_model(), tmp_path_factory.mktemp("openvino")

    def folder(precision):
        if not (place / precision).exists():
            quiet = {"say": lambda line: None, "calibration": IMAGES}
            export_openvino(model, place / precision, precision=precision, **quiet)
        return place / precision

    return model, folder


@pytest.mark.conversion
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_detects_as_the_model(exports, precision, monkeypatch):
    model, folder = exports
    path = folder(precision)
    # Scores here are low: the usual tolerance would leave none to compare.
    monkeypatch.setitem(TOLERANCES, "int8", Tolerance(0.7, 0.05, 0.8))
    found = check_export(model, path, IMAGES)
    assert found.compared > 40
    assert sorted(file.name for file in path.iterdir()) == FILES
    described = describe_exported(path)
    assert described.doubt is None
    assert [described.facts[key] for key in ("kind", "form", "precision")] == [
        *("openvino", "nms", precision)
    ]
    weights = sum(np.prod(variable.shape) for variable in model.variables)
    width = {"float32": 4, "float16": 2, "int8": 1}[precision]
    assert width * 0.9 < (path / "model.bin").stat().st_size / weights < width * 1.25


@pytest.mark.conversion
def test_batches_of_images_of_many_sizes(exports):
    model, folder = exports
    images = [blobs(64, 96), blobs(50, 60, 1), blobs(64, 96, 2), blobs(90, 40, 3)]
    detector = load_exported(folder("float32"))
    assert detector.takes_batches
    for found, wanted in zip(detector.detect(images), model.detect(images), strict=True):
        assert 0 < len(found) == pytest.approx(len(wanted), abs=2)


@pytest.mark.conversion
def test_a_changed_folder_is_refused_and_an_earlier_export_replaced(exports, tmp_path):
    model, _ = exports
    out = tmp_path / "model"
    quiet = {"say": lambda line: None, "form": "raw"}
    for _ in range(2):
        check_place(out, "openvino")
        export_openvino(model, out, image_size=(64, 64), **quiet)
    weights = bytearray((out / "model.bin").read_bytes())
    weights[-1] ^= 1
    (out / "model.bin").write_bytes(weights)
    with pytest.raises(UserError, match=r"damaged or was changed: its bytes \(model.bin\)"):
        load_exported(out)
    (out / "mine.txt").touch()
    with pytest.raises(UserError, match="an earlier export and nothing else"):
        check_place(out, "openvino")


# ------------------------------------------------------------------------------- without OpenVINO


def graph(*versions: str, head: str = "") -> str:
    layers = "".join(f'<layer type="Thing" version="{version}"/>' for version in versions)
    return f'<?xml version="1.0"?>{head}<net version="11"><layers>{layers}</layers></net>'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (graph("opset1", "opset15"), []),
        (graph("opset1", "extension"), ["the operator Thing"]),
        (graph("opset1x"), ["the operator Thing"]),
        (graph("opset1", head='<!DOCTYPE n [<!ENTITY a "b">]>'), ["entities of XML"]),
    ],
)
def test_only_its_own_operators(tmp_path, text, found):
    (tmp_path / "model.xml").write_text(text)
    assert strange_parts(tmp_path) == found


def test_a_folder_of_others_is_one_line(tmp_path):
    (tmp_path / "model.xml").write_text(graph("opset1"))
    assert export_kind(tmp_path) == "openvino"
    with pytest.raises(UserError, match=r"no valid model\.json"):
        load_exported(tmp_path)
    with pytest.raises(UserError, match="an earlier export and nothing else"):
        check_place(tmp_path, "openvino")
    (tmp_path / "model.json").write_text(json.dumps({"export_format": 99}))
    with pytest.raises(UserError, match="export format 99"):
        load_exported(tmp_path)


def test_openvino_is_asked_for_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match="Install it: pip install openvino"):
        import_openvino()
    with pytest.raises(UserError, match="pip install openvino"):
        export_openvino(None, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
