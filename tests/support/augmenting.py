"""One training example of a decoded image, without the pipeline around it."""

import tensorflow as tf

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data.augmentation.transforms import choose_view, render


def augment(image, labels, *, resized_size, canvas, seed, config: AugmentConfig, preprocessing):
    """Makes one training example of a decoded picture (H, W, 3) uint8.

    Args: as `choose_view` and `render` take them. Returns: as `render`.
    """
    source_size = tf.shape(image)[:2]
    view = choose_view(source_size, resized_size, canvas, seed=seed, config=config)
    window = tf.slice(image, [*tf.unstack(view.start), 0], [*tf.unstack(view.length), 3])
    return render(
        window,
        labels,
        view,
        source_size=source_size,
        canvas=canvas,
        seed=seed,
        config=config,
        preprocessing=preprocessing,
    )
