"""Weighted box fusion by hand, and its laws."""

import numpy as np
import pytest

from keras_retinanet.inference.merging import fuse, overlaps


def test_overlaps_by_hand():
    iou, covered = overlaps(
        np.array([0.0, 0, 10, 10]),
        np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [2, 2, 4, 4], [20, 0, 30, 5], [3, 3, 3, 9]]),
    )
    np.testing.assert_allclose(iou, [1, 1 / 3, 0.04, 0, 0])
    np.testing.assert_allclose(covered, [1, 0.5, 1, 0, 0])


def test_fusion_by_hand():
    boxes = [[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [40, 40, 50, 60]]
    result, scores, classes = fuse(
        np.array(boxes, np.float32), np.array([0.9, 0.3, 0.8, 0.6]), np.array([0, 0, 1, 0]),
        iou=0.55, passes=2,
    )  # fmt: skip
    # Two passes found the first: weights .9 and .3. One alone found the others: half their score.
    np.testing.assert_allclose(result, [[0.25, 0, 10.25, 10], [0, 0, 10, 10], [40, 40, 50, 60]])
    np.testing.assert_allclose(scores, [0.6, 0.4, 0.3])
    np.testing.assert_array_equal(classes, [0, 1, 0])


def test_one_pass_is_returned_as_it_is_and_none_as_none(rng):
    corners = rng.uniform(0, 900, (20, 2))
    boxes = np.concatenate([corners, corners + 20], axis=1)
    apart = [0]
    for row in range(1, len(boxes)):
        if all(overlaps(boxes[row], boxes[apart])[0] == 0):
            apart.append(row)
    scores = np.sort(rng.uniform(0.1, 1, len(apart)))[::-1]
    classes = np.zeros(len(apart), np.int32)
    result = fuse(boxes[apart], scores, classes, iou=0.5, passes=1)
    for got, expected in zip(result, (boxes[apart], scores, classes), strict=True):
        np.testing.assert_allclose(got, expected)
    empty = fuse(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int32), iou=0.5, passes=3)
    assert [part.shape for part in empty] == [(0, 4), (0,), (0,)]


@pytest.mark.parametrize("passes", [2, 4])
def test_the_same_boxes_from_every_pass_keep_their_scores(passes, rng):
    boxes = np.array([[0, 0, 10, 20], [30, 5, 60, 50], [100, 100, 130, 120]], np.float32)
    scores, classes = np.array([0.9, 0.5, 0.2]), np.array([1, 0, 1])
    order = rng.permutation(3 * passes)
    repeated = [np.concatenate([part] * passes)[order] for part in (boxes, scores, classes)]
    result = fuse(*repeated, iou=0.55, passes=passes)
    for got, expected in zip(result, (boxes, scores, classes), strict=True):
        np.testing.assert_allclose(got, expected)
