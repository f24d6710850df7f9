"""Anchors by hand, and for every input size."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.modeling.anchors import Anchors, feature_sizes


def test_one_cell_by_hand():
    cell = Anchors(scales=(1.0,), ratios=(0.25, 1.0, 4.0)).cell(32)
    expected = [[-32, -8, 32, 8], [-16, -16, 16, 16], [-8, -32, 8, 32]]  # h/w = .25 is wide
    np.testing.assert_allclose(cell, expected, rtol=1e-6)
    wide_last = Anchors(scales=(1.0,), ratios=(0.25, 1.0, 4.0), ratio_is="w/h").cell(32)
    np.testing.assert_allclose(wide_last, expected[::-1], rtol=1e-6)


def test_sides_span_32_to_813_pixels():
    areas = [np.sqrt(np.prod(Anchors().cell(size)[:, 2:] * 2, axis=1)) for size in (32, 512)]
    assert areas[0].min() == pytest.approx(32, rel=1e-6)
    assert areas[1].max() == pytest.approx(812.75, rel=1e-4)


def test_torchvision_rounds_as_published():
    # int(32 * 2^(k/3)) = 32, 40, 50 with ratio 1.
    cell = Anchors(rounded=True, ratios=(1.0,)).cell(32)
    np.testing.assert_array_equal(cell[:, 2] - cell[:, 0], [32, 40, 50])


def test_orders_hold_the_same_boxes():
    ratio_outer, scale_outer = Anchors().cell(64), Anchors(order="scale_outer").cell(64)
    grid = ratio_outer.reshape(3, 3, 4).transpose(1, 0, 2).reshape(9, 4)
    np.testing.assert_allclose(scale_outer, grid, rtol=1e-6)


def test_rows_then_columns_then_cell():
    anchors = Anchors(scales=(1.0,), ratios=(1.0,))(16, 24)  # P3: 2 x 3
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    np.testing.assert_allclose(centres[:4], [[4, 4], [12, 4], [20, 4], [4, 12]])
    np.testing.assert_allclose(centres[6:8], [[8, 8], [24, 8]])  # P4: 1 x 2


def test_corner_offset_and_true_stride():
    corner = Anchors(scales=(1.0,), ratios=(1.0,), offset=0.0)(800, 800)
    np.testing.assert_allclose(corner[0], [-16, -16, 16, 16])
    true = Anchors(scales=(1.0,), ratios=(1.0,), offset=0.0, stride="true")(800, 800)
    # 800 px: P6 has 13 cells, so torchvision's stride there is 61, not 64.
    assert float(true[100 * 100 + 50 * 50 + 25 * 25 + 1, 0]) == 61 - 128


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (127, 129), (333, 500), (800, 1333)])
def test_any_size_traced_or_not(size):
    anchors = Anchors()(*size)
    cells = sum(rows * columns for rows, columns in feature_sizes(*size))
    assert anchors.shape == (cells * 9, 4)
    traced = tf.function(Anchors())(*map(tf.constant, size))
    np.testing.assert_allclose(traced, anchors)


def test_clip_cuts_at_the_input():
    anchors = Anchors(clip=True)(64, 96).numpy()
    assert anchors.min() == 0 and anchors[:, 0::2].max() == 96 and anchors[:, 1::2].max() == 64
