"""Tensors of a file into the variables of a model: names and shapes checked, then filled."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.weight_files.mapped_file import release_array

# An error names this many tensors of a kind and counts the rest.
MAX_LISTED = 12
# Of a kernel of 4 axes: Keras's own; OIHW; a depthwise one, (channels, 1, H, W).
AXES = {"same": (0, 1, 2, 3), "conv": (2, 3, 1, 0), "depthwise": (2, 3, 0, 1)}


def _listed(names: list[str]) -> str:
    more = f", and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def fill(
    tensors: Mapping[str, np.ndarray],
    trunk: keras.Model,
    wanted: Iterable[tuple[str, Any, str]],
    *,
    unused: tuple[str, ...],
) -> None:
    """Checks names and shapes, then fills the trunk from `wanted`: name, variable, key of AXES."""
    wanted = list(wanted)
    names = {name for name, _, _ in wanted}
    missing = [name for name, _, _ in wanted if name not in tensors]
    # num_batches_tracked counts training steps; inference does not read it.
    unknown = [
        name
        for name in tensors
        if name not in names and not name.startswith(unused) and "num_batches" not in name
    ]
    if missing or unknown:
        raise UserError(
            f"expected the tensors of {trunk.name}. Received: a file without "
            f"[{_listed(missing)}] and with unknown [{_listed(unknown)}]. Give the weights of "
            "this trunk, or choose the trunk of these weights."
        )
    found = [
        (weight, array.transpose(AXES[layout]) if array.ndim == 4 else array)
        for weight, array, layout in ((w, tensors[n], layout) for n, w, layout in wanted)
    ]
    wrong = [
        f"{weight.path} {tuple(weight.shape)} from {array.shape}"
        for weight, array in found
        if tuple(weight.shape) != array.shape
    ]
    if wrong:
        raise UserError(f"expected weights of {trunk.name}'s shapes. Received: {_listed(wrong)}.")
    for weight, array in found:
        weight.assign(np.asarray(array, "float32"))
        release_array(array)
