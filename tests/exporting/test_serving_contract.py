"""Exported signatures against TensorFlow Serving's documentation. No server is run here.

Requests are read as https://www.tensorflow.org/tfx/serving/api_rest states them, into tensors of
the names, types and shapes that `saved_model.pb` has, which is all that a server knows of a model.
"""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from exported_models import IDS, SIDE, spread_model
from PIL import Image
from serving_requests import BadRequest, read_request, written_response
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2
from warmup_records import read_warmup

pytestmark = pytest.mark.conversion

README = Path(__file__).parents[2] / "export" / "README.md"
IMAGES = {"images": ("DT_UINT8", [-1, -1, -1, 3])}
INPUTS = {
    "serving_default": IMAGES,
    "serve_bytes": {"image_bytes": ("DT_STRING", [-1])},
    "serve_example": {"examples": ("DT_STRING", [-1])},
    "serve_thresholds": {
        **IMAGES,
        "score_threshold": ("DT_FLOAT", []),
        "nms_iou": ("DT_FLOAT", []),
        "max_detections": ("DT_INT32", []),
    },
    "raw": {"images": ("DT_FLOAT", [-1, -1, -1, 3])},
}


# --------------------------------------------------------------------------------- the model


@pytest.fixture(scope="module")
def model():
    return spread_model()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    from keras_retinanet.exporting.saved_model.folder import export_saved_model

    path = tmp_path_factory.mktemp("models") / "retinanet" / "1"
    export_saved_model(model, path, warmup=True, say=lambda line: None)
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    return tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def signatures(folder):
    """What a server reads: the signatures of the graph that is tagged "serve"."""
    stored = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    (graph,) = stored.meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    return graph.signature_def


@pytest.fixture(scope="module")
def picture():
    coarse = np.random.default_rng(3).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIDE // 2, SIDE // 4)))


def b64(picture: np.ndarray) -> dict[str, str]:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return {"b64": base64.b64encode(stream.getvalue()).decode("ascii")}


def answer(request, loaded, signatures):
    """Return what a client would get for a request, if a server does as documented."""
    name, inputs, is_row = read_request(json.dumps(request), signatures)
    tensors = {
        key: tf.constant(value, tf.as_dtype(signatures[name].inputs[key].dtype))
        for key, value in inputs.items()
    }
    return written_response(loaded.signatures[name](**tensors), is_row=is_row)


def assert_is_detection(row, wanted) -> None:
    """Compare one picture's outputs with the model's `Detections` of it."""
    num = int(row["num_detections"])
    assert num == len(wanted) > 5
    np.testing.assert_allclose(row["detection_boxes_xyxy"][:num], wanted.boxes, atol=0.1)
    np.testing.assert_allclose(row["detection_scores"][:num], wanted.scores, atol=1e-4)
    assert row["detection_classes"][:num] == [IDS[index] for index in wanted.classes]


# --------------------------------------------------------------------------------- signatures


def described(infos):
    """Return name -> (type, sides) of a signature's inputs or outputs; -1: any side."""
    return {
        name: (
            types_pb2.DataType.Name(info.dtype),
            [dimension.size for dimension in info.tensor_shape.dim],
        )
        for name, info in infos.items()
    }


@pytest.mark.parametrize("name", INPUTS)
def test_signatures_are_as_written_in_the_contract(name, model, signatures):
    signature = signatures[name]
    assert signature.method_name == "tensorflow/serving/predict"
    assert described(signature.inputs) == INPUTS[name]
    outputs = described(signature.outputs)
    if name == "raw":
        assert outputs == {
            "class_logits": ("DT_FLOAT", [-1, -1, len(IDS)]),
            "box_deltas": ("DT_FLOAT", [-1, -1, 4]),
        }
        return
    rows = -1 if name == "serve_thresholds" else model.config.detections.max_detections
    assert outputs == {
        "detection_boxes": ("DT_FLOAT", [-1, rows, 4]),
        "detection_boxes_xyxy": ("DT_FLOAT", [-1, rows, 4]),
        "detection_scores": ("DT_FLOAT", [-1, rows]),
        "detection_classes": ("DT_FLOAT", [-1, rows]),
        "num_detections": ("DT_FLOAT", [-1]),
    }
    # A name that ends so would be written as base64.
    assert not any(key.endswith("_bytes") for key in outputs)


# ----------------------------------------------------------------------------------- requests


@pytest.mark.parametrize("form", ["row", "named row", "columnar", "named columnar"])
def test_encoded_pictures_in_each_form_of_a_request(form, model, loaded, signatures, picture):
    other = picture[:30, :50]
    binaries = [b64(picture), b64(other)]
    key, value = {
        "row": ("instances", binaries),
        "named row": ("instances", [{"image_bytes": binary} for binary in binaries]),
        "columnar": ("inputs", binaries),
        "named columnar": ("inputs", {"image_bytes": binaries}),
    }[form]
    response = answer({"signature_name": "serve_bytes", key: value}, loaded, signatures)
    if key == "inputs":
        outputs = response["outputs"]
        rows = [{name: part[i] for name, part in outputs.items()} for i in range(2)]
    else:
        rows = response["predictions"]
    assert len(rows) == 2
    for row, wanted in zip(rows, model.detect([picture, other]), strict=True):
        assert_is_detection(row, wanted)


def test_the_default_signature_takes_numbers(model, loaded, signatures, picture):
    response = answer({"instances": [picture.tolist()] * 3}, loaded, signatures)
    assert len(response["predictions"]) == 3
    for row in response["predictions"]:
        assert_is_detection(row, model.detect(picture)[0])


def test_examples(model, loaded, signatures, picture):
    encoded = base64.b64decode(b64(picture)["b64"])
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    example = tf.train.Example(features=tf.train.Features(feature={"image/encoded": feature}))
    text = base64.b64encode(example.SerializeToString()).decode("ascii")
    request = {"signature_name": "serve_example", "instances": [{"examples": {"b64": text}}]}
    (row,) = answer(request, loaded, signatures)["predictions"]
    assert_is_detection(row, model.detect(picture)[0])


def test_thresholds_have_no_row_format(loaded, signatures, picture):
    """Rows share their 0-th dimension, which a scalar lacks: the columnar form is for these."""
    limits = {"score_threshold": 0.35, "nms_iou": 0.4, "max_detections": 3}
    request = {
        "signature_name": "serve_thresholds",
        "inputs": {"images": [picture.tolist()], **limits},
    }
    outputs = answer(request, loaded, signatures)["outputs"]
    assert outputs["num_detections"] == [3]
    assert np.shape(outputs["detection_boxes"]) == (1, 3, 4)
    request["instances"] = [{"images": picture.tolist(), **limits}]
    del request["inputs"]
    with pytest.raises(BadRequest, match=r"a shape of \[\]"):
        answer(request, loaded, signatures)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"instances": [1], "inputs": [1]}, "not both"),
        ({"signature_name": "predict", "instances": [1]}, "no signature"),
        ({"signature_name": "serve_bytes", "instances": [[1]]}, "type string"),
        ({"signature_name": "serve_bytes", "instances": [{"picture": "x"}]}, "names each"),
        ({"instances": [{"b64": "AAAA"}]}, "type uint8"),
        ({"instances": [[[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]]]}, "inhomogeneous"),
        ({"instances": [[[[1, 2]]]]}, r"\[-1, -1, -1, 3\]"),
        ({"instances": [[[[1, 2, 256]]]]}, "256"),
    ],
)
def test_what_the_documentation_rules_out(request_, message, signatures):
    with pytest.raises(BadRequest, match=message):
        read_request(json.dumps(request_), signatures)


def test_the_request_in_the_consumers_readme(model, loaded, signatures, picture):
    (form,) = re.findall(r"printf '(\{.*\})'", README.read_text(encoding="utf-8"))
    request = json.loads(form % b64(picture)["b64"])
    (row,) = answer(request, loaded, signatures)["predictions"]
    assert_is_detection(row, model.detect(picture)[0])


# ------------------------------------------------------------------------------------ warm-up


def test_warmup_of_an_export_runs(folder, loaded, signatures):
    requests = read_warmup(folder)
    assert {name for name, _ in requests} >= {"serving_default", "serve_bytes"}
    assert len(requests) <= 1000
    for name, inputs in requests:
        found = loaded.signatures[name](**{key: tf.constant(v) for key, v in inputs.items()})
        assert np.isfinite(found["num_detections"].numpy()).all()
