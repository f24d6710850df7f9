"""Which devices train: those of this machine, or of all machines of a cluster.

A strategy of several machines can be made only once in a process, before TensorFlow computes
anything: `strategy` keeps it.
"""

import functools

import tensorflow as tf

from keras_retinanet.config import TrainConfig
from keras_retinanet.errors import UserError, listed
from keras_retinanet.training.cluster import STRATEGIES, VARIABLE, StrategyName, read_cluster
from keras_retinanet.training.joining import joining


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


def strategy(
    name: StrategyName = "auto", *, hang_minutes: float = TrainConfig.hang_minutes
) -> tf.distribute.Strategy:
    """Return the strategy of a name.

    Args:
        name: "one_device"; "mirrored", all GPUs of this machine, else all logical CPUs;
            "multi_worker", the processes that `TF_CONFIG` names; "tpu", the TPU of `TPU_NAME`, or
            the local one; "auto", the machines of `TF_CONFIG` if it names several, else the
            devices of this one.
        hang_minutes: how long to wait for the other processes of `TF_CONFIG`; 0: an hour,
            TensorFlow's own limit.

    Raises:
        UserError: there is no such strategy, no cluster for it, no TPU, a cluster that would go
            unused or cannot be joined.
    """
    if name not in STRATEGIES:
        raise UserError(f"Expected a strategy: {listed(STRATEGIES)}. Received: {name}.")
    cluster = read_cluster()
    if name == "auto":
        name = "multi_worker" if cluster else "mirrored"
    if name == "multi_worker":
        if cluster is None:
            raise UserError(
                f"Expected {VARIABLE} to name two processes or more. Received: none. Try it on "
                "this machine with: keras_retinanet launch -n 2 train ..."
            )
        if not _multi_worker.cache_info().currsize:
            with joining(cluster, hang_minutes):
                _multi_worker()
        return _multi_worker()
    if cluster is not None:
        raise UserError(
            f"Expected the strategy multi_worker or auto for the {len(cluster.addresses)} "
            f"processes of {VARIABLE}. Received: {name}, with which each would train the whole "
            "model. Unset the variable to train on this machine alone."
        )
    if name == "tpu":
        return _tpu()
    return local_strategy() if name == "mirrored" else tf.distribute.get_strategy()


def local_strategy() -> tf.distribute.Strategy:
    """Return MirroredStrategy over all GPUs, else all logical CPUs; one device needs none."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


@functools.cache
def _multi_worker() -> tf.distribute.Strategy:
    """Return the strategy of this process's cluster, once all of its processes have joined."""
    return tf.distribute.MultiWorkerMirroredStrategy()


@functools.cache
def _tpu() -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect()
    except (ValueError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0][:120]
        raise UserError(f"Expected a TPU, here or as TPU_NAME says. Received: {reason}") from error
    return tf.distribute.TPUStrategy(resolver)


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
