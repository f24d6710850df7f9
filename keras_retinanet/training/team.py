"""What the processes of a training tell each other: few numbers, by the strategy's own means.

Every method is called by all processes at the same place; alone, a process answers itself.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.training.cluster import Cluster, read_cluster


class Team:
    """The processes that train together.

    Args:
        strategy: of `distribution.strategy`.

    Attributes:
        index: of this process; the chief's is 0.
        count: how many there are.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self.strategy = strategy
        is_shared = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        cluster = (read_cluster() if is_shared else None) or Cluster(("alone",), 0)
        self.index, self.count = cluster.index, len(cluster.addresses)

    @property
    def is_chief(self) -> bool:
        """Return whether this process writes the run folder."""
        return self.index == 0

    def sums(self, values: Any) -> np.ndarray:
        """Return the sums over all processes of float64 values (V,)."""
        values = np.asarray(values, np.float64)
        if self.count == 1 or not values.size:  # TensorFlow aborts on a message without values
            return values
        return self._sum(self._once(values)).numpy()

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        return bool(self.sums([flag])[0])

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.any(False)

    def joined(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows (N, ...) of all processes, those of the chief first; N may differ."""
        if self.count == 1:
            return rows
        counts = np.zeros(self.count)
        counts[self.index] = len(rows)
        ends = np.cumsum(self.sums(counts)).astype(int)
        # The sum of each one's rows at their place, with zeros elsewhere: exact, and one message.
        everyones = np.zeros((ends[-1], *rows.shape[1:]))
        everyones[ends[self.index] - len(rows) : ends[self.index]] = rows
        return self.sums(everyones.ravel()).reshape(everyones.shape).astype(rows.dtype)

    def _once(self, value: np.ndarray) -> Any:
        """Return `value` on this process's first replica, and zeros on its others."""
        first = self.strategy.num_replicas_in_sync // self.count * self.index

        def of_replica(context: tf.distribute.InputContext) -> tf.Tensor:
            is_first = context.replica_id_in_sync_group == first
            return tf.constant(value if is_first else np.zeros_like(value))

        return self.strategy.experimental_distribute_values_from_function(of_replica)

    @tf.function(reduce_retracing=True)
    def _sum(self, values: Any) -> tf.Tensor:
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)
