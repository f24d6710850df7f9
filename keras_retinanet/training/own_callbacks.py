"""A user's Keras callbacks in a run, in which each evaluation ends an epoch."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_retinanet.errors import UserError
from keras_retinanet.lazy import named_object
from keras_retinanet.training.run_state import Clock


class OwnCallbacks(keras.callbacks.Callback):
    """Call `callbacks` as `fit` does, where an epoch is the steps up to the next evaluation.

    To Keras the whole run is one epoch. Steps and epochs count from the start of the run, also in
    a resumed one. The logs of an epoch are those of the last row of `metrics.csv`: "loss",
    "class_loss", "box_loss", "learning_rate", and the validation metrics as "val_AP", "val_AP50"
    and so on.

    Args:
        callbacks: Keras callbacks; `fit` calls them in this order.
        clock: counts the steps; it is ahead of these callbacks.
        every: steps between evaluations.
        logs: filled by the callbacks before this one; see above.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        *,
        clock: Clock,
        every: int,
        logs: dict[str, float],
    ):
        super().__init__()
        self.callbacks, self.clock, self.every, self.logs = list(callbacks), clock, every, logs

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        self._call("set_params", params)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self._call("set_model", model)

    def on_train_begin(self, logs: Any = None) -> None:
        self._call("on_train_begin", logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 0 or self.clock.evaluated == self.clock.step:
            self._call("on_epoch_begin", self.clock.step // self.every, {})
        self._call("on_train_batch_begin", self.clock.step, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        last = self.clock.step - 1  # the clock has counted this step already
        self._call("on_train_batch_end", last, logs)
        if self.clock.evaluated == self.clock.step:
            self._call("on_epoch_end", last // self.every, dict(self.logs))

    def on_train_end(self, logs: Any = None) -> None:
        self._call("on_train_end", dict(self.logs))

    def _call(self, method: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, method)(*arguments)


def load_callback(name: str) -> keras.callbacks.Callback:
    """Return a new callback of `name`, "module:Class", which is called without arguments.

    The module is also looked for in the working folder.

    Raises:
        UserError: there is no such module or class, or it gives no Keras callback.
    """
    make = named_object(name, "a callback as module:Class")
    callback = make()
    if not isinstance(callback, keras.callbacks.Callback):
        raise UserError(
            "Expected a class of keras.callbacks.Callback, or a function that returns one. "
            f"Received: {name}, which gives a {type(callback).__name__}."
        )
    return callback
