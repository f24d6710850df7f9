"""`train.precision: auto`: bfloat16 where this machine trains the network faster with it."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import keras
import tensorflow as tf

from keras_retinanet.config import Config
from keras_retinanet.config.model import ModelConfig
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.training.run_folder import stored_config
from keras_retinanet.training.team import Team

AUTO = "auto"
FLOAT32: Final = "float32"
BFLOAT16: Final = "mixed_bfloat16"
# Far from the noise of a measurement, so that equal machines choose alike.
WORTHWHILE = 0.8
SIDE = 256
REPEATS = 3


def resolved_precision(config: Config, out: Path, team: Team, *, resume: bool) -> Config:
    """Return `config` with a precision of "auto" replaced by what is faster on this machine.

    Args:
        out: folder of the run; a resumed one keeps the precision that it began with.
        team: the processes that train together; the first one measures. A run that can be
            repeated takes float32: a measurement may choose otherwise another time.
    """
    if config.train.precision != AUTO:
        return config
    if resume:
        chosen = stored_config(out).train.precision
    elif config.train.deterministic:
        chosen = FLOAT32
    else:
        (share,) = team.sums([bfloat16_share(config.model) if team.is_chief else 0.0])
        chosen = BFLOAT16 if share < WORTHWHILE else FLOAT32
        print(f"train.precision: {chosen}, because bfloat16 takes {share:.2f} of float32's time")
    return dataclasses.replace(config, train=dataclasses.replace(config.train, precision=chosen))


def bfloat16_share(model: ModelConfig) -> float:
    """Measure and return the time of a training step in mixed bfloat16, as a share of float32's.

    The network is built with random weights in both precisions; their steps take turns.
    """
    steps = [_step(model, precision) for precision in (FLOAT32, BFLOAT16)]
    seconds: list[list[float]] = [[], []]
    for _ in range(REPEATS):
        for step, found in zip(steps, seconds, strict=True):
            start = time.perf_counter()
            step()
            found.append(time.perf_counter() - start)
    return median(seconds[1]) / median(seconds[0])


def _step(config: ModelConfig, precision: str) -> Callable[[], None]:
    """Return a function that runs the network forward and backward once; it ran once already."""
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(precision)
        model = RetinaNet(config, ["class"], load_weights=False)
    finally:
        keras.config.set_dtype_policy(before)
    images = tf.fill((1, SIDE, SIDE, 3), 128.0)

    @tf.function
    def gradients() -> tf.Tensor:
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            loss = sum(tf.reduce_sum(output * output) for output in outputs.values())
        found = tape.gradient(loss, model.trainable_variables)
        return tf.add_n([tf.reduce_sum(tf.abs(gradient)) for gradient in found])

    gradients()
    return lambda: gradients().numpy()
