"""TensorFlow checkpoints: `<prefix>.index` and `<prefix>.data-...`, as in the Model Garden."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.weight_files.checkpoint import Checkpoint, Damaged, checked_shape

INDEX = ".index"
# Momenta and the like, as large as the weights; but the averages are what is evaluated.
SLOTS = "/.OPTIMIZER_SLOT/"
# The same of TensorFlow 1.
MOMENTUM = "/Momentum"
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
AVERAGES = "/average/.ATTRIBUTES/VARIABLE_VALUE"


def checkpoint_prefix(path: str | Path) -> Path | None:
    """Return the prefix of the checkpoint that `path` names; None if it names none.

    Args:
        path: a prefix, its `.index` file or a data file, or a folder with one checkpoint, or with
            several of which its file `checkpoint` tells the latest.
    """
    path = Path(path)
    if path.is_dir():
        found = {file.with_suffix("") for file in path.glob(f"*{INDEX}")}
        if len(found) > 1:
            found &= {_latest(path)}
        return found.pop() if found else None
    if path.suffix == INDEX or path.suffix.startswith(".data-"):
        path = path.with_suffix("")
    return path if Path(f"{path}{INDEX}").is_file() else None


def _latest(folder: Path) -> Path:
    """The checkpoint that a folder's own file names, which lies in the folder or does not count."""
    import tensorflow as tf

    state = tf.train.get_checkpoint_state(str(folder))
    if state is None:
        raise UserError(
            f"expected a folder with one checkpoint, or a file 'checkpoint' that names the latest. "
            f"Received: {folder}. Give the .index file of one."
        )
    return folder / Path(state.model_checkpoint_path).name


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a checkpoint that is read each time its array is asked for.

    Attributes:
        reader: of the checkpoint.
        name: in the checkpoint.
        shape, dtype: of the array.
    """

    reader: Any
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return its values; NumPy calls this."""
        return np.asarray(self.reader.get_tensor(self.name), dtype)


def read_tf_checkpoint(prefix: Path) -> Checkpoint:
    """Read the numbers of a checkpoint.

    Returns:
        Tensors by the checkpoint's own full names, such as
        `backbone/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE`; of an optimizer's slots
        the moving averages alone. Each is a `StoredTensor`, so that no more than one is in memory.

    Raises:
        Damaged, or any other Exception: the files are not what the format says.
    """
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    dtypes = reader.get_variable_to_dtype_map()
    shapes = {
        name: shape
        for name, sides in sorted(reader.get_variable_to_shape_map().items())
        for shape in (checked_shape(sides),)
        if (SLOTS not in name or name.endswith(AVERAGES))
        and not name.endswith(MOMENTUM)
        and (dtypes[name].is_floating or dtypes[name].is_integer)
    }
    stored = sum(file.stat().st_size for file in prefix.parent.glob(f"{prefix.name}.data-*"))
    if sum(math.prod(shape) * dtypes[name].size for name, shape in shapes.items()) > stored:
        raise Damaged("tensors larger than the data files")
    for name in shapes:  # their checksums; what is read is not kept
        reader.get_tensor(name)
    tensors: dict[str, Any] = {
        name: StoredTensor(reader, name, shape, np.dtype(dtypes[name].as_numpy_dtype))
        for name, shape in shapes.items()
    }
    created_as = _created_as(reader.get_tensor(OBJECTS)) if OBJECTS in dtypes else {}
    return Checkpoint(tensors, kind="tf", created_as=created_as)


def _created_as(graph: bytes) -> dict[str, str]:
    """Return tensor -> name of the variable when it was created, of a graph of objects.

    A tensor's own name counts the layers of a model in their order in its graph, the other name in
    the order of the code that made them.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    try:
        nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(graph).nodes
    except DecodeError:  # most families do without
        return {}
    values = (value for node in nodes for value in node.attributes)
    return {value.checkpoint_key: value.full_name for value in values}
