"""Detection on several devices at once: each takes its share of the rows of a batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.modeling.post_processing import DetectionBatch


class FullBatches:
    """The steps of a RetinaNet, with batches of one size that replicas share.

    A smaller batch is filled up, so that no graph is traced for its size.

    Args:
        model: has the steps of a RetinaNet and `detect_batch`.
        batch_size: of all replicas together, rounded up to a multiple of them.
        strategy: whose replicas share a batch; the model was made in its scope.
    """

    takes_batches = True

    def __init__(self, model: Any, batch_size: int, strategy: tf.distribute.Strategy | None):
        self.prepare, self.finish = model.prepare, model.finish
        replicas = 1 if strategy is None else strategy.num_replicas_in_sync
        self._rows = -(-batch_size // replicas) * replicas
        self._detect = model.detect_batch if replicas == 1 else replicated(model, strategy)

    def infer(self, inputs: np.ndarray, sizes: np.ndarray) -> DetectionBatch:
        """Return the detections of up to `batch_size` inputs; rows past them repeat the last."""
        if len(inputs) < self._rows:
            filled = np.minimum(np.arange(self._rows), len(inputs) - 1)
            inputs, sizes = inputs[filled], sizes[filled]
        return DetectionBatch(*(np.asarray(part) for part in self._detect(inputs, sizes)))


def replicated(
    model: Any, strategy: tf.distribute.Strategy
) -> Callable[[np.ndarray, np.ndarray], DetectionBatch]:
    """Return what does as `model.detect_batch` on all replicas of `strategy`.

    Args:
        model: a RetinaNet that was made or read in the strategy's scope.

    Returns:
        A function of images (B, H, W, 3) and sizes (B, 2), where B is a multiple of the number of
        replicas; its rows are in the order given.
    """
    replicas = strategy.num_replicas_in_sync
    # Without its own graph, whose signature takes no values of several replicas.
    detect_rows = model.detect_as_built.python_function

    @tf.function(reduce_retracing=True)
    def run(images: Any, sizes: Any) -> Any:
        return strategy.run(detect_rows, args=(images, sizes))

    def spread(rows: np.ndarray) -> Any:
        shares = np.split(rows, replicas)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(shares[context.replica_id_in_sync_group])
        )

    def detect(images: np.ndarray, sizes: np.ndarray) -> DetectionBatch:
        batch = run(spread(images), spread(sizes))
        joined = (tf.concat(strategy.experimental_local_results(part), axis=0) for part in batch)
        return DetectionBatch(*joined)

    return detect
