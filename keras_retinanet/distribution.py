"""One replica per device."""

import tensorflow as tf


def strategy() -> tf.distribute.Strategy:
    """Return MirroredStrategy over all GPUs, else all logical CPUs; one device needs none."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()
