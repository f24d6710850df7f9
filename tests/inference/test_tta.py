"""Test-time augmentation: passes agree in the picture's own pixels, then are averaged."""

import numpy as np
import pytest
from exporting_cases import blobs, small_model

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.detectors import CanvasInput
from keras_retinanet.exporting.facts import model_facts
from keras_retinanet.inference.merging import fuse
from keras_retinanet.inference.tta import (
    COARSEST_STRIDE,
    DEFAULT_SCALES,
    FUSION_IOU,
    at_scale,
    with_test_time,
)
from keras_retinanet.modeling.detecting import detect_images

PICTURE = blobs(60, 90)


@pytest.fixture(scope="module")
def model():
    return small_model()


def same(found, expected):
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.01)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(found.classes, expected.classes)


@pytest.mark.long
def test_a_mirrored_pass_is_that_of_the_mirror_image(model):
    detector = with_test_time(model, scales=[1], flip=True)
    assert detector.views == [(1, False), (1, True)]
    (plain,), (mirrored,) = detector.passes([PICTURE])
    same(plain, model.detect(PICTURE)[0])
    other = model.detect(PICTURE[:, ::-1].copy())[0]
    np.testing.assert_allclose(mirrored.boxes[:, 0], 90 - other.boxes[:, 2], atol=0.01)
    np.testing.assert_allclose(mirrored.boxes[:, 2], 90 - other.boxes[:, 0], atol=0.01)
    np.testing.assert_array_equal(mirrored.boxes[:, 1::2], other.boxes[:, 1::2])
    # Twice mirrored is the picture itself.
    (again,) = detector.passes([PICTURE[:, ::-1].copy()])[1]
    np.testing.assert_allclose(again.boxes[:, 0], 90 - plain.boxes[:, 2], atol=0.01)


def test_a_scale_resizes_to_that_size_on_a_canvas_that_keeps_the_phase(model):
    picture = blobs(128, 192)
    detector = at_scale(model, 2)
    preprocessing = detector.preprocessing
    assert (preprocessing.short_side, preprocessing.long_side) == (128, 192)
    assert preprocessing.resized_size(60, 90) == (128, 192)
    own, canvas = model.preprocessing.canvas_size(64, 96), preprocessing.canvas_size(128, 192)
    assert (own, canvas) == ((64, 96), (192, 224))
    assert [(side - o) % COARSEST_STRIDE for side, o in zip(canvas, own, strict=True)] == [0, 0]

    # Of this picture the size is already that of the scale.
    inputs = model.preprocessing.pad(picture.astype("f4"), canvas)
    batch = model.detect_batch(inputs[None], np.array([(128, 192)], "i4"))
    (found,) = detect_images(detector, picture, batch_size=1)
    same(found, model.finish(batch, 0, (128, 192), (128, 192)))


def test_the_own_scale_is_the_model_itself(model):
    assert at_scale(model, 1) is model


def test_passes_are_fused_and_bounded(model):
    detector = with_test_time(model, scales=(1, 1.5), flip=True)
    (result, second) = detector.detect([PICTURE, blobs(90, 60)], batch_size=1)
    parts = [found[0] for found in detector.passes([PICTURE])]
    assert len(parts) == 4
    boxes, scores, classes = fuse(
        *(np.concatenate([getattr(p, n) for p in parts]) for n in ("boxes", "scores", "classes")),
        iou=FUSION_IOU,
        passes=4,
    )
    limits = model.config.detections
    keep = np.flatnonzero(scores >= limits.score_threshold)[: limits.max_detections]
    assert 5 < len(keep) < len(scores)
    np.testing.assert_allclose(result.boxes, boxes[keep], atol=0.01)
    np.testing.assert_allclose(result.scores, scores[keep], atol=1e-5)
    np.testing.assert_array_equal(result.classes, classes[keep])
    assert result.boxes.dtype == result.scores.dtype == np.float32
    assert (second.boxes[:, 2] <= 60.01).all() and len(second) > 5


def exported(model, image_size):
    facts = model_facts(
        model, kind="onnx", outputs={}, form="raw", dtype="float32", image_size=image_size
    )
    return CanvasInput("model.onnx", facts, lambda inputs: [], takes_batches=True)


def test_files_of_a_fixed_size_are_mirrored_alone(model):
    fixed, free = exported(model, (64, 96)), exported(model, None)
    assert with_test_time(fixed).views == [(1, False), (1, True)]
    assert [scale for scale, _ in with_test_time(free).views] == [*DEFAULT_SCALES] * 2
    canvas, size = at_scale(free, 1.5).prepare(PICTURE)
    assert size == (96, 144) and canvas.shape == (192, 224, 3)
    assert free.preprocessing.short_side == 64
    with pytest.raises(UserError, match=r"scale 1 alone.*Received: scale=0.5"):
        with_test_time(fixed, scales=(1, 0.5))


@pytest.mark.parametrize("scales", [(), (0.1,), (1, 6), (float("nan"),)])
def test_other_scales_are_refused(model, scales):
    with pytest.raises(UserError, match=r"Expected scales of 0.2 to 5 times"):
        with_test_time(model, scales=scales)
