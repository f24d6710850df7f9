"""Augmentation: boxes go exactly where the pixels go."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from augmenting import augment

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data.augmentation.geometry import box_areas
from keras_retinanet.data.augmentation.transforms import choose_view, render
from keras_retinanet.modeling.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(short_side=120, long_side=160)
RED, BACKGROUND = (250, 20, 20), (40, 120, 200)


def labels(boxes):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return {
        "boxes": tf.constant(boxes),
        "classes": tf.range(len(boxes)),
        "ignore": tf.zeros(len(boxes), tf.bool),
    }


def run(image, boxes, config, *, seed=(0, 0), resized=(120, 160), canvas=(128, 160)):
    image, found = augment(
        tf.constant(image),
        labels(boxes),
        resized_size=tf.constant(resized),
        canvas=tf.constant(canvas),
        seed=tf.constant(seed, tf.int32),
        config=config,
        preprocessing=PREPROCESSING,
    )
    return image.numpy(), {name: value.numpy() for name, value in found.items()}


def red_bounds(image):
    """Returns the xyxy of the pixels nearer to RED than to anything else there."""
    red = image[..., 0] - image[..., 2] > (RED[0] - RED[2] + BACKGROUND[0] - BACKGROUND[2]) / 2
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else None


@pytest.mark.long
@pytest.mark.parametrize("resized", [(120, 160), (60, 80), (180, 240)])
@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.4, 0.7), (0.8, 1.3), (2.0, 4.0)])
def test_pixels_lie_where_the_box_says(scale, resized):
    config = AugmentConfig(
        flip=0.5, flip_vertical=0.5, rotate90=0.7, scale=scale, color=0.1, min_visible=0.0
    )
    canvas = (-(-resized[0] // 32) * 32, -(-resized[1] // 32) * 32)
    step = tf.function(
        lambda image, boxes, seed: augment(
            image,
            {"boxes": boxes, "classes": [0], "ignore": [False]},
            resized_size=tf.constant(resized),
            canvas=tf.constant(canvas),
            seed=seed,
            config=config,
            preprocessing=PREPROCESSING,
        )
    )
    rng, seen = np.random.default_rng(1), 0
    for number in range(40):
        x1, y1 = rng.integers(0, [150, 100])
        x2, y2 = [x1, y1] + rng.integers(30, [170, 140])
        image = np.full((240, 320, 3), BACKGROUND, np.uint8)
        image[y1:y2, x1:x2] = RED
        box = tf.constant([[x1, y1, x2, y2]], tf.float32)
        content, found = step(tf.constant(image), box, tf.constant([number, 7]))
        assert content.shape == (*canvas, 3)
        bounds, boxes = red_bounds(content.numpy()), found["boxes"].numpy()
        if bounds is None:
            # A sliver thinner than half a pixel may vanish from the pixels first.
            assert len(boxes) == 0 or (boxes[0, 2:] - boxes[0, :2]).min() < 1
            continue
        seen += 1
        np.testing.assert_allclose(boxes[0], bounds, atol=1.0)
    assert seen > 20


def test_without_options_it_is_the_letterbox_of_prediction(rng):
    image = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    preprocessing = Preprocessing(short_side=64, long_side=96)
    expected, size = preprocessing.letterbox(image)
    content, found = augment(
        tf.constant(image),
        labels([[12, 9, 60, 45]]),
        resized_size=tf.constant(size),
        canvas=tf.shape(expected)[:2],
        seed=tf.constant([1, 2]),
        config=AugmentConfig(flip=0.0),
        preprocessing=preprocessing,
    )
    np.testing.assert_array_equal(content, expected)
    assert size == (64, 85)
    expected_box = np.array([12, 9, 60, 45]) * [85 / 120, 64 / 90, 85 / 120, 64 / 90]
    np.testing.assert_allclose(found["boxes"], [expected_box], rtol=1e-6)


def test_same_seed_same_example_and_another_seed_another(rng):
    image = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    config = AugmentConfig(scale=(0.5, 2.0), color=0.3)
    results = [
        run(image, [[80, 60, 240, 180]], config, seed=seed) for seed in [(1, 2)] * 2 + [(1, 3)]
    ]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1]["boxes"], results[1][1]["boxes"])
    assert np.abs(results[0][0] - results[2][0]).mean() > 1


def test_box_out_of_the_picture_is_clipped_before_the_area_counts():
    image = np.zeros((120, 160, 3), np.uint8)
    # A twentieth of this box is in the picture, and all of that is seen.
    boxes = [[-190, 0, 10, 10], [-20, -20, -5, -5], [0, 0, 10, 10]]
    _, found = run(image, boxes, AugmentConfig(flip=0.0, min_visible=0.5))
    assert found["classes"].tolist() == [0, 2]
    np.testing.assert_allclose(found["boxes"], [[0, 0, 10, 10]] * 2)


def test_padding_has_the_mean_color():
    image = np.zeros((120, 160, 3), np.uint8)
    content, _ = run(image, [], AugmentConfig(flip=0.0, color=0.5, scale=(0.5, 0.5)))
    is_padding = content.max(axis=-1) > 1
    assert is_padding.sum() == 128 * 160 - 60 * 80
    padding = content[is_padding]
    np.testing.assert_allclose(padding, np.tile(PREPROCESSING.mean, (len(padding), 1)), rtol=1e-5)


def test_a_window_that_the_decoder_made_smaller_gives_the_same_boxes(rng):
    config = AugmentConfig(flip=0.5, rotate90=0.5, scale=(0.5, 1.5))
    image = np.full((240, 320, 3), BACKGROUND, np.uint8)
    image[80:200, 64:256] = RED
    source, canvas = tf.constant([240, 320]), tf.constant([64, 96])
    for number in range(10):
        seed = tf.constant([number, 5])
        view = choose_view(source, tf.constant([60, 80]), canvas, seed=seed, config=config)
        window = tf.slice(image, [*view.start, 0], [*view.length, 3])
        half = tf.cast(tf.image.resize(window, (view.length + 1) // 2, antialias=True), tf.uint8)
        whole, reduced = (
            render(
                pixels,
                labels([[64, 80, 256, 200]]),
                view,
                source_size=source,
                canvas=canvas,
                seed=seed,
                config=config,
                preprocessing=PREPROCESSING,
            )
            for pixels in (window, half)
        )
        np.testing.assert_array_equal(whole[1]["boxes"], reduced[1]["boxes"])
        np.testing.assert_allclose(whole[1]["boxes"][0], red_bounds(reduced[0].numpy()), atol=1.5)


EVERYTHING = {
    "flip": 0.5,
    "flip_vertical": 0.5,
    "rotate90": 0.5,
    "scale": (0.5, 2.0),
    "color": 0.3,
    "hue": 0.2,
    "photometric": 0.5,
    "erase": 0.5,
    "rotate": 20.0,
    "shear": 10.0,
    "translate": 0.2,
    "blur": 1.0,
    "noise": 0.1,
    "jpeg": 0.5,
    "grid_mask": 0.3,
}


@pytest.mark.long
def test_whatever_is_drawn_boxes_lie_in_the_canvas_and_show_enough(rng):
    config = AugmentConfig(**EVERYTHING, min_visible=0.3)
    image = tf.constant(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8))
    corners = np.sort(rng.uniform(-20, 180, (30, 2, 2)), axis=1).reshape(-1, 4)
    boxes = tf.constant(corners, tf.float32)
    canvas = tf.constant([96, 160])
    step = tf.function(
        lambda seed: augment(
            image,
            labels(boxes),
            resized_size=tf.constant([90, 120]),
            canvas=canvas,
            seed=seed,
            config=config,
            preprocessing=PREPROCESSING,
        )
    )
    counts = []
    for number in range(60):
        content, found = step(tf.constant([number, 2]))
        found = {name: value.numpy() for name, value in found.items()}
        assert content.shape == (96, 160, 3)
        assert content.numpy().min() >= 0 and content.numpy().max() <= 255
        assert (found["boxes"] >= 0).all() and (found["boxes"] <= [160, 96, 160, 96]).all()
        assert (box_areas(found["boxes"]).numpy() > 0).all()
        assert len(found["boxes"]) == len(found["classes"]) == len(found["ignore"])
        assert (np.diff(found["classes"]) > 0).all()
        counts.append(len(found["classes"]))
    assert min(counts) < 12 and max(counts) > 20


@pytest.mark.long
@pytest.mark.parametrize("option", ["color", "hue", "photometric", "blur", "noise", "jpeg"])
def test_an_option_that_moves_nothing_leaves_the_other_draws(rng, option):
    image = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    without = {name: value for name, value in EVERYTHING.items() if name != option}
    for number in range(4):
        boxes = [
            run(image, [[20, 30, 90, 100]], AugmentConfig(**chosen), seed=(number, 9))[1]["boxes"]
            for chosen in (EVERYTHING, without)
        ]
        np.testing.assert_array_equal(*boxes)


def test_switching_a_flip_on_only_adds_the_flip(rng):
    image = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    config = {"flip": 0.5, "color": 0.3}
    flips = 0
    for number in range(8):
        plain, flipped = (
            run(
                image,
                [[20, 30, 90, 100]],
                AugmentConfig(**config, flip_vertical=p),
                seed=(number, 4),
            )
            for p in (0.0, 1.0)
        )
        x1, y1, x2, y2 = plain[1]["boxes"][0]
        np.testing.assert_allclose(flipped[1]["boxes"], [[x1, 120 - y2, x2, 120 - y1]])
        np.testing.assert_allclose(flipped[0][:120], plain[0][:120][::-1], atol=0.01)
        flips += x1 != 20
    assert 0 < flips < 8


@pytest.mark.long
def test_what_is_off_adds_no_operation():
    def count(**options):
        config = AugmentConfig(**{"flip": 0.0} | options)
        step = tf.function(
            lambda image, seed: augment(
                image,
                labels([[1, 2, 3, 4]]),
                resized_size=tf.constant([120, 160]),
                canvas=tf.constant([128, 160]),
                seed=seed,
                config=config,
                preprocessing=PREPROCESSING,
            )
        )
        signature = tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([2], tf.int32)
        return [op.type for op in step.get_concrete_function(*signature).graph.get_operations()]

    plain = count()
    assert not {"If", "StatelessIf", "Conv2D", "ReverseV2"} & set(plain)
    for name, value in EVERYTHING.items():
        assert len(count(**{name: value})) > len(plain)


def test_erased_boxes_are_dropped_by_the_area_that_is_left(rng):
    image = np.full((120, 160, 3), BACKGROUND, np.uint8)
    boxes = [[x, y, x + 20, y + 20] for x, y in itertools.product(range(0, 160, 20), (0, 60))]
    kept = {
        share: [
            set(
                run(image, boxes, AugmentConfig(erase=1.0, min_visible=share), seed=(n, 0))[1][
                    "classes"
                ]
            )
            for n in range(6)
        ]
        for share in (0.0, 0.9)
    }
    assert all(strict <= loose for loose, strict in zip(kept[0.0], kept[0.9], strict=True))
    assert sum(map(len, kept[0.9])) < sum(map(len, kept[0.0])) < 6 * len(boxes)
