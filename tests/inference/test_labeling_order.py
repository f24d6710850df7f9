"""Which images are to be labeled next, on cases that a person can check."""

import numpy as np
import pytest

from keras_retinanet.inference.labeling_order import look, next_images, uncertainty
from keras_retinanet.modeling.detections import Detections

NAMES = ["cat", "dog"]


def found(*scores, classes=None):
    count = len(scores)
    classes = np.zeros(count, np.int32) if classes is None else np.array(classes, np.int32)
    return Detections(
        np.zeros((count, 4), np.float32), np.array(scores, np.float32), classes, NAMES
    )


@pytest.mark.parametrize(
    ("scores", "threshold", "expected"),
    [
        ((), 0.5, 0.0),
        ((1.0, 0.0), 0.5, 0.0),
        ((0.5,), 0.5, 0.1),
        ((0.5,) * 10, 0.5, 1.0),
        ((0.5,) * 25, 0.5, 1.0),  # a crowd is no more
        ((0.75, 0.25), 0.5, 0.1),
        ((0.2,), 0.2, 0.1),
        ((0.6, 0.1), 0.2, 0.1),
    ],
)
def test_a_model_is_most_uncertain_at_its_threshold(scores, threshold, expected):
    assert uncertainty(found(*scores), threshold) == pytest.approx(expected)


def test_each_class_has_its_threshold():
    detections = found(0.2, 0.2, classes=[0, 1])
    assert uncertainty(detections, np.array([0.2, 0.4])) == pytest.approx(0.15)


def test_the_most_uncertain_comes_first_and_copies_last():
    looks = np.array([[0.0], [0.0], [1.0], [4.0]], np.float32)
    doubts = np.array([0.9, 0.8, 0.5, 0.2])
    # Gains after image 0: 0, .5, .8; after 3: 0, .5.
    assert next_images(doubts, looks, 3) == [0, 3, 2]
    assert next_images(doubts, looks, 9) == [0, 3, 2, 1]


def test_without_any_doubt_the_most_unlike_are_chosen():
    looks = np.array([[0.0], [1.0], [9.0]], np.float32)
    assert next_images(np.zeros(3), looks, 2) == [0, 2]


def test_a_look_knows_colors_and_places_and_no_size():
    image = np.zeros((64, 48, 3), np.uint8)
    image[:32, :, 0] = 255
    larger = image.repeat(3, axis=0).repeat(3, axis=1)
    np.testing.assert_array_equal(look(image), look(larger))
    turned = np.linalg.norm(look(image) - look(image[::-1]))
    assert turned == pytest.approx(8.0)  # 64 cells differ by 1
