"""TensorFlow checkpoints: `<prefix>.index` and `<prefix>.data-...`, as in the Model Garden."""

import math
from pathlib import Path

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.weight_files.checkpoint import Checkpoint, Damaged, checked_shape

INDEX = ".index"
# Momenta and the like, as large as the weights; but the averages are what is evaluated.
SLOTS = "/.OPTIMIZER_SLOT/"
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


def read_tf_checkpoint(prefix: Path) -> Checkpoint:
    """Read the numbers of a checkpoint.

    Returns:
        Tensors by the checkpoint's own full names, such as
        `backbone/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE`; of an optimizer's slots
        the moving averages alone.

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
        and (dtypes[name].is_floating or dtypes[name].is_integer)
    }
    stored = sum(file.stat().st_size for file in prefix.parent.glob(f"{prefix.name}.data-*"))
    if sum(math.prod(shape) * dtypes[name].size for name, shape in shapes.items()) > stored:
        raise Damaged("tensors larger than the data files")
    tensors = {name: np.asarray(reader.get_tensor(name)) for name in shapes}
    return Checkpoint(tensors, kind="tf")
