"""What a run does when the loss of a step is not a finite number: stop, skip or roll back."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_retinanet.errors import UserError
from keras_retinanet.training.distillation import loss_names
from keras_retinanet.training.run_state import Clock, RunState

BAD_BATCH_FILE = "bad_batch.png"
# Bad steps in a row; more mean that it is not the batch.
MOST_IN_A_ROW = 3


class LossGuard(keras.callbacks.Callback):
    """Look at the loss of each step, before anything else does.

    Args:
        action: "stop" ends the run; "skip" continues, the optimizer (`skip_nonfinite`)
            having left all weights as they were; "rollback" continues from the weights of the
            newest state with the next images.
        draw: writes an image of the batch of a step and returns its path.
    """

    def __init__(self, clock: Clock, state: RunState, *, action: str, draw: Callable[[int], Path]):
        super().__init__()
        self.clock, self.state, self.action, self.draw = clock, state, action, draw
        self._sums: list[Any] = []  # of the metrics, and
        self._logs: dict[str, float] = {}  # what Keras made of them, after the last good step
        self._in_a_row = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self._keep(dict.fromkeys(loss_names(self.clock.train), 0.0))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if math.isfinite(logs["loss"]):
            self._in_a_row = 0
            if self.action != "stop":
                self._keep(logs)
            return
        step = self.clock.step + 1
        picture = self.draw(self.clock.step)
        self._in_a_row += 1
        if self.action == "stop" or self._in_a_row > MOST_IN_A_ROW:
            raise self._error(logs["loss"], step, picture)
        if self.action == "rollback":
            self.state.restore_weights()
            newest = self.state.steps()[0]
            print(f"step {step}: loss {logs['loss']}; back to the weights of step {newest}")
        else:
            print(f"step {step}: loss {logs['loss']}; the step is skipped")
        # The means that follow, and the log, know nothing of this step.
        for variable, value in zip(self.model.metrics_variables, self._sums, strict=True):
            variable.assign(value)
        logs |= self._logs

    def _keep(self, logs: dict[str, float]) -> None:
        self._logs = dict(logs)
        self._sums = [tf.identity(v.value) for v in self.model.metrics_variables]

    def _error(self, loss: float, step: int, picture: Path) -> UserError:
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        return UserError(
            f"Expected a finite loss. Received: {loss} at step {step}, with learning rate "
            f"{rate:.3g} and the images in {picture}. Start a new run with a lower "
            "train.optimizer.learning_rate, with train.optimizer.clip_norm, or with --on_nan skip "
            "or rollback, which leave such a step out."
        )
