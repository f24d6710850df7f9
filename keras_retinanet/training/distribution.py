"""Train with one replica per device of this machine."""

import json
import os

import tensorflow as tf

from keras_retinanet.config import TrainConfig
from keras_retinanet.errors import UserError

# Set by cluster managers for TensorFlow: the machines, and which one this is.
CLUSTER_VARIABLE = "TF_CONFIG"


def use_devices(count: int) -> None:
    """Make `count` devices visible to TensorFlow: the first GPUs, or logical devices of a CPU.

    Call it before TensorFlow uses a device. Logical devices share the cores of the CPU: they are
    not faster than one, but train as that many GPUs do, so that a run can be tried anywhere.

    Raises:
        UserError: there are fewer GPUs.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        cpu = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
        tf.config.set_logical_device_configuration(cpu, parts)
    elif count <= len(gpus):
        tf.config.set_visible_devices(gpus[:count], "GPU")
    else:
        raise UserError(f"Expected up to {len(gpus)} devices, the GPUs here. Received: {count}.")


def strategy() -> tf.distribute.Strategy:
    """Return MirroredStrategy over all GPUs, else all logical CPUs; one device needs none."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def require_equal_parts(train: TrainConfig, replicas: int) -> None:
    """Refuse a batch without equal parts for the devices, or without equal pieces on each.

    Raises:
        UserError: `train.batch_size` or `train.micro_batch` does not divide.
    """
    if train.batch_size % replicas:
        raise UserError(
            f"Expected train.batch_size to divide by the {replicas} devices. "
            f"Received: {train.batch_size}."
        )
    own = train.batch_size // replicas
    if train.micro_batch and own % train.micro_batch:
        pieces = [str(size) for size in range(1, own + 1) if own % size == 0]
        raise UserError(
            f"Expected train.micro_batch to divide the {own} images of a step on each device. "
            f"Received: {train.micro_batch}. Choose one of {', '.join(pieces)}, or 0 to compute "
            "the batch at once."
        )


def require_one_machine() -> None:
    """Refuse to run on several machines, each of which would train the whole model.

    Raises:
        UserError: `TF_CONFIG` names a cluster of more than one task, or cannot be read.
    """
    text = os.environ.get(CLUSTER_VARIABLE)
    if not text:
        return
    try:
        cluster = json.loads(text).get("cluster", {})
        tasks = sum(len(addresses) for addresses in cluster.values())
    except (ValueError, AttributeError, TypeError):
        tasks = None
    if tasks is None or tasks > 1:
        raise UserError(
            "Expected to train on the devices of one machine: several machines are not supported "
            f"yet. Received: {CLUSTER_VARIABLE}={text[:80]!r}. Unset it to train separately on "
            "each machine."
        )
