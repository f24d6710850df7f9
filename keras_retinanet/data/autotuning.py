"""Datasets without TensorFlow's autotuning, whose thread can hold up the end of an iterator."""

import tensorflow as tf


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return `dataset` with autotuning off: set `num_parallel_calls` and buffers by hand.

    The destructor of an iterator waits for the thread that autotunes. Now and then that thread
    misses that it is canceled and sleeps on, for a period that doubles up to a minute as the
    iterator ages; also if the iterator was read to its end.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
