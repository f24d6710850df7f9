"""Random windows of large images: where they lie, how often, and that boxes stay exact in them."""

import io
import itertools
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.config import AugmentConfig, DataConfig
from keras_retinanet.data.pipeline import plan
from keras_retinanet.data.pipeline.balance import images_per_pass
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.pipeline.crowding import CROWDED, note_crowded, room_for_boxes
from keras_retinanet.data.pipeline.random_windows import (
    draw_window,
    most_in_a_window,
    window_size,
    windows_per_epoch,
)
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.exporting.sample import Sample
from keras_retinanet.modeling.preprocessing import Preprocessing

SIDE = 64
PREPROCESSING = Preprocessing(short_side=SIDE, long_side=SIDE)
NOTHING = AugmentConfig(flip=0.0)


def record(size, *boxes, path="", ignore=False):
    objects = [(box, 0, ignore, None) for box in boxes]
    return make_record(
        1, ImageRef(path), size, file_name=path, objects=objects, problems=Problems()
    )


def dataset(*records, **options):
    return Dataset("set", "train", ["cat"], [1], list(records), **options)


def drawn(wanted, side=SIDE, count=400):
    seeds = np.random.default_rng(0).integers(-(2**31), 2**31, (count, 2)).astype(np.int32)
    return np.array([draw_window(wanted, side, seed) for seed in seeds])


def holds(window, box):
    (top, left), (height, width) = window
    x1, y1, x2, y2 = box
    return top <= y1 and left <= x1 and y2 <= top + height and x2 <= left + width


# ----------------------------------------------------------------------------------------- windows


def test_sizes_and_numbers_by_hand():
    assert window_size(200, 50, 64) == (64, 50)
    assert window_size(200, 50, 0) == (200, 50)
    sizes = [(128, 128), (64, 64), (10, 12), (200, 50), (160, 100)]
    found = windows_per_epoch(dataset(*map(record, sizes)), 64)
    # 160 * 100 / 64**2 is 3.9; 200 * 50 is 3.1 windows of 64 x 50.
    np.testing.assert_array_equal(found, [4, 1, 1, 3, 4])
    np.testing.assert_array_equal(windows_per_epoch(dataset(*map(record, sizes)), 0), [1] * 5)


def test_windows_lie_in_the_image_and_reach_every_border():
    found = drawn(record((100, 300)))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found[:, 1], [[SIDE, SIDE]] * len(found))
    assert (found[:, 0] >= 0).all() and (found[:, 0] <= [36, 236]).all()
    assert {0, 36} <= set(found[:, 0, 0]) and found[:, 0, 1].min() < 3 < 233 < found[:, 0, 1].max()
    # Uniform where there is no object.
    assert abs(found[:, 0, 1].mean() - 118) < 12
    small = drawn(record((40, 50)), count=9)
    np.testing.assert_array_equal(small, [[[0, 0], [40, 50]]] * 9)


def test_half_of_the_windows_hold_a_whole_object():
    box = (500, 700, 520, 730)
    windows = drawn(record((1000, 1000), box))
    share = np.mean([holds(window, box) for window in windows])
    assert 0.43 < share < 0.57  # by chance alone .2 %
    assert Counter(map(tuple, windows[:, 0])).most_common(1)[0][1] < 10  # not one place
    inside = windows[[holds(window, box) for window in windows]]
    # It lies anywhere in its window: starts of 666..700 and 456..500.
    assert set(inside[:, 0, 0]) >= {666, 700} and set(inside[:, 0, 0]) <= set(range(666, 701))
    assert inside[:, 0, 1].min() < 459 and inside[:, 0, 1].max() > 497


def test_an_object_at_the_border_or_larger_than_a_window_is_shown_as_far_as_it_goes():
    corner = (990.5, 980.25, 1003, 1000)
    found = [
        w for w in drawn(record((1000, 1000), corner)) if holds(w, (990.5, 980.25, 1000, 1000))
    ]
    assert len(found) > 150
    large = (100, 100, 900, 300)
    share = np.mean(
        [
            left >= 100 and left + SIDE <= 900 and top >= 100 and top + SIDE <= 300
            for (top, left), _ in drawn(record((1000, 1000), large))
        ]
    )
    assert share > 0.5


def test_ignored_boxes_draw_no_windows():
    box = (500, 700, 520, 730)
    windows = drawn(record((1000, 1000), box, ignore=True))
    assert np.mean([holds(window, box) for window in windows]) < 0.05


def test_the_bound_on_boxes_holds_for_every_window(rng):
    boxes = rng.uniform(0, 480, (300, 2))
    boxes = np.concatenate([boxes, boxes + rng.uniform(3, 40, (300, 2))], axis=1)
    crowd = record((500, 500), *boxes.tolist())
    fullest = 0
    for top, left in itertools.product(range(0, 437, 7), repeat=2):
        x1, y1, x2, y2 = crowd.boxes.T
        seen = (x1 < left + SIDE) & (x2 > left) & (y1 < top + SIDE) & (y2 > top)
        fullest = max(fullest, int(seen.sum()))
    assert fullest <= most_in_a_window(crowd, SIDE) <= 2 * fullest < 60
    assert most_in_a_window(crowd, 0) == 300 == most_in_a_window(crowd, 512)
    assert most_in_a_window(record((50, 50)), SIDE) == 0


def test_room_and_report_are_of_windows(rng):
    boxes = [(x, y, x + 8, y + 8) for x in range(0, 400, 20) for y in range(0, 400, 20)]
    data = dataset(record((400, 400), *boxes, path="a.png"))
    config = DataConfig(augment=NOTHING)
    assert room_for_boxes(data, config) == (100, 16)
    assert room_for_boxes(data, config, SIDE) == (100, 0)
    note_crowded(data, config, SIDE)
    assert CROWDED not in data.problems
    note_crowded(data, config)
    assert data.problems[CROWDED] == ["a.png (400 boxes)"]


# -------------------------------------------------------------------------------------------- plan


def test_an_epoch_draws_each_image_by_its_area():
    data = dataset(*(record(size) for size in [(128, 128), (64, 64), (192, 192)]))
    batches = plan.batches(data, PREPROCESSING, batch_size=2, seed=0, tile=SIDE)
    assert images_per_pass(data, 0.0, SIDE) // 2 == 7 and images_per_pass(data, 0.0) // 2 <= 1
    for _ in range(3):
        epoch = np.concatenate([next(batches).indices for _ in range(7)])
        assert Counter(epoch.tolist()) == {0: 4, 1: 1, 2: 9}
    counts = plan.canvas_counts(data, PREPROCESSING, tile=SIDE)
    assert counts == {(64, 64): 14}


def test_without_tiles_the_plan_is_that_of_old():
    """Bytes as they were before there were windows, from the code of then."""
    data = dataset(*(record((50, 60)) for _ in range(5)))
    batch = next(plan.batches(data, PREPROCESSING, batch_size=5, seed=3))
    random = np.random.default_rng([3, 0])
    order = random.permutation(5)
    np.testing.assert_array_equal(batch.indices, order)
    np.testing.assert_array_equal(batch.seeds, random.integers(2**31 - 1, size=(5, 2)))
    partners = np.random.default_rng([3, 0])
    partners.permutation(5), partners.integers(2**31 - 1, size=(5, 2), dtype=np.int32)
    np.testing.assert_array_equal(batch.partners, partners.integers(5, size=(5, 3), dtype=np.int32))


# ----------------------------------------------------------------------------------------- batches


def painted(form, *, size=(200, 300), **options):
    """A dataset of one image whose red and green are the row and column, with boxes; its pixels."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    pixels = np.stack([rows, columns % 256, columns // 256 * 80], -1).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    boxes = [(x, y, x + 11.5, y + 9) for x in range(3, 280, 40) for y in range(2, 180, 30)]
    data = dataset(record(size, *boxes), reader=lambda image: stream.getvalue())
    return data, pixels


def taken(data, count, *, config=NOTHING, start_step=0, tile=SIDE, batch_size=1):
    batches = training_batches(
        data,
        PREPROCESSING,
        data_config=DataConfig(augment=config),
        batch_size=batch_size,
        seed=7,
        start_step=start_step,
        tile=tile,
    )
    return [
        (images.numpy(), {name: part.numpy() for name, part in labels.items()})
        for images, labels in itertools.islice(batches, count)
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    ("form", "tolerance", "options"),
    [
        ("PNG", 0, {}),
        ("TIFF", 0, {"compression": "tiff_lzw"}),
        ("JPEG", 12, {"quality": 98, "subsampling": 0}),
    ],
)
def test_pixels_and_boxes_of_a_window_are_the_image_s_own(form, tolerance, options):
    data, pixels = painted(form, **options)
    planned = plan.batches(data, PREPROCESSING, batch_size=1, seed=7, tile=SIDE)
    for batch, (images, labels) in zip(planned, taken(data, 12), strict=False):
        (top, left), length = draw_window(data.records[0], SIDE, batch.seeds[0])
        np.testing.assert_array_equal(length, [SIDE, SIDE])
        np.testing.assert_allclose(
            images[0], pixels[top : top + SIDE, left : left + SIDE], atol=tolerance
        )
        expected = data.records[0].boxes - [left, top, left, top]
        cut = np.clip(expected, 0, SIDE)
        areas = [np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (cut, expected)]
        keep = (cut[:, 2:] > cut[:, :2]).all(1) & (areas[0] >= 0.1 * areas[1])
        seen = labels["classes"][0] >= 0
        np.testing.assert_allclose(labels["boxes"][0][seen], cut[keep], atol=1e-4)
        assert len(cut[keep])


@pytest.mark.long
def test_windows_go_on_after_a_pause_and_differ_by_seed():
    data, _ = painted("PNG")
    config = AugmentConfig(scale=(0.5, 1.5), rotate90=0.5, mosaic=0.5, mixup=0.3)
    whole = taken(data, 6, config=config, batch_size=2)
    resumed = taken(data, 3, config=config, batch_size=2, start_step=3)
    for (left, left_labels), (right, right_labels) in zip(whole[3:], resumed, strict=True):
        np.testing.assert_array_equal(left, right)
        np.testing.assert_array_equal(left_labels["boxes"], right_labels["boxes"])
    assert not np.array_equal(whole[0][0], whole[1][0])


def test_scale_jitter_stays_within_the_window():
    """At twice the scale half of the window's side is seen, at any place of the image."""
    data, _ = painted("PNG")
    for images, _ in taken(data, 8, config=AugmentConfig(flip=0.0, scale=(2.0, 2.0))):
        rows = images[0, :, 0, 0]
        assert np.ptp(rows) == pytest.approx(SIDE / 2, abs=1.5)


def test_a_sample_to_calibrate_on_is_of_windows_too():
    data, pixels = painted("PNG")
    first, again = (list(Sample(data, 3, SIDE)) for _ in range(2))
    assert len(first) == 3 and not np.array_equal(first[0], first[1])
    for number, (image, other) in enumerate(zip(first, again, strict=True)):
        (top, left), _ = draw_window(data.records[0], SIDE, np.array([number, 0], np.int32))
        np.testing.assert_array_equal(image, pixels[top : top + SIDE, left : left + SIDE])
        np.testing.assert_array_equal(image, other)
    (whole,) = Sample(data, 3)
    np.testing.assert_array_equal(whole, pixels)
