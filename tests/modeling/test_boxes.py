"""Box arithmetic by hand, and the laws of the coders."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_retinanet.modeling import boxes as box_ops
from keras_retinanet.modeling.boxes import BoxCoder


def test_iou_by_hand():
    boxes = tf.constant([[0.0, 0, 10, 10], [0, 0, 0, 0], [20, 20, 30, 40]])
    others = tf.constant([[0.0, 0, 10, 10], [5, 5, 15, 15], [0, 0, 0, 0], [20, 30, 30, 50]])
    expected = [[1, 25 / 175, 0, 0], [0, 0, 0, 0], [0, 0, 0, 100 / 300]]
    np.testing.assert_allclose(box_ops.iou(boxes, others), expected, rtol=1e-6)


def test_iou_of_batches_equals_that_of_each(rng):
    corners = rng.uniform(0, 50, (2, 7, 4)).astype("float32")
    boxes = tf.concat([corners[..., :2], corners[..., :2] + corners[..., 2:]], -1)
    together = box_ops.iou(boxes, boxes[:, :3])
    for i in range(2):
        np.testing.assert_allclose(together[i], box_ops.iou(boxes[i], boxes[i, :3]), rtol=1e-6)


def test_coverage_is_of_the_first():
    small, large = tf.constant([[0.0, 0, 10, 10]]), tf.constant([[5.0, 0, 105, 100]])
    assert float(box_ops.coverage(small, large)[0, 0]) == pytest.approx(0.5)
    assert float(box_ops.coverage(large, small)[0, 0]) == pytest.approx(0.005)


def test_generalized_iou_by_hand():
    boxes = tf.constant([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    others = tf.constant([[0.0, 0, 10, 10], [20, 0, 30, 10], [5, 5, 15, 15]])
    expected = [1, -100 / 300, 25 / 175 - (225 - 175) / 225]
    np.testing.assert_allclose(box_ops.generalized_iou(boxes, others), expected, rtol=1e-6)


def test_clip():
    boxes = tf.constant([[[-5.0, -5, 20, 30], [2, 3, 4, 5]]])
    np.testing.assert_allclose(
        box_ops.clip(boxes, tf.constant([[16]]), tf.constant([[12]])),
        [[[0, 0, 12, 16], [2, 3, 4, 5]]],
    )


def test_xywh_by_hand():
    anchor, box = tf.constant([[0.0, 0, 10, 20]]), tf.constant([[5.0, 5, 25, 15]])
    expected = [[1.0, 0.0, np.log(2), np.log(0.5)]]
    np.testing.assert_allclose(BoxCoder().encode(box, anchor), expected, atol=1e-6)
    swapped = [[0.0, 1.0, np.log(0.5), np.log(2)]]
    np.testing.assert_allclose(BoxCoder("yxhw").encode(box, anchor), swapped, atol=1e-6)


def test_corners_by_hand():
    coder = BoxCoder("corners", (0.2, 0.2, 0.2, 0.2))
    delta = coder.encode(tf.constant([[5.0, 5, 25, 15]]), tf.constant([[0.0, 0, 10, 20]]))
    np.testing.assert_allclose(delta, [[2.5, 1.25, 7.5, -1.25]], rtol=1e-6)


SIDE = st.floats(1, 800, width=32)
POSITION = st.floats(-100, 1000, width=32)


@settings(deadline=None, max_examples=60)
@given(
    code=st.sampled_from(["xywh", "yxhw", "corners"]),
    scale=st.sampled_from([0.1, 1.0]),
    box=st.tuples(POSITION, POSITION, SIDE, SIDE),
    anchor=st.tuples(POSITION, POSITION, SIDE, SIDE),
)
def test_decode_is_the_inverse_of_encode(code, scale, box, anchor):
    to_xyxy = lambda x, y, w, h: np.array([[x, y, x + w, y + h]], "float32")  # noqa: E731
    box, anchor = to_xyxy(*box), to_xyxy(*anchor)
    ratio = (box[:, 2:] - box[:, :2]) / (anchor[:, 2:] - anchor[:, :2])
    if ratio.max() > 60:  # beyond the clip of decode
        return
    coder = BoxCoder(code, (scale,) * 4)
    decoded = coder.decode(coder.encode(box, anchor), anchor)
    np.testing.assert_allclose(decoded, box, atol=0.02, rtol=1e-4)


def test_wild_deltas_stay_finite():
    decoded = BoxCoder().decode(tf.constant([[0.0, 0, 1e4, 1e4]]), tf.constant([[0.0, 0, 16, 16]]))
    np.testing.assert_allclose(decoded, [[-492, -492, 508, 508]], rtol=1e-4)


def test_padding_encodes_to_finite_numbers():
    delta = BoxCoder().encode(tf.zeros((1, 4)), tf.constant([[0.0, 0, 16, 16]]))
    assert np.isfinite(delta).all()
