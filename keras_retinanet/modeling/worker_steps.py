"""Keras's `fit` over several machines: the one function of its trainer that fails there.

Keras 3 reduces the results of a step with "auto", which MultiWorkerMirroredStrategy refuses
("Invalid reduction dimension", keras issue 20585). Everything else of `fit`, its callbacks and its
metrics works, if the model is built, its optimizer too, and each process brings its own part of
each batch (`distribute_datasets_from_function`). Checked with Keras 3.15.1.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


class SharedSteps(keras.Model):
    """A model that `fit` and `evaluate` can also run on several machines."""

    train_function: Any
    test_function: Any

    @property
    def _is_shared(self) -> bool:
        return isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)

    def make_train_function(self, force: bool = False) -> Any:
        """Set the function that `fit` calls with an iterator."""
        if not self._is_shared:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = _shared(self, self.train_step)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        """Set the function that `evaluate` calls with an iterator."""
        if not self._is_shared:
            return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = _shared(self, self.test_step)
        return self.test_function


def _shared(model: keras.Model, step: Callable[[Any], dict[str, Any]]) -> Callable:
    """Return what Keras calls with an iterator, for `model.steps_per_execution` steps.

    Args:
        step: `train_step` or `test_step`; its results are averaged over all replicas.

    Returns:
        A function that raises StopIteration at the end of the data, as Keras expects.
    """
    strategy = model.distribute_strategy

    def on_all(batch: Any) -> dict[str, tf.Tensor]:
        results = strategy.run(step, args=(batch,))
        names = sorted(results)
        # One message for all of them.
        joined = strategy.run(lambda parts: tf.stack([parts[n] for n in names]), args=(results,))
        means = strategy.reduce(tf.distribute.ReduceOp.MEAN, joined, axis=None)
        return dict(zip(names, tf.unstack(means, len(names)), strict=True))

    @tf.function(reduce_retracing=True)
    def one_step(iterator: Any) -> dict[str, tf.Tensor]:
        return on_all(next(iterator))

    def steps(iterator: Any) -> dict[str, tf.Tensor]:
        for _ in range(model.steps_per_execution):
            try:
                results = one_step(iterator)
            except tf.errors.OutOfRangeError as error:
                raise StopIteration from error
        return results

    return steps
