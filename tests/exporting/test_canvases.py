"""Sizes as tensors against sizes as Python numbers, for every preset and thousands of pictures."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.exporting.saved_model.grouping import way_back
from keras_retinanet.modeling.preprocessing import Preprocessing

# As the importers and recipes have them.
PRESETS = {
    "paper": {},
    "detectron2": {"canvas": "exact", "rounding": "half_up", "resize_method": "pillow"},
    "torchvision": {"canvas": "exact", "rounding": "floor"},
    "odtk": {"canvas": "exact", "multiple": 128, "exact_scale": "boxes"},
    "yhenon": {"short_side": 608, "long_side": 1024, "canvas": "exact_beyond",
               "exact_scale": "boxes"},
    "fizyr": {"canvas": "exact", "multiple": 1, "exact_scale": "both", "rounding": "half_up"},
    "model garden": {"short_side": 640, "long_side": 640, "canvas": "square", "multiple": 128},
    "kerashub": {"short_side": 800, "long_side": 800, "canvas": "square", "pad_first": True},
    "bccd": {"short_side": 312, "long_side": 416, "multiple": 8},
    "small, half up": {"short_side": 240, "long_side": 320, "multiple": 8, "rounding": "half_up"},
}  # fmt: skip


def sizes(rng):
    """(n, 2): small ones all, then usual ones, then extreme ones and exact halves."""
    small = np.stack(np.meshgrid(np.arange(1, 25), np.arange(1, 25)), -1).reshape(-1, 2)
    usual = rng.integers(25, 2000, (1000, 2))
    far = np.exp(rng.uniform(0, np.log(20_000), (500, 2))).astype(int)
    halves = np.array([(2 * n, 2 * n + 1) for n in range(50, 500, 7)])
    known = np.array([(480, 640), (427, 640), (640, 427), (1, 5000), (7, 5000), (4000, 3000)])
    return np.concatenate([small, usual, far, halves, halves[:, ::-1], known]).astype("i4")


@pytest.mark.parametrize("name", PRESETS)
def test_equal_sizes(name, rng):
    preprocessing = Preprocessing(**PRESETS[name])

    @tf.function(autograph=False)
    def both(originals):
        def one(original):
            size = preprocessing.resized_size(*tf.unstack(original))
            return tf.stack([*size, *preprocessing.canvas_size(*size)])

        return tf.map_fn(one, originals, fn_output_signature=tf.TensorSpec([4], tf.int32))

    originals = sizes(rng)
    found = both(originals).numpy()
    expected = []
    for height, width in originals.tolist():
        size = preprocessing.resized_size(height, width)
        expected.append([*size, *preprocessing.canvas_size(*size)])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", PRESETS)
def test_the_same_way_back(name, rng):
    preprocessing = Preprocessing(**PRESETS[name])

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([2], tf.int32)] * 2)
    def found(size, original):
        return way_back(preprocessing, tf.unstack(size), original)

    boxes = rng.uniform(0, 1300, (20, 4)).astype("f4")
    for original in [(480, 640), (427, 640), (333, 500), (1, 1), (7, 5000), (5000, 7), (301, 77)]:
        size = preprocessing.resized_size(*original)
        factors, offset = np.split(found(size, original), 2)
        expected = preprocessing.boxes_to_picture(boxes, size, original)
        np.testing.assert_allclose(boxes * factors - offset, expected, rtol=2e-7, atol=1e-4)


@pytest.mark.parametrize("name", ["paper", "detectron2", "fizyr", "yhenon", "kerashub"])
def test_the_same_letterbox(name, rng):
    options = {"short_side": 48, "long_side": 64}
    if PRESETS[name].get("pad_first"):
        options = {"short_side": 64, "long_side": 64}
    preprocessing = Preprocessing(**{**PRESETS[name], **options})

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def letterbox(picture):
        return preprocessing.letterbox(picture)

    for shape in [(30, 40), (100, 31), (1, 1), (3, 200)]:
        picture = rng.integers(0, 256, (*shape, 3), np.uint8)
        (found, size), expected = letterbox(picture), preprocessing.letterbox(picture)
        assert tuple(int(side) for side in size) == expected[1]
        np.testing.assert_allclose(found, expected[0], atol=1e-4)
