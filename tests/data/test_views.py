"""What is chosen of a picture before it is decoded: turned views fit, and are drawn as asked."""

import numpy as np
import pytest
import tensorflow as tf

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data.augmentation.transforms import View, choose_view


@pytest.mark.parametrize("canvas", [(128, 160), (160, 128), (96, 224)])
def test_turned_pictures_fit_with_their_aspect(canvas):
    config, seen = AugmentConfig(rotate90=0.75), set()
    source, resized = tf.constant([240, 320]), tf.constant([96, 128])
    choose = tf.function(
        lambda seed: choose_view(source, resized, tf.constant(canvas), seed=seed, config=config)
    )
    for number in range(40):
        view = View(*[value.numpy() for value in choose(tf.constant([number, 3]))])
        assert view.start.tolist() == [0, 0] and view.length.tolist() == [240, 320]
        turned = view.size[::-1] if view.turns % 2 else view.size
        assert (turned <= canvas).all()
        assert abs(view.size[1] * 3 / 4 - view.size[0]) <= 1
        # Upright it has the size that was planned; on its side it fills the canvas or keeps it.
        assert (view.size == [96, 128]).all() or (view.turns % 2 and (turned == canvas).any())
        seen.add(int(view.turns))
    assert seen == {0, 1, 2, 3}


def test_turns_are_drawn_evenly_and_as_often_as_asked():
    source = canvas = tf.constant([64, 64])
    config = AugmentConfig(rotate90=0.6)
    choose = tf.function(
        lambda seed: choose_view(source, source, canvas, seed=seed, config=config).turns
    )
    counts = np.bincount([choose(tf.constant([n, 0])) for n in range(500)], minlength=4) / 500
    np.testing.assert_allclose(counts, [0.4, 0.2, 0.2, 0.2], atol=0.06)
