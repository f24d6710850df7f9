"""Colour changes: what each must keep, and that all together are one after another."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data.augmentation.colors import (
    distort_photometric,
    jitter_color,
    recolor,
    turn_hue,
)

GREY = np.array([0.299, 0.587, 0.114], np.float32)
SEEDS = {"color_seed": [1, 2], "hue_seed": [3, 4], "photometric_seed": [5, 6]}


def middling(rng, low=100, high=150):
    return tf.constant(rng.integers(low, high, (8, 8, 3)).astype(np.float32))


def test_color_changes_are_bounded_and_grey_stays_grey(rng):
    image = middling(rng)
    np.testing.assert_allclose(jitter_color(image, 0.0, [0, 0]), image, atol=1e-3)
    grey = tf.tile(image[..., :1], [1, 1, 3])
    changed = [jitter_color(grey, 0.5, [number, 0]).numpy() for number in range(20)]
    for result in changed:
        np.testing.assert_allclose(result[..., 0], result[..., 2], atol=1e-2)
        assert 0 <= result.min() and result.max() <= 255
    means = np.array([result.mean() for result in changed]) / grey.numpy().mean()
    assert 0.49 < means.min() < 0.8 and 1.2 < means.max() < 1.51


def test_jitter_is_brightness_then_saturation_then_contrast(rng):
    image, seed = middling(rng), tf.constant([7, 8])
    brightness, contrast, saturation = tf.random.stateless_uniform([3], seed, 0.8, 1.2).numpy()
    bright = image.numpy() * brightness
    grey = (bright @ GREY)[..., None]
    saturated = grey + saturation * (bright - grey)
    expected = contrast * saturated + (1 - contrast) * grey.mean()
    np.testing.assert_allclose(jitter_color(image, 0.2, seed), expected, atol=1e-3)


def test_hue_turns_the_color_and_keeps_its_grey(rng):
    image = middling(rng)
    for number in range(10):
        turned = turn_hue(image, 0.5, [number, 0]).numpy()
        assert np.abs(turned - image).mean() > 0.1
        np.testing.assert_allclose(turned @ GREY, image.numpy() @ GREY, atol=0.05)
    grey = tf.tile(image[..., :1], [1, 1, 3])
    np.testing.assert_allclose(turn_hue(grey, 0.5, [1, 0]), grey, atol=0.05)
    np.testing.assert_allclose(turn_hue(image, 0.0, [1, 0]), image, atol=0.01)


@pytest.mark.long
def test_photometric_leaves_a_sixteenth_and_stays_in_its_ranges(rng):
    image = tf.tile(middling(rng)[..., :1], [1, 1, 3])
    results = [distort_photometric(image, [number, 0]).numpy() for number in range(200)]
    # Saturation and hue leave a grey picture: a quarter of the draws change nothing at all.
    same = np.mean([np.abs(result - image).max() < 0.05 for result in results])
    assert 0.15 < same < 0.35
    means = np.array([result.mean() for result in results])
    mean = image.numpy().mean()
    assert (0.5 * (mean - 32) - 1 < means).all() and (means < 1.5 * (mean + 32) + 1).all()
    assert means.min() < 0.7 * mean and means.max() > 1.3 * mean


def test_all_changes_in_one_pass_are_one_after_another(rng):
    image = middling(rng, 120, 135)
    config = AugmentConfig(color=0.1, hue=0.1, photometric=1.0)
    ssd_seed = tf.random.split(SEEDS["photometric_seed"])[1]
    expected = jitter_color(image, 0.1, SEEDS["color_seed"])
    expected = distort_photometric(turn_hue(expected, 0.1, SEEDS["hue_seed"]), ssd_seed)
    np.testing.assert_allclose(recolor(image, config, **SEEDS), expected, atol=0.01)
    assert np.abs(expected - image).mean() > 1


def test_photometric_is_drawn_as_often_as_asked(rng):
    image, config = middling(rng), AugmentConfig(photometric=0.4)
    step = tf.function(
        lambda seed: recolor(
            image, config, color_seed=[0, 0], hue_seed=[0, 0], photometric_seed=seed
        )
    )
    same = [np.array_equal(step(tf.constant([n, 0])), image) for n in range(200)]
    # Drawn .4 of the time, of which a sixteenth changes nothing.
    assert 0.52 < np.mean(same) < 0.73


@pytest.mark.parametrize("option", ["color", "hue", "photometric"])
def test_values_stay_in_range(rng, option):
    image = tf.constant(rng.integers(0, 256, (8, 8, 3)).astype(np.float32))
    for number in range(20):
        seeds = {name: [number, 1] for name in SEEDS}
        changed = recolor(image, AugmentConfig(**{option: 1.0}), **seeds).numpy()
        assert 0 <= changed.min() and changed.max() <= 255


def test_nothing_asked_is_the_very_picture(rng):
    image = middling(rng)
    assert recolor(image, AugmentConfig(), **SEEDS) is image
