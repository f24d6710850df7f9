"""Decoding and suppression as TensorFlow Lite runs them, against the model's own."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tflite_files import converted, interpreter

from keras_retinanet.config.model import DetectionConfig
from keras_retinanet.exporting.plain_detections import PlainPostProcessing
from keras_retinanet.exporting.tflite.flatbuffer import operators
from keras_retinanet.exporting.tflite.graphs import detection_function
from keras_retinanet.modeling.anchors import Anchors, feature_sizes
from keras_retinanet.modeling.boxes import BoxCoder
from keras_retinanet.modeling.post_processing import PostProcessing

pytestmark = pytest.mark.conversion

SIZE = (96, 128)
CLASSES = 5
ANCHORS = Anchors(sizes=(16.0, 32.0, 64.0, 96.0, 128.0))
CELLS = [rows * columns * ANCHORS.per_cell for rows, columns in feature_sizes(*SIZE)]
CUSTOM = "CUSTOM TFLite_Detection_PostProcess"

OPTIONS = {
    "defaults": {},
    "few": {"pre_nms_top_k": 40, "max_detections": 12, "score_threshold": 0.3, "nms_iou": 0.4},
    "all_pairs": {"pre_nms_top_k": None},
    "top_k_per_class": {"top_k_per": "class", "pre_nms_top_k": 50},
    "best_class": {"suppress": "best_class"},
    "best_class_of_all": {"suppress": "best_class", "pre_nms_top_k": None},
    "background": {"background_output": True},
    "best_but_background": {"background_output": True, "suppress": "best_class"},
    "clip_after": {"clip_before_nms": False, "drop_empty": True},
    "no_clip": {"clip_to": "none"},
    "margin": {"clip_margin": 1.0, "drop_empty": True},
    "suppress_nothing": {"nms_iou": 1.0},
    "suppress_all_overlaps": {"nms_iou": 0.0},
    "more_than_there_are": {"max_detections": 300, "pre_nms_top_k": 20},
}


@pytest.fixture
def raw(rng):
    anchors = sum(CELLS)
    return {
        "class_logits": rng.normal(-2, 1.5, (1, anchors, CLASSES)).astype("f4"),
        "box_deltas": rng.normal(0, 0.3, (1, anchors, 4)).astype("f4"),
    }


def detections(kind, raw, coder=None, **options):
    found = kind(**options)(raw, ANCHORS(*SIZE), CELLS, [SIZE], coder or BoxCoder(), SIZE)
    return [part.numpy() for part in found]


def tail(form, coder=None, **options):
    """The flatbuffer of what follows the network."""
    model = SimpleNamespace(
        config=SimpleNamespace(detections=DetectionConfig(**options)),
        anchors=ANCHORS,
        box_coder=coder or BoxCoder(),
        class_names=["a"] * CLASSES,
    )
    return converted(detection_function(model, SIZE, form))


def run(flatbuffer, raw, threads=1):
    """Boxes in pixels xyxy, scores, classes and num, as the model gives them."""
    found = interpreter(flatbuffer, threads).get_signature_runner()(**raw)
    height, width = SIZE
    boxes = found["boxes"][..., [1, 0, 3, 2]] * np.array([width, height] * 2, "f4")
    return boxes, found["scores"], found["classes"], found["num"]


def assert_same(found, expected):
    boxes, scores, classes, num = found
    np.testing.assert_array_equal(num, expected[3])
    np.testing.assert_allclose(scores, expected[1], atol=1e-6)
    np.testing.assert_array_equal(classes, expected[2])
    np.testing.assert_allclose(boxes, expected[0], atol=2e-3)


@pytest.mark.parametrize("name", OPTIONS)
def test_plain_operators_find_the_same(raw, name):
    expected = detections(PostProcessing, raw, **OPTIONS[name])
    assert expected[3][0] >= 12
    assert_same(detections(PlainPostProcessing, raw, **OPTIONS[name]), expected)


def test_plain_operators_find_the_same_in_a_batch(rng):
    anchors = sum(CELLS)
    raw = {
        "class_logits": rng.normal(-2, 1.5, (3, anchors, CLASSES)).astype("f4"),
        "box_deltas": rng.normal(0, 0.3, (3, anchors, 4)).astype("f4"),
    }
    plain, usual = (
        [part.numpy() for part in kind()(raw, ANCHORS(*SIZE), CELLS, [SIZE] * 3, BoxCoder(), SIZE)]
        for kind in (PlainPostProcessing, PostProcessing)
    )
    assert_same(plain, usual)


@pytest.mark.parametrize("name", ["defaults", "all_pairs", "best_class", "suppress_nothing"])
def test_tflites_own_operators_find_the_same(raw, name):
    flatbuffer = tail("nms", **OPTIONS[name])
    assert not [operator for operator in operators(flatbuffer) if " " in operator]
    assert_same(run(flatbuffer, raw), detections(PostProcessing, raw, **OPTIONS[name]))


@pytest.mark.parametrize("name", OPTIONS)
def test_the_post_process_operator_finds_the_same(raw, name):
    flatbuffer = tail("mediapipe", **OPTIONS[name])
    assert [operator for operator in operators(flatbuffer) if " " in operator] == [CUSTOM]
    expected = detections(PostProcessing, raw, **OPTIONS[name])
    # Two threads: its suppression per class would lose class 2 (tensorflow#56058).
    assert_same(run(flatbuffer, raw, threads=2), expected)


@pytest.mark.parametrize("form", ["nms", "mediapipe"])
@pytest.mark.parametrize("code", ["yxhw", "corners"])
def test_every_code_of_boxes(raw, form, code):
    coder = BoxCoder(code, (0.2, 0.2, 0.3, 0.3), "both")
    expected = detections(PostProcessing, raw, coder)
    assert_same(run(tail(form, coder), raw), expected)


@pytest.mark.parametrize("form", ["nms", "mediapipe"])
def test_no_candidate_and_nothing_but_candidates(raw, form):
    flatbuffer = tail(form, score_threshold=0.5)
    boxes, scores, classes, num = run(flatbuffer, raw | {"class_logits": raw["class_logits"] - 99})
    assert num == 0
    assert not boxes.any()
    assert not scores.any()
    assert not classes.any()
    # All of one score: which ones come is open, but not that they are full and do not overlap.
    certain = np.full_like(raw["class_logits"], 9)
    boxes, scores, classes, num = run(flatbuffer, raw | {"class_logits": certain})
    assert num == 100
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-9.0)), rtol=1e-6)
    for index in range(CLASSES):
        own = boxes[0, classes[0] == index]
        kept = tf.image.non_max_suppression(own, np.ones(len(own), "f4"), 100, 0.5)
        assert len(kept) == len(own)


@pytest.mark.parametrize("form", ["nms", "mediapipe"])
def test_empty_boxes_are_found_once(raw, form):
    """Beyond the border and cut at it; TensorFlow Lite would fill up with the first of them."""
    options = {"score_threshold": 0.0, "max_detections": 500}
    expected = detections(PostProcessing, raw, **options)
    assert_same(run(tail(form, **options), raw), expected)
