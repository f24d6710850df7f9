"""TensorFlow Lite files: run by the interpreter, and what they say of themselves."""

import json
import zipfile
from collections import Counter

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
from flatbuffers.table import Table
from tflite_files import interpreter

from keras_retinanet.checkpoints.catalogue_file import find_entry, provenance
from keras_retinanet.config.model import (
    DetectionConfig,
    FPNConfig,
    HeadConfig,
    ModelConfig,
    PreprocessingConfig,
)
from keras_retinanet.errors import UserError
from keras_retinanet.exporting.exported import load_exported
from keras_retinanet.exporting.tflite.conversion import FORMS, export_tflite
from keras_retinanet.exporting.tflite.flatbuffer import operators, read, write
from keras_retinanet.exporting.tflite.metadata import METADATA_NAME
from keras_retinanet.modeling.retinanet import retinanet

pytestmark = pytest.mark.conversion

SIZE = (64, 96)
NAMES = ["cell", "plate", "cup", "dog"]
CUSTOM = "CUSTOM TFLite_Detection_PostProcess"
# A public file, as which the model is described: its license goes along.
ENTRY = "torchvision_retinanet_resnet50_fpn_v2"


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(0)
    config = ModelConfig(
        fpn=FPNConfig(channels=16),
        head=HeadConfig(channels=16, depth=1, norm="group_norm", prior=0.3),
        preprocessing=PreprocessingConfig(64, 96, canvas="square", multiple=32),
        detections=DetectionConfig(score_threshold=0.32, max_detections=30),
    )
    model = retinanet("efficientnet_lite0", class_names=NAMES, config=config)
    model.metadata = provenance(find_entry(ENTRY))
    for layer in (model.class_head, model.box_head):  # else all scores are nearly the prior
        kernel, bias = layer.get_layer("final").get_weights()
        layer.get_layer("final").set_weights([kernel * 12, bias])
    return model


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 12, 3)).astype("f4")
    return np.round(tf.image.resize(coarse, SIZE).numpy()).astype("u1")


@pytest.fixture(scope="module")
def expected(model, picture):
    """What the model finds in a picture of the network's own size."""
    found = model.detect_batch(picture[None].astype("f4"), tf.constant([SIZE]))
    assert 8 <= int(found.num[0]) <= 30
    assert len(set(found.classes[0].numpy())) == len(NAMES)
    return [part[0, : int(found.num[0])].numpy() for part in found[:3]]


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """One file of each form, and together of each float precision and both input types."""
    folder = tmp_path_factory.mktemp("tflite")
    kinds = {
        "nms": ("float32", "uint8"),
        "mediapipe": ("float16", "float32"),
        "raw": ("dynamic", "uint8"),
    }
    for form, (precision, input_type) in kinds.items():
        export_tflite(
            model,
            folder / f"{form}.tflite",
            form=form,
            precision=precision,
            image_size=SIZE,
            input_type=input_type,
            say=lambda line: None,
        )
    return {form: folder / f"{form}.tflite" for form in kinds}


def run(file, picture, threads=1):
    """The file's outputs by position, and by name."""
    made = interpreter(file, threads)
    (source,) = made.get_input_details()
    assert source["name"] == "image"
    made.set_tensor(source["index"], picture[None].astype(source["dtype"]))
    made.invoke()
    outputs = {
        details["name"]: made.get_tensor(details["index"]) for details in made.get_output_details()
    }
    named = made.get_signature_runner("serving_default")(
        image=picture[None].astype(source["dtype"])
    )
    for name, value in outputs.items():
        np.testing.assert_array_equal(named[name], value)
    return outputs


def detections(outputs):
    """Boxes xyxy in pixels, scores and classes of what was found; the rest is zero."""
    num = int(outputs["num"][0])
    for name in ("boxes", "scores", "classes"):
        assert not outputs[name][0, num:].any()
    boxes = outputs["boxes"][0, :num][:, [1, 0, 3, 2]] * np.array([SIZE[1], SIZE[0]] * 2, "f4")
    return boxes, outputs["scores"][0, :num], outputs["classes"][0, :num]


def test_the_plain_form_finds_what_the_model_finds(files, picture, expected):
    outputs = run(files["nms"], picture)
    assert list(outputs) == ["boxes", "classes", "scores", "num"]
    assert all(value.dtype == np.float32 for value in outputs.values())
    boxes, scores, classes = detections(outputs)
    np.testing.assert_array_equal(classes, expected[2])
    np.testing.assert_allclose(scores, expected[1], atol=1e-4)
    np.testing.assert_allclose(boxes, expected[0], atol=0.1)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_mediapipe_form_finds_what_the_model_finds(files, picture, expected, threads):
    """In half precision: scores within 1e-3, of those a little above the threshold."""
    outputs = run(files["mediapipe"], picture, threads)
    assert list(outputs) == ["boxes", "classes", "scores", "num"]
    boxes, scores, classes = detections(outputs)
    assert abs(len(scores) - len(expected[1])) <= 1
    first = expected[1] > 0.34
    assert first.sum() >= 8
    for box, score, index in zip(*(part[first] for part in expected), strict=True):
        same = (classes == index) & (np.abs(boxes - box).max(axis=1) < 0.5)
        assert np.abs(scores[same] - score).min() < 2e-3


def test_the_raw_form_gives_what_detections_are_made_of(model, files, picture):
    outputs = run(files["raw"], picture)
    assert list(outputs) == ["class_logits", "box_deltas", "anchors"]
    raw = model(picture[None].astype("f4"))
    np.testing.assert_array_equal(outputs["anchors"][0], model.anchors(*SIZE))
    # Weights of 8 bits: within a tenth of how much the outputs vary.
    for name in ("class_logits", "box_deltas"):
        error = np.abs(outputs[name] - raw[name]).mean()
        assert error < 0.1 * np.std(raw[name])


def test_no_flex_and_no_unknown_operator(files):
    foreign = {
        form: Counter(name for name in operators(file.read_bytes()) if " " in name)
        for form, file in files.items()
    }
    assert foreign == {"nms": {}, "raw": {}, "mediapipe": {CUSTOM: 1}}


@pytest.mark.slow
def test_no_flex_and_no_unknown_operator_in_the_papers_model(tmp_path):
    model = retinanet("resnet50", 80)
    weights = sum(np.prod(weight.shape) for weight in model.weights) * 4
    for form in ("nms", "raw"):
        file = tmp_path / f"{form}.tflite"
        export_tflite(model, file, form=form, image_size=(640, 640), say=lambda line: None)
        assert not [name for name in operators(file.read_bytes()) if " " in name]
        assert file.stat().st_size < 1.05 * weights


def test_precisions_shrink_the_weights(files):
    sizes = {form: file.stat().st_size for form, file in files.items()}
    assert sizes["mediapipe"] < 0.6 * sizes["nms"]
    assert sizes["raw"] < 0.4 * sizes["nms"]


@pytest.mark.parametrize("form", ["nms", "raw", "mediapipe"])  # "edgetpu" has a file of tests
def test_facts_and_labels_lie_at_the_end(model, files, form):
    with zipfile.ZipFile(files[form]) as archive:
        assert archive.namelist() == ["model.json", "labels.txt"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        facts = json.loads(archive.read("model.json"))
        assert archive.read("labels.txt").decode().splitlines() == NAMES
    assert facts["form"] == form
    assert facts["class_names"] == NAMES
    assert facts["input"]["image_size"] == list(SIZE)
    assert facts["input"]["letterbox"] == ("stretch" if form == "mediapipe" else "top_left")
    assert [output["name"] for output in facts["outputs"]] == list(FORMS[form])


def test_every_buffer_is_aligned(files):
    """To 16 bytes, as the schema demands of what kernels read in place."""
    data = files["nms"].read_bytes()
    start = int.from_bytes(data[:4], "little")
    model = Table(data, start)
    buffers = model.Vector(vector_field(model, 4))
    count = model.VectorLen(vector_field(model, 4))
    assert count > 50
    for index in range(count):
        buffer = Table(data, model.Indirect(buffers + 4 * index))
        offset = vector_field(buffer, 0)
        if offset:
            assert buffer.Vector(offset) % 16 == 0


def test_reading_and_writing_change_nothing(files):
    data = files["nms"].read_bytes()
    assert data.startswith(write(read(data)))


# ------------------------------------------------------ the metadata, by its schema's field numbers


def vector_field(table, number):
    return int(table.Offset(4 + 2 * number))


def child(table, number):
    return Table(table.Bytes, table.Indirect(table.Pos + vector_field(table, number)))


def children(table, number):
    start = table.Vector(vector_field(table, number))
    return [
        Table(table.Bytes, table.Indirect(start + 4 * index))
        for index in range(table.VectorLen(vector_field(table, number)))
    ]


def text(table, number):
    return table.String(table.Pos + vector_field(table, number)).decode()


def byte(table, number):
    offset = vector_field(table, number)
    return table.Get(flatbuffers.number_types.Uint8Flags, table.Pos + offset) if offset else 0


def numbers(table, number, kind):
    offset = vector_field(table, number)
    return np.frombuffer(table.Bytes, kind, table.VectorLen(offset), table.Vector(offset)).tolist()


def metadata_of(file):
    model = read(file.read_bytes())
    (entry,) = (entry for entry in model.metadata if entry.name.decode() == METADATA_NAME)
    data = model.buffers[entry.buffer].data.tobytes()
    assert data[4:8] == b"M001"
    return Table(data, int.from_bytes(data[:4], "little"))


def test_metadata_are_what_mediapipe_wants(files):
    root = metadata_of(files["mediapipe"])
    assert text(root, 5) == find_entry(ENTRY).license
    assert text(root, 7) == "1.2.0"
    (graph,) = children(root, 3)
    (image,) = children(graph, 2)
    assert "Stretch" in text(image, 1)
    content = child(image, 3)
    assert byte(content, 0) == 2  # ImageProperties
    assert byte(child(content, 1), 0) == 1  # RGB
    (unit,) = children(image, 4)
    assert byte(unit, 0) == 1  # NormalizationOptions, one value for all channels
    assert [numbers(child(unit, 1), field, "<f4") for field in (0, 1)] == [[0.0], [1.0]]
    outputs = children(graph, 3)
    names = [text(output, 0) for output in outputs]
    assert names == ["location", "category", "score", "number of detections"]
    content = child(outputs[0], 3)
    assert byte(content, 0) == 3  # BoundingBoxProperties: left is the second number, ...
    assert numbers(child(content, 1), 0, "<u4") == [1, 0, 3, 2]
    assert [byte(child(content, 1), field) for field in (1, 2)] == [1, 0]  # boundaries, ratio
    (labels,) = children(outputs[1], 6)
    assert text(labels, 0) == "labels.txt"
    assert byte(labels, 2) == 3  # TENSOR_VALUE_LABELS


@pytest.mark.parametrize("form", ["nms", "raw"])
def test_metadata_state_order_and_letterbox(files, form):
    root = metadata_of(files[form])
    order = ", ".join(f"{index}: {name}" for index, name in enumerate(FORMS[form]))
    assert f"Outputs in order: {order}." in text(root, 1)
    (graph,) = children(root, 3)
    (image,) = children(graph, 2)
    assert "64 x 96" in text(image, 1)
    assert "put it top left, and fill the rest with the color (127, 127, 127)" in text(image, 1)
    meanings = [text(output, 1) for output in children(graph, 3)]
    assert meanings == list(FORMS[form].values())


# -------------------------------------------------------------------------------- through `detect`


def test_pictures_of_every_shape(model, files, rng):
    """A letterboxed picture gives what the model finds on the same canvas, in its own pixels."""
    detector = load_exported(files["nms"])
    for shape in [(1, 1), (7, 5000), (300, 400), (64, 96)]:
        picture = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        (found,) = detector.detect(picture)
        canvas, _ = model.preprocessing.letterbox_into(picture, SIZE)
        batch = model.detect_batch(np.rint(canvas)[None], tf.constant([SIZE]))
        assert len(found) == int(batch.num[0])
        np.testing.assert_allclose(found.scores, batch.scores[0, : len(found)], atol=1e-4)
        assert (found.boxes <= [shape[1] + 1e-3, shape[0] + 1e-3] * 2).all()


# ---------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "boxes"}, "form='boxes'"),
        ({"precision": "bfloat16"}, "float32, float16, dynamic, int8"),
        ({"input_type": "int8"}, "input_type='int8'"),
        ({"image_size": (0, 64)}, r"image_size=\(0, 64\)"),
        ({"precision": "int8"}, "Received: none"),
    ],
)
def test_mistakes_are_named(model, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        export_tflite(model, tmp_path / "x.tflite", say=lambda line: None, **options)
    assert list(tmp_path.iterdir()) == []


def test_one_line_for_each_step_and_nothing_half_written(model, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr("keras_retinanet.exporting.tflite.conversion.with_files", fail)
    lines = []
    with pytest.raises(RuntimeError):
        export_tflite(model, tmp_path / "x.tflite", image_size=(32, 32), say=lines.append)
    assert lines == [
        "folding batch norms",
        "converting the network",
        "converting decoding and suppression",
        "writing",
    ]
    assert list(tmp_path.iterdir()) == []
