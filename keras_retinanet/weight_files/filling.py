"""Tensors of a file into the variables of a model: names and shapes checked, then filled.

A row says which tensor of theirs is which weight of ours. Backbones and families list their rows;
the same rows, read the other way, give our weights under their names.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_retinanet.errors import UserError, listed
from keras_retinanet.weight_files.mapped_file import release_array

Layout = Callable[[np.ndarray], np.ndarray]


class Row(NamedTuple):
    """One tensor of theirs and the weight of ours that it fills."""

    theirs: str
    ours: str  # a name of the weights to fill, such as "backbone/stem_conv/kernel"
    layout: str = "same"  # a key of LAYOUTS
    part: Layout | None = None  # what is filled of the tensor in our layout; None: all of it


def _axes(*order: int) -> tuple[Layout, Layout]:
    inverse = tuple(int(axis) for axis in np.argsort(order))
    return lambda array: array.transpose(order), lambda array: array.transpose(inverse)


# Name -> (theirs to ours, ours to theirs): exact inverses, and views rather than copies.
LAYOUTS: dict[str, tuple[Layout, Layout]] = {
    "same": (lambda array: array, lambda array: array),
    # (out, in, height, width) of PyTorch -> (height, width, in, out) of Keras.
    "conv": _axes(2, 3, 1, 0),
    # (channels, 1, height, width) -> (height, width, channels, 1).
    "depthwise": _axes(2, 3, 0, 1),
    # (out, in) -> (in, out).
    "dense": _axes(1, 0),
}


def fill(
    tensors: Mapping[str, Any],
    weights: Mapping[str, Any],
    rows: Iterable[Row],
    *,
    source: str,
    advice: str,
    unused: str = "",
) -> list[str]:
    """Fill every one of `weights` from `tensors`.

    Args:
        tensors: name -> array; one weight at a time is copied.
        weights: name -> variable.
        rows: one for each weight.
        source: what the tensors should be, for the message.
        advice: what to do where they are not, for the message.
        unused: pattern of names of tensors that may be there and are not needed.

    Returns:
        The names of the tensors that were used, in the order of the rows.

    Raises:
        UserError: a tensor is missing, unmapped or of another shape; all are listed, and no weight
            has changed.
    """
    rows = list(rows)
    faults = _faults(tensors, weights, rows, unused)
    if faults:
        raise UserError(f"expected the tensors of {source}. Received: {faults}. {advice}")
    for row in rows:
        ours = _ours(row, np.asarray(tensors[row.theirs]))
        weights[row.ours].assign(ours.astype(np.float32, copy=False))
        release_array(tensors[row.theirs])
    return [row.theirs for row in rows]


def _ours(row: Row, tensor: np.ndarray) -> np.ndarray:
    array = LAYOUTS[row.layout][0](tensor)
    return array if row.part is None else row.part(array)


def _faults(
    tensors: Mapping[str, Any], weights: Mapping[str, Any], rows: list[Row], unused: str
) -> str:
    """Return what is wrong with the tensors; "" if nothing is."""
    used = {row.theirs for row in rows}
    misshapen = []
    for row in rows:
        if row.theirs in tensors:
            theirs, ours = tensors[row.theirs], tuple(weights[row.ours].shape)
            if _shape_for_us(row, theirs) != ours:
                misshapen.append(f"{row.theirs} {tuple(theirs.shape)} for {ours}")
    found = {
        "missing": [row.theirs for row in rows if row.theirs not in tensors],
        "unmapped": [
            name
            for name in tensors
            if name not in used and not (unused and re.fullmatch(unused, name))
        ],
        "of another shape": misshapen,
        "no tensor for": sorted(set(weights) - {row.ours for row in rows}),
    }
    return "; ".join(f"{kind}: {listed(names)}" for kind, names in found.items() if names)


def _shape_for_us(row: Row, tensor: Any) -> tuple[int, ...]:
    # A stand-in of no size: a tensor that is read lazily is not read for its shape.
    stand_in = np.broadcast_to(np.int8(0), tuple(tensor.shape))
    try:
        return _ours(row, stand_in).shape
    except (ValueError, IndexError):  # another number of axes, or of outputs
        return (-1,)
