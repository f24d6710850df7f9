"""Several pictures in one: every box is on its own pixels, and only what is drawn is read."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data.augmentation.mixing import (
    copy_paste,
    cutmix,
    draw_mix,
    mix,
    mixup,
    mosaic,
    mosaic_sources,
)
from keras_retinanet.data.pipeline.batches import render_wanted

NAMES = ("boxes", "classes", "ignore")


def example(value, boxes, *, size=(40, 60), ignore=None):
    """Returns a picture of `value` with its boxes painted in value + 1, value + 2, ..."""
    image = np.full((*size, 3), value, np.float32)
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        image[y1:y2, x1:x2] = value + 1 + number
    count = len(boxes)
    return tf.constant(image), {
        "boxes": tf.reshape(tf.constant(boxes, tf.float32), [count, 4]),
        "classes": tf.cast(value, tf.int32) + 1 + tf.range(count),
        "ignore": tf.constant(ignore or [False] * count, tf.bool, [count]),
    }


def bounds(image, value):
    seen = np.asarray(image)[..., 0] == value
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else None


def assert_boxes_are_on_their_pixels(image, labels):
    for box, class_id, ignore in zip(*[labels[name].numpy() for name in NAMES], strict=True):
        if not ignore:
            np.testing.assert_array_equal(box, bounds(image, class_id))


def test_mixup_blends_and_keeps_the_labels_of_both():
    first = example(10, [(1, 2, 30, 20)], ignore=[True])
    second = example(110, [(5, 5, 9, 9), (20, 20, 50, 30)])
    ratios = []
    for number in range(200):
        image, labels = mixup(first, second, tf.constant([number, 0]))
        ratio = (110 - image.numpy()[39, 59, 0]) / 100
        expected = ratio * first[0] + (1 - ratio) * second[0]
        np.testing.assert_allclose(image, expected, atol=1e-3)
        ratios.append(ratio)
    assert labels["classes"].numpy().tolist() == [11, 111, 112]
    assert labels["ignore"].numpy().tolist() == [True, False, False]
    np.testing.assert_array_equal(labels["boxes"][1:], second[1]["boxes"])
    # Beta(8, 8): mean 1/2, variance 1 / (4 * 17).
    assert abs(np.mean(ratios) - 0.5) < 0.03 and abs(np.std(ratios) - 0.1213) < 0.02


def tile(source):
    """Renders picture `index` as value 10 * index: a box that all but fills its canvas."""
    height, width = tf.unstack(source.canvas)
    value = 10.0 * tf.cast(source.index, tf.float32)
    image = tf.fill([height - 4, width - 6, 3], value + 1.0)
    image = tf.pad(image, [[1, 3], [2, 4], [0, 0]], constant_values=5.0)
    box = tf.cast(tf.stack([2, 1, width - 4, height - 3]), tf.float32)
    labels = {
        "boxes": box[None],
        "classes": tf.cast(value, tf.int32)[None] + 1,
        "ignore": tf.zeros([1], tf.bool),
    }
    return image, labels


def joined(render, seed):
    center, sources = mosaic_sources(tf.constant([1, 2, 3, 4]), tf.constant([64, 96]), seed)
    return mosaic([render(source) for source in sources], center)


def test_mosaic_shows_each_picture_whole_in_its_quarter():
    step = tf.function(lambda seed: joined(tile, seed))
    centers = []
    for number in range(40):
        image, labels = step(tf.constant([number, 0]))
        assert image.shape == (64, 96, 3)
        assert labels["classes"].numpy().tolist() == [11, 21, 31, 41]
        assert_boxes_are_on_their_pixels(image, labels)
        first, last = labels["boxes"].numpy()[[0, 3]]
        # The lower right tile's box starts 1, 2 pixels after the centre, the first ends before it.
        np.testing.assert_array_equal(last[:2] - [2, 1], first[2:] + [4, 3])
        centers.append(last[:2] - [2, 1])
    low, high = np.min(centers, axis=0), np.max(centers, axis=0)
    assert (low >= [24, 16]).all() and (high <= [72, 48]).all()
    assert (high - low > [35, 22]).all()


def test_boxes_of_a_tile_end_with_it():
    def blank(source):
        (image, labels), index = tile(source), source.index
        wide = tf.where(index == 1, [[-4096.0, -4096.0, 4096.0, 4096.0]], labels["boxes"])
        return image, labels | {"boxes": wide, "ignore": index[None] == 1}

    _, labels = joined(blank, [3, 4])
    # The box of the lower right tile starts 2, 1 pixels after the point where all four meet.
    np.testing.assert_array_equal(labels["boxes"][0], [0, 0, *(labels["boxes"][3, :2] - [2, 1])])
    assert labels["ignore"].numpy().tolist() == [True, False, False, False]


def test_pasted_boxes_lie_on_their_pixels_and_hidden_ones_are_cut_or_dropped():
    base = example(10, [(0, 0, 20, 20), (22, 5, 28, 9), (30, 20, 50, 35)])
    other = example(50, [(10, 0, 30, 40), (45, 10, 60, 25)])
    seen = set()
    for number in range(30):
        image, labels = copy_paste(base, other, tf.constant([number, 0]), 0.1)
        assert_boxes_are_on_their_pixels(image, labels)
        classes = tuple(labels["classes"].numpy().tolist())
        # The second box of the base is all behind the first of the other.
        assert (12 in classes) != (51 in classes)
        assert not labels["ignore"].numpy().any()
        seen.add(classes)
    assert seen == {(11, 12, 13), (11, 13, 51), (11, 12, 13, 52), (11, 13, 51, 52)}


@pytest.mark.long
@pytest.mark.parametrize(("min_visible", "classes"), [(0.4, [11, 51]), (0.6, [51])])
def test_a_box_half_hidden_is_dropped_by_min_visible(min_visible, classes):
    base, other = example(10, [(0, 0, 20, 20)]), example(50, [(10, 0, 30, 40)])
    drawn = None
    for number in range(20):
        _, labels = copy_paste(base, other, tf.constant([number, 1]), min_visible)
        if 51 in labels["classes"].numpy():
            drawn = labels
    assert drawn["classes"].numpy().tolist() == classes


def test_ignored_boxes_are_not_pasted_but_come_along_where_they_show():
    base = example(10, [(0, 0, 60, 40)], ignore=[True])
    # A crowd, half of which lies in the box, and one beside it.
    other = example(50, [(20, 0, 40, 10), (40, 20, 60, 40), (10, 0, 30, 40)])
    other[1]["ignore"] = tf.constant([True, True, False])
    found = set()
    for number in range(20):
        image, labels = copy_paste(base, other, tf.constant([number, 0]), 0.1)
        classes = labels["classes"].numpy().tolist()
        found.add(tuple(classes))
        np.testing.assert_array_equal(labels["boxes"][0], [0, 0, 60, 40])
        if len(classes) > 1:
            assert labels["ignore"].numpy().tolist() == [True, True, False]
            np.testing.assert_array_equal(labels["boxes"][1:], [[20, 0, 30, 10], [10, 0, 30, 40]])
            np.testing.assert_array_equal(image[:, 10:30], other[0][:, 10:30])
            np.testing.assert_array_equal(image[:, 30:], base[0][:, 30:])
    assert found == {(11,), (11, 51, 53)}


def test_a_lost_partner_changes_nothing():
    base = example(10, [(0, 0, 20, 20)])
    wide = [[-4096.0, -4096.0, 4096.0, 4096.0]]
    lost = tf.zeros([40, 60, 3]), {"boxes": wide, "classes": [0], "ignore": [True]}
    lost[1].update({name: tf.constant(lost[1][name]) for name in NAMES})
    image, labels = copy_paste(base, lost, tf.constant([0, 0]), 0.1)
    np.testing.assert_array_equal(image, base[0])
    assert labels["classes"].numpy().tolist() == [11]


class Reader:
    """Renders a source and notes which pictures it reads, and with which seeds."""

    def __init__(self):
        self.read = []

    def __call__(self, source):
        def note(index, seed):
            self.read.append((int(index), tuple(seed.tolist())))
            return np.int32(index)

        read = tf.numpy_function(note, [source.index, source.seed], tf.int32)
        return tile(source._replace(index=tf.ensure_shape(read, [])))


def rows(count):
    return tf.data.Dataset.from_tensor_slices(
        {
            "index": tf.range(count),
            "partners": tf.constant([[100, 200, 300]] * count),
            "seed": tf.stack([tf.range(count), tf.range(count) + 7], axis=1),
            "canvas": tf.constant([[64, 96]] * count),
        }
    )


def mixed(reader, count=40, **options):
    config = AugmentConfig(**options)

    def example(row):
        recipe = draw_mix(row, config)
        return mix(recipe, render_wanted(recipe, reader), config)

    return list(rows(count).map(example).as_numpy_iterator())


def test_cutmix_replaces_a_rectangle_and_boxes_are_measured_again():
    base = example(10, [(2, 2, 20, 30), (30, 5, 58, 38)])
    other = example(110, [(5, 5, 25, 35), (28, 10, 50, 38)], ignore=[False, True])
    step, shares, cuts = tf.function(cutmix), [], 0
    for number in range(120):
        image, labels = step(base, other, tf.constant([number, 3]), tf.constant(0.1))
        image, labels = image.numpy(), {name: value.numpy() for name, value in labels.items()}
        is_other = image[..., 0] >= 110
        rows, columns = np.flatnonzero(is_other.any(1)), np.flatnonzero(is_other.any(0))
        assert is_other[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        np.testing.assert_array_equal(image, np.where(is_other[..., None], other[0], base[0]))
        shares.append(is_other.mean())
        kept = dict(zip(labels["classes"].tolist(), labels["boxes"], strict=True))
        for value, whole in zip(
            (11, 12, 111, 112), np.concatenate([base[1]["boxes"], other[1]["boxes"]]), strict=True
        ):
            seen = (image[..., 0] == value).sum()
            area = np.prod(whole[2:] - whole[:2])
            assert (value in kept) == (seen >= 0.1 * area and seen > 0)
            if value in kept:
                np.testing.assert_array_equal(kept[value], bounds(image, value))
                cuts += 0 < seen < area
        np.testing.assert_array_equal(labels["ignore"], labels["classes"] == 112)
    # The share of the area is uniform.
    assert abs(np.mean(shares) - 0.5) < 0.07 and min(shares) < 0.1 and max(shares) > 0.9
    assert cuts > 100


def test_nothing_asked_renders_the_row_alone():
    reader = Reader()
    for number, (image, labels) in enumerate(mixed(reader, 3)):
        assert labels["classes"].tolist() == [10 * number + 1] and image.shape == (64, 96, 3)
    assert reader.read == [(0, (0, 7)), (1, (1, 8)), (2, (2, 9))]


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "partners"),
    [({"mosaic": 0.5}, 3), ({"copy_paste": 0.5}, 1), ({"cutmix": 0.5}, 1), ({"mixup": 0.5}, 1)],
)
def test_partners_are_read_only_where_they_are_drawn(options, partners):
    reader = Reader()
    plain, found = mixed(Reader()), mixed(reader, **options)
    again = mixed(Reader(), **options)
    read = [index for index, _ in reader.read]
    assert sorted(index for index in read if index < 100) == list(range(40))
    drawn = (len(read) - 40) / partners
    assert 10 < drawn < 30 and drawn == int(drawn)
    assert len({seed for _, seed in reader.read}) == len(reader.read)
    same = 0
    for left, right, repeated in zip(plain, found, again, strict=True):
        same += np.array_equal(left[0], right[0])
        np.testing.assert_array_equal(right[0], repeated[0])
        np.testing.assert_array_equal(right[1]["boxes"], repeated[1]["boxes"])
    # What is not mixed is as it is without mixing (a paste may also draw no box).
    assert same >= 40 - drawn


@pytest.mark.long
def test_all_at_once():
    for image, labels in mixed(Reader(), 10, mosaic=1.0, copy_paste=1.0, cutmix=1.0, mixup=1.0):
        assert image.shape == (64, 96, 3)
        assert (labels["boxes"] >= 0).all() and (labels["boxes"] <= [96, 64, 96, 64]).all()
        assert 2001 in labels["classes"]
