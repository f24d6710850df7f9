"""Blur, noise and JPEG artifacts: of the strength that is asked, and nothing moves."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data.augmentation.quality import blur, compress, degrade

SEEDS = {name: tf.constant([number, 5]) for number, name in enumerate(("blur", "noise", "jpeg"))}


@pytest.mark.parametrize("sigma", [0.8, 2.0, 3.5])
def test_a_point_becomes_a_gaussian_of_the_width_asked(sigma):
    image = np.zeros((61, 81, 3), np.float32)
    image[30, 40] = [255, 100, 0]
    found = blur(tf.constant(image), tf.constant(sigma), radius=12).numpy()
    assert found[..., 0].sum() == pytest.approx(255, rel=1e-4)
    np.testing.assert_allclose(found[..., 1] * 2.55, found[..., 0], atol=1e-4)
    assert not found[..., 2].any()
    y, x = np.mgrid[:61, :81]
    for places, center in ((y, 30), (x, 40)):
        spread = (found[..., 0] * (places - center) ** 2).sum() / found[..., 0].sum()
        assert spread**0.5 == pytest.approx(sigma, rel=0.02)


def test_the_border_is_no_darker_and_no_blur_is_none(rng):
    for size in ((40, 50), (3, 7), (1, 1)):
        plain = tf.fill([*size, 3], 77.0)
        np.testing.assert_allclose(blur(plain, tf.constant(3.0), radius=9), plain, rtol=1e-5)
    image = tf.constant(rng.uniform(0, 255, (20, 30, 3)), tf.float32)
    np.testing.assert_allclose(blur(image, tf.constant(0.0), radius=6), image, rtol=1e-5)


def test_strength_is_drawn_up_to_the_maximum(rng):
    image = tf.fill([64, 64, 3], 128.0)
    config = AugmentConfig(noise=0.2)
    found = [
        float(np.std(degrade(image, config, seeds=SEEDS | {"noise": tf.constant([n, 1])}) - image))
        for n in range(80)
    ]
    assert 0 < min(found) < 6 and 45 < max(found) < 52  # of 0..51
    assert abs(np.mean(found) - 25.5) < 4


def test_each_option_changes_something_within_range_and_repeats(rng):
    image = tf.constant(rng.uniform(0, 255, (33, 47, 3)), tf.float32)
    for options in ({"blur": 2.0}, {"noise": 0.5}, {"jpeg": 0.9}):
        changed = degrade(image, AugmentConfig(**options), seeds=SEEDS).numpy()
        assert changed.shape == image.shape
        assert changed.min() >= 0 and changed.max() <= 255
        assert np.abs(changed - image).mean() > 1
        again = degrade(image, AugmentConfig(**options), seeds=SEEDS)
        np.testing.assert_array_equal(changed, again)
    assert degrade(image, AugmentConfig(), seeds=SEEDS) is image


def test_lower_jpeg_quality_loses_more(rng):
    y, x = np.mgrid[:64, :96].astype(np.float32)
    smooth = 128 + 60 * np.sin(x / 9) + 60 * np.cos(y / 7)
    image = tf.constant(np.stack([smooth + rng.normal(0, 6, (64, 96))] * 3, -1), tf.float32)
    image = tf.clip_by_value(image, 0, 255)
    losses = [
        float(np.abs(compress(image, tf.constant(quality)) - image).mean())
        for quality in (100, 60, 20, 1)
    ]
    assert losses == sorted(losses) and losses[0] < 2 < losses[-1]
