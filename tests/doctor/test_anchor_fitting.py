"""Best IoUs by hand and against the whole grid; fits that reach what they can."""

import dataclasses

import numpy as np
import pytest

from keras_retinanet.config.files import load_config
from keras_retinanet.data.loading import load_dataset
from keras_retinanet.data.records import Dataset, ImageRef, Record
from keras_retinanet.doctor.anchor_fitting import best_ious, coverage, fit, network_boxes
from keras_retinanet.doctor.evolution import minimize
from keras_retinanet.errors import UserError
from keras_retinanet.modeling import boxes as box_ops
from keras_retinanet.modeling.anchors import Anchors
from keras_retinanet.modeling.preprocessing import Preprocessing

SQUARE = Anchors(scales=(1.0,), ratios=(1.0,))


def record(size, boxes, ignore=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Record(
        image_id=0,
        image=ImageRef("none.jpg"),
        height=size[0],
        width=size[1],
        boxes=boxes,
        classes=np.zeros(len(boxes), np.int32),
        ignore=np.array(ignore or [False] * len(boxes), bool),
        areas=np.ones(len(boxes), np.float32),
        file_name="none.jpg",
    )


def random_boxes(rng, count, canvas):
    """Boxes of every size and place in `canvas`, tiny ones and touching borders among them."""
    sides = np.exp(rng.uniform(0, np.log(max(canvas)), (count, 2)))
    sides = np.minimum(sides, canvas[::-1])
    corners = rng.uniform(0, 1, (count, 2)) * (np.array(canvas[::-1]) - sides)
    corners[: count // 4] = np.round(corners[: count // 4] / 8) * 8  # ties between cells
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def test_best_iou_by_hand():
    # P3's centres are at 4, 12, 20, ...; its anchors are 32 px wide.
    boxes = [[4, 4, 36, 36], [4, 4, 36, 20], [8, 4, 40, 36], [0, 0, 8, 8]]
    ious = best_ious(np.float32(boxes), np.tile([64, 64], (4, 1)), SQUARE)
    # Equal; its upper half; 4 px beside: 28 of 36 columns in common; 64 of 1024 pixels.
    np.testing.assert_allclose(ious, [1, 0.5, 28 / 36, 64 / 1024], rtol=1e-6)


def test_the_grid_ends_at_the_canvas():
    # 8 x 8 px: one cell at (4, 4), so a box to the right of it is not reached.
    box = np.float32([[4, -12, 36, 20]])
    near, far = (best_ious(box, np.array([size]), SQUARE)[0] for size in [(8, 64), (8, 8)])
    assert near == pytest.approx(1)
    assert far == pytest.approx(16 / 48)  # half of each is common


@pytest.mark.parametrize("canvas", [(800, 1088), (117, 333), (1, 1), (40, 9)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": "true", "offset": 0.0, "rounded": True},
        {"ratio_is": "w/h", "order": "scale_outer", "sizes": (11, 30, 77, 200, 444)},
        {"clip": True},
    ],
    ids=["paper", "torchvision", "own", "clipped"],
)
def test_equals_the_whole_grid(canvas, options, rng):
    anchors = Anchors(**options)
    boxes = random_boxes(rng, 40, canvas)
    expected = box_ops.iou(anchors(*canvas), boxes).numpy().max(axis=0)
    actual = best_ious(boxes, np.tile(canvas, (len(boxes), 1)), anchors)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=5e-6)


def test_each_box_has_its_own_canvas(rng):
    sizes = [(96, 160), (160, 96), (33, 71)]
    boxes = [random_boxes(rng, 9, size) for size in sizes]
    canvases = np.repeat(sizes, 9, axis=0)
    together = best_ious(np.concatenate(boxes), canvases, Anchors(stride="true"))
    apart = [
        best_ious(part, np.tile(size, (9, 1)), Anchors(stride="true"))
        for part, size in zip(boxes, sizes, strict=True)
    ]
    np.testing.assert_array_equal(together, np.concatenate(apart))


def test_no_boxes():
    assert best_ious(np.zeros((0, 4)), np.zeros((0, 2), int), SQUARE).shape == (0,)
    assert dataclasses.astuple(coverage(np.zeros(0))) == (0, 0, 0, 0, 0)


def test_coverage_by_hand():
    found = coverage(np.float32([0.1, 0.4, 0.5, 0.6, 0.9]))
    assert (found.count, found.at_40, found.at_50, found.at_60) == (5, 0.8, 0.6, 0.4)
    assert found.mean == pytest.approx(0.5)


def test_boxes_are_what_training_matches():
    records = [
        # 100 x 200 -> 200 x 400 in 200 x 400: twice as large; the second box ignored, the third
        # cut at the border.
        record(
            (100, 200), [[10, 20, 30, 40], [0, 0, 9, 9], [150, 50, 260, 90]], [False, True, False]
        ),
        record((200, 100), [[0, 0, 50, 100]]),
        record((50, 50), []),
    ]
    dataset = Dataset("set", "train", ["a"], [0], records)
    boxes, canvases = network_boxes(dataset, Preprocessing(200, 400, multiple=8))
    np.testing.assert_allclose(
        boxes, [[20, 40, 60, 80], [300, 100, 400, 180], [0, 0, 100, 200]], rtol=1e-6
    )
    np.testing.assert_array_equal(canvases, [[200, 400], [200, 400], [400, 200]])


def test_boxes_in_tiles_are_those_of_the_window_that_holds_their_center():
    rows = [[70, 10, 90, 40], [40, 60, 80, 80], [190, 0, 200, 10]]
    dataset = Dataset("set", "train", ["a"], [0], [record((100, 200), rows)])
    boxes, canvases = network_boxes(dataset, Preprocessing(128, 128, multiple=8), tile=64)
    # Windows of 64 x 64 px, twice as large in the input: from (64, 0), (0, 36) and (136, 0) on.
    expected = [[12, 20, 52, 80], [80, 48, 160, 88], [108, 0, 128, 20]]
    np.testing.assert_allclose(boxes, expected, rtol=1e-6)
    np.testing.assert_array_equal(canvases, [[128, 128]] * 3)


def made_boxes(rng, shapes, count=40, canvas=(256, 256)):
    """Boxes of given (width, height) around random places, wholly inside."""
    sides = np.repeat(np.float32(shapes), count, axis=0)
    corners = rng.uniform(0, 1, sides.shape) * (np.array(canvas[::-1]) - sides)
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    return boxes, np.tile(canvas, (len(boxes), 1))


def share(boxes, canvases, anchors):
    return coverage(best_ious(boxes, canvases, anchors)).at_50


@pytest.mark.long
def test_fit_finds_the_anchors_of_a_made_set(rng):
    # Flat boxes of one shape, h/w = 1/5, which the paper's anchors never reach.
    boxes, canvases = made_boxes(rng, [(100, 20), (50, 10)])
    start = Anchors()
    fitted = fit(boxes, canvases, start)
    assert share(boxes, canvases, start) == 0
    assert share(boxes, canvases, fitted) == 1
    assert min(abs(ratio - 0.2) for ratio in fitted.ratios) < 0.1
    assert len(fitted.scales) == len(fitted.ratios) == 3
    assert list(fitted.sizes) == sorted(fitted.sizes)
    kept = ("order", "offset", "rounded", "stride", "clip", "ratio_is")
    assert [getattr(fitted, k) for k in kept] == [getattr(start, k) for k in kept]
    assert fitted == fit(boxes, canvases, start)
    # There is nothing for P7 to serve: its size hardly moves.
    assert fitted.sizes[-1] == pytest.approx(512, rel=0.5)


def test_fit_is_never_worse(rng):
    # Boxes that equal anchors: nothing can be better.
    boxes = SQUARE(64, 64).numpy()[8:24]
    canvases = np.tile([64, 64], (len(boxes), 1))
    assert best_ious(boxes, canvases, SQUARE).min() == 1
    assert fit(boxes, canvases, SQUARE, seed=3) == SQUARE


@pytest.mark.long
def test_fit_of_other_counts(rng):
    boxes, canvases = made_boxes(rng, [(20, 20), (60, 30), (30, 90)], count=15)
    fitted = fit(boxes, canvases, Anchors(), scales=1, ratios=2)
    assert (len(fitted.scales), len(fitted.ratios)) == (1, 2)
    more = fit(boxes, canvases, Anchors(), scales=2, ratios=5)
    assert (len(more.scales), len(more.ratios)) == (2, 5)
    assert share(boxes, canvases, more) >= share(boxes, canvases, fitted)


@pytest.mark.parametrize(("count", "options"), [(0, {}), (3, {"scales": 0}), (3, {"ratios": -1})])
def test_fit_refuses(count, options):
    with pytest.raises(UserError, match="Expected boxes to fit to"):
        fit(np.zeros((count, 4)), np.ones((count, 2), int), Anchors(), **options)


def test_a_minimum_is_found():
    low, high = -np.ones(4), np.ones(4)
    target = np.array([0.3, -0.7, 1.0, 0.0])
    found = minimize(
        lambda vector: float(np.abs(vector - target).sum()),
        np.full(4, -0.5),
        low=low,
        high=high,
        random=np.random.default_rng(0),
    )
    np.testing.assert_allclose(found, target, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "source", "folder", "before", "after"),
    [
        ("bccd", "voc", "whole_bccd", 2802 / 2804, 2803 / 2804),
        (None, "coco", "tiny_coco", 0.8431, 0.96),
    ],
    ids=["bccd", "tiny_coco"],
)
def test_real_sets_are_reached_better(request, recipe, source, folder, before, after):
    folder = request.getfixturevalue(folder)
    config = load_config(recipe, {"data.source": source, "data.data_dir": str(folder)})
    dataset = load_dataset(config.data, "train")
    boxes, canvases = network_boxes(dataset, Preprocessing(**vars(config.model.preprocessing)))
    start = Anchors(**vars(config.model.anchors))
    assert share(boxes, canvases, start) == pytest.approx(before, abs=1e-4)
    assert share(boxes, canvases, fit(boxes, canvases, start)) >= after - 1e-9
