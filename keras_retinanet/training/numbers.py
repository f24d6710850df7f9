"""What decides the numbers of a run beside its data: seed, precision, order of sums."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from keras_retinanet.config import TrainConfig
from keras_retinanet.errors import UserError


@contextlib.contextmanager
def numbers(train: TrainConfig) -> Iterator[None]:
    """Set the seed and the precision of `train`; afterwards layers are float32 again.

    With `train.deterministic` the process uses deterministic operations from now on, because
    TensorFlow cannot be told to leave them.

    Raises:
        UserError: a run that must be repeatable would end by the clock.
    """
    if train.deterministic:
        if train.minutes:
            raise UserError(
                "Expected a length in steps with train.deterministic, because a run of minutes "
                f"takes another number of steps each time. Received: train.minutes "
                f"{train.minutes:g}. Give --steps N --minutes 0."
            )
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(train.seed)
    keras.config.set_dtype_policy(train.precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")
