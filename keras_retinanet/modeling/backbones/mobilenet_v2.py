"""MobileNetV2 backbone (Sandler et al. 2018, table 2): image -> C3, C4, C5.

Layers and their names are those of `efficientnet_lite.py`, which has the same blocks.
"""

import keras

from keras_retinanet.modeling.backbones.efficientnet_lite import Stage, efficientnet_lite

STAGES = (
    Stage(level=1, blocks=1, kernel_size=3, strides=1, expansion=1, channels=16),
    Stage(level=2, blocks=2, kernel_size=3, strides=2, expansion=6, channels=24),
    Stage(level=3, blocks=3, kernel_size=3, strides=2, expansion=6, channels=32),
    Stage(level=4, blocks=4, kernel_size=3, strides=2, expansion=6, channels=64),
    Stage(level=4, blocks=3, kernel_size=3, strides=1, expansion=6, channels=96),
    Stage(level=5, blocks=3, kernel_size=3, strides=2, expansion=6, channels=160),
    Stage(level=5, blocks=1, kernel_size=3, strides=1, expansion=6, channels=320),
)


def mobilenet_v2(
    *, name: str = "mobilenet_v2", padding: str = "same", bn_epsilon: float = 1e-3
) -> keras.Model:
    """Build MobileNetV2 with random weights; the defaults are TensorFlow Model Garden's.

    Args:
        name: name of the model.
        padding, bn_epsilon: as described in `BackboneConfig`.

    Returns:
        Model: as of `efficientnet_lite`, with 32, 96 and 320 channels.
    """
    return efficientnet_lite(
        1.0, 1.0, stages=STAGES, name=name, padding=padding, bn_epsilon=bn_epsilon
    )
