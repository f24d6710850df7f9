"""The upright box around turned rectangles, polygons and masks: hand-made, and pycocotools'."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_retinanet.data.sources.outlines import outline_bounds, turned_bounds
from keras_retinanet.data.sources.voc_xml import parse_objects


def test_turned_rectangles():
    assert turned_bounds(10, 20, 30, 40, degrees=0) == (10, 20, 40, 60)
    assert turned_bounds(10, 20, 30, 40, degrees=-180) == (10, 20, 40, 60)
    assert turned_bounds(10, 20, 30, 40, degrees=90) == pytest.approx((5, 25, 45, 55))
    # CVAT's example: 90 x 20 about (80, 60), by 60 degrees.
    expected = (48.8397, 16.0289, 111.1603, 103.9711)
    for degrees in (60, -60, 240, 420):
        assert turned_bounds(35, 50, 90, 20, degrees=degrees) == pytest.approx(expected, abs=1e-3)


def test_turned_rectangles_of_voc_files():
    sides = "<bndbox><xmin>35</xmin><ymin>50</ymin><xmax>125</xmax><ymax>70</ymax></bndbox>"
    attributes = (
        "<attributes><attribute><name>occluded</name><value>30</value></attribute><attribute>"
        "<name>rotation</name><value>60.0</value></attribute></attributes>"
    )
    center = (
        "<robndbox><cx>80</cx><cy>60</cy><w>90</w><h>20</h><angle>1.0471975512</angle></robndbox>"
    )
    parts = (sides + attributes, attributes + sides, center, sides)
    objects = "".join(f"<object><name>cat</name>{part}</object>" for part in parts)
    *turned, upright = parse_objects(f"<annotation>{objects}</annotation>".encode())
    expected = [48.8397, 16.0289, 111.1603, 103.9711]
    for item in turned:
        assert item.is_turned() and item.box() == pytest.approx(expected, abs=1e-3)
    assert not upright.is_turned() and upright.box() == [35, 50, 125, 70]


def test_polygons_of_voc_files_stand_for_missing_and_empty_boxes():
    zero = "<bndbox><xmin>0</xmin><ymin>0</ymin><xmax>0</xmax><ymax>0</ymax></bndbox>"
    whole = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
    label_me = "<polygon><pt><x>30</x><y>5</y></pt><pt><x>10</x><y>7.5</y></pt></polygon>"
    roboflow = "<polygon><x1>30</x1><y1>5</y1><x2>10</x2><y2>7.5</y2></polygon>"
    bodies = [label_me, zero + roboflow, whole + roboflow, zero]
    objects = "".join(f"<object><name>a</name>{body}</object>" for body in bodies)
    found = parse_objects(f"<annotation>{objects}</annotation>".encode())
    assert [each.is_outlined() for each in found] == [True, True, False, False]
    bounds = [10, 5, 30, 7.5]
    assert [each.box() for each in found] == [bounds, bounds, [1, 2, 9, 8], [0, 0, 0, 0]]


def test_polygons():
    assert outline_bounds([[1, 2, 30, 2, 30, 40], [0, 50, 3, 60]]) == (0, 2, 30, 60)
    assert outline_bounds([1, 2, 30, 2, 30, 40]) == (1, 2, 30, 40)
    assert outline_bounds([[]]) is None
    with pytest.raises(ValueError, match="size"):
        outline_bounds({"counts": [5, 9], "size": [2, 2]})


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_masks_have_the_bounds_that_pycocotools_finds(seed, height, width, compressed):
    from pycocotools import mask

    drawn = np.random.default_rng(seed).random((height, width)) < 0.2
    encoded = mask.encode(np.asfortranarray(drawn.astype(np.uint8)))
    x, y, box_width, box_height = mask.toBbox(encoded)
    counts = encoded["counts"].decode()
    if not compressed:
        flat = drawn.T.ravel().astype(int)
        edges = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff([0, *edges, len(flat)]).tolist()
        counts = [0, *counts] if flat[0] else counts
    found = outline_bounds({"counts": counts, "size": [height, width]})
    expected = (x, y, x + box_width, y + box_height) if drawn.any() else None
    assert found == expected
