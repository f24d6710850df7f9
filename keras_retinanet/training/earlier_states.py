"""States that versions up to 0.1 wrote: TensorFlow's checkpoints, an index beside its data."""

import json
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

SUFFIX = ".index"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# Entries that TensorFlow adds to the values.
BOOKKEEPING = {"_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter" + VALUE}
# The clock in the first of these states, one variable each.
CLOCK = ("step", "seconds", "best", "waited")
# `Clock.evaluated` for such a state.
NOT_STORED = -1


class EarlierState:
    """As `state_file.StateFile`, of such a checkpoint: TensorFlow checks each value it reads."""

    def __init__(self, path: Path):
        self._reader = tf.train.load_checkpoint(str(path.with_suffix("")))
        stored = self._reader.get_variable_to_shape_map()
        self.shapes = {
            name.removesuffix(VALUE): tuple(shape)
            for name, shape in stored.items()
            if name not in BOOKKEEPING and name.removesuffix(VALUE) not in CLOCK
        }

    def assign(self, values: Mapping[str, tf.Variable]) -> None:
        """Set variables to the values that are stored under their names."""
        for name, variable in values.items():
            variable.assign(self._reader.get_tensor(name + VALUE))

    def text(self, name: str) -> str:
        """Return the clock, the only text."""
        if self._reader.has_tensor(name + VALUE):
            return self._reader.get_tensor(name + VALUE).decode()
        stored = {key: self._reader.get_tensor(key + VALUE).item() for key in CLOCK}
        return json.dumps(stored | {"evaluated": NOT_STORED})
