"""What SavedModels do for every option, for odd pictures and in half the bytes."""

import numpy as np
import pytest
import tensorflow as tf
from exporting_cases import (
    arrays,
    bad_pictures,
    blobs,
    check_same,
    encoded_pictures,
    small_model,
)

from keras_retinanet.exporting.saved_model.folder import export_saved_model
from keras_retinanet.exporting.saved_model.graph_decoding import read_picture
from keras_retinanet.exporting.saved_model.serving import Serving
from keras_retinanet.exporting.thresholds import with_detections
from keras_retinanet.files.images.decoding import decode_image

pytestmark = pytest.mark.conversion


@pytest.fixture(scope="module")
def model():
    return small_model()


# ------------------------------------------------------------------------------------ every option


# As the importers set them, some two systems' together.
OPTIONS = {
    "torchvision, model garden": (
        {"short_side": 96, "canvas": "square", "rounding": "floor", "antialias": True},
        {"background_output": True, "drop_empty": True},
    ),
    "fizyr": (
        {"canvas": "exact", "multiple": 1, "exact_scale": "both", "resize_method": "rounded",
         "color_order": "bgr"},
        {"clip_to": "canvas", "clip_margin": 1.0, "pre_nms_top_k": None},
    ),
    "detectron2, yhenon": (
        {"canvas": "exact_beyond", "rounding": "half_up", "resize_method": "pillow",
         "exact_scale": "boxes"},
        {"pre_nms_top_k": 40, "top_k_per": "class", "clip_to": "none", "clip_before_nms": False},
    ),
    "kerashub": (
        {"short_side": 96, "canvas": "square", "pad_first": True},
        {"suppress": "best_class"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option(name):
    preprocessing, detections = OPTIONS[name]
    model = small_model(preprocessing=preprocessing, detections=detections)
    serving = Serving(model, "{}", xla=True)
    files = list(encoded_pictures().values())[:8]
    found = arrays(serving.serve_bytes(tf.constant(files)))
    for row, expected in enumerate(model.detect([decode_image(encoded) for encoded in files])):
        assert len(expected) > 3
        check_same(found, row, expected)
    if name in ("detectron2, yhenon", "kerashub"):  # other candidates, other suppression
        pictures = np.stack([blobs(60, 90, seed) for seed in range(2)])
        found = arrays(serving.serve_xla(tf.constant(pictures)))
        for row, expected in enumerate(model.detect(list(pictures))):
            check_same(found, row, expected)


# ---------------------------------------------------------------------------------- odd pictures


@pytest.fixture(scope="module")
def patient(model):
    return Serving(model, "{}", keep_going=True)


def test_bad_pictures_have_no_detections(model, patient):
    good = next(iter(encoded_pictures().values()))
    bad = bad_pictures()
    found = arrays(patient.serve_bytes(tf.constant([*bad.values(), good])))
    assert dict(zip(bad, found["num_detections"], strict=False)) == dict.fromkeys(bad, 0)
    for row in range(len(bad)):
        np.testing.assert_array_equal(found["detection_boxes_xyxy"][row], 0)
    check_same(found, len(bad), model.detect(decode_image(good))[0])
    only_bad = patient.serve_bytes(tf.constant([b"", b"text"]))
    np.testing.assert_array_equal(only_bad["detection_scores"], np.zeros((2, 20)))


def test_an_example_without_a_picture(patient):
    empty = tf.train.Example().SerializeToString()
    assert patient.serve_example(tf.constant([empty]))["num_detections"].numpy() == [0]


@pytest.mark.parametrize("size", [(7, 5000), (4000, 3000)])
def test_large_pictures(model, patient, size):
    picture = blobs(*size)
    encoded = tf.io.encode_jpeg(picture)
    found = arrays(patient.serve_bytes(encoded[None]))
    check_same(found, 0, model.detect(decode_image(encoded.numpy()))[0], box_gap=0.1)


@pytest.mark.parametrize(("threshold", "most"), [(1.0, 0), (0.0, 50)])
def test_no_candidate_and_all(model, patient, threshold, most):
    picture, asked = blobs(60, 90), (tf.constant(threshold), tf.constant(0.5), tf.constant(50))
    found = arrays(patient.serve_thresholds(tf.constant(picture[None]), *asked))
    assert found["num_detections"] == [most]
    changed = with_detections(model, score_threshold=threshold, max_detections=50)
    if most:
        check_same(found, 0, changed.detect(picture)[0])


def test_the_same_pixels_as_everywhere_else():
    read = tf.function(
        read_picture, autograph=False, input_signature=[tf.TensorSpec([], tf.string)]
    )
    for name, encoded in encoded_pictures().items():
        picture, is_read = read(encoded)
        assert is_read, name
        np.testing.assert_array_equal(picture, decode_image(encoded), err_msg=name)
    for name, encoded in bad_pictures().items():
        assert not read(encoded)[1], name


# ------------------------------------------------------------------------------------- precisions


@pytest.mark.parametrize(("precision", "gap"), [("bfloat16", 0.03), ("float16", 0.002)])
def test_half_the_bytes(model, precision, gap):
    serving = Serving(model, "{}", precision=precision)
    stored = sum(weight.dtype.size * weight.shape.num_elements() for weight in serving.weights)
    assert stored < 0.5 * sum(weight.numpy().nbytes for weight in model.weights)
    picture = blobs(60, 90)
    found = arrays(serving.serving_default(tf.constant(picture[None])))
    (expected,) = model.detect(picture)
    scores = found["detection_scores"][0, :10]
    np.testing.assert_allclose(scores, expected.scores[:10], atol=gap)
    assert not np.array_equal(scores, expected.scores[:10])


# ---------------------------------------------------------------------------------- real pictures


@pytest.mark.slow
def test_fifty_real_pictures(real_coco, tmp_path):
    model = small_model(preprocessing={"short_side": 240, "long_side": 320})
    files = [path.read_bytes() for path in sorted((real_coco / "val2017").glob("*.jpg"))]
    assert len(files) == 50
    export_saved_model(model, tmp_path / "exported", say=lambda _: None)
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    found = arrays(loaded.signatures["serve_bytes"](image_bytes=tf.constant(files)))
    for row, expected in enumerate(model.detect([decode_image(encoded) for encoded in files])):
        check_same(found, row, expected, box_gap=0.1)
