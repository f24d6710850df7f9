"""TensorFlow Lite files of integers alone, as the compiler of the Edge TPU takes them.

The compiler itself is not run.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from exporting_cases import blobs, small_model
from tensorflow.lite.python import schema_py_generated as schema
from tflite_files import interpreter

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.checks import TOLERANCES, Tolerance, check_export
from keras_retinanet.exporting.exported import load_exported
from keras_retinanet.exporting.tflite import edge_tpu
from keras_retinanet.exporting.tflite.conversion import export_tflite
from keras_retinanet.exporting.tflite.edge_tpu import check_network, integer_flatbuffer
from keras_retinanet.exporting.tflite.flatbuffer import operators, read
from keras_retinanet.modeling.retinanet import RetinaNet

pytestmark = pytest.mark.conversion

APPS = Path(__file__).parents[2] / "export"
SIZE = (64, 96)
# No image has a black or a white pixel.
IMAGES = [blobs(*SIZE, seed) // 2 + 40 for seed in range(4)]
OPTIONS = {"form": "edgetpu", "image_size": SIZE, "say": lambda line: None}


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("edge_tpu") / "model.tflite"
    export_tflite(model, path, precision="int8", calibration=IMAGES, **OPTIONS)
    return path


def test_nothing_is_float_and_the_input_is_the_pixels(file):
    content = file.read_bytes()
    tensors = read(content).subgraphs[0].tensors
    integers = {schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT32}
    assert {tensor.type for tensor in tensors} == integers
    assert set(operators(content)) <= edge_tpu.OPERATORS
    made = interpreter(file)
    (source,) = made.get_input_details()
    assert (source["dtype"], source["quantization"]) == (np.uint8, (1.0, 0))
    targets = made.get_output_details()
    assert [target["name"] for target in targets] == ["class_logits", "box_deltas"]
    assert [target["dtype"] for target in targets] == [np.int8, np.int8]


def test_detects_as_the_model(model, file, monkeypatch):
    # Scores here are low: the usual tolerance would leave none to compare.
    monkeypatch.setitem(TOLERANCES, "int8", Tolerance(0.7, 0.05, 0.9))
    assert check_export(model, file, IMAGES).compared > 20
    facts = load_exported(file).facts
    assert (facts["form"], facts["precision"], facts["input"]["dtype"]) == (
        *("edgetpu", "int8", "uint8"),
    )


def test_an_application_finds_the_same_with_the_anchors_of_the_file(file, monkeypatch):
    monkeypatch.syspath_prepend(APPS)
    from pictures import Picture
    from run_tflite import load, read_anchors

    image = IMAGES[0]
    (wanted,) = load_exported(file).detect([image])
    found = load(file).detect(Picture(Path("image"), b"", image))
    gaps = np.abs(found.boxes[:, None] - wanted.boxes[None]).max(axis=2)
    gaps[found.labels[:, None] != wanted.classes[None]] = np.inf
    assert len(found.scores) == len(wanted) == 20
    # In integers many scores are equal; either may take the last places of all.
    partners = gaps.argmin(axis=1)[gaps.min(axis=1) < 0.01]
    assert len(partners) >= 18
    np.testing.assert_allclose(np.sort(found.scores), np.sort(wanted.scores), atol=1e-5)
    assert read_anchors(file)["anchors"].shape[0] == 1


def test_what_is_no_work_for_it_is_one_line(model, tmp_path, monkeypatch):
    out = tmp_path / "model.tflite"
    for wrong in ({}, {"precision": "int8", "input_type": "float32"}):
        with pytest.raises(UserError, match="Expected --precision int8 and --input_type uint8"):
            export_tflite(model, out, **OPTIONS, **wrong)
    with pytest.raises(UserError, match="Expected images to calibrate int8"):
        integer_flatbuffer(None, [])
    head = dataclasses.replace(model.config.head, norm="group_norm")
    normed = RetinaNet(dataclasses.replace(model.config, head=head), model.class_names)
    with pytest.raises(UserError, match="Expected a model without group norms"):
        export_tflite(normed, out, precision="int8", calibration=IMAGES, **OPTIONS)
    monkeypatch.setattr(edge_tpu, "OPERATORS", edge_tpu.OPERATORS - {"MAX_POOL_2D"})
    with pytest.raises(UserError, match="Received: MAX_POOL_2D"):
        export_tflite(model, out, precision="int8", calibration=IMAGES, **OPTIONS)
    assert list(tmp_path.iterdir()) == []


def test_the_network_of_a_model_without_group_norms_is_taken(model):
    check_network(model.class_head)
