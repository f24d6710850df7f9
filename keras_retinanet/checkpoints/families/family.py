"""What every foreign family says of itself, and how its tensors are put into our model.

A family is one file of this folder. It recognises a checkpoint by its tensors' names and shapes,
names the graph and what surrounds it (`Preset`), and lists which of its tensors is which of our
weights (`Row`). The same rows, read the other way, give our weights under the family's names.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from keras_retinanet.config.schema import ModelConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.mapped_file import release_array

Shapes = Mapping[str, tuple[int, ...]]
Layout = Callable[[np.ndarray], np.ndarray]

# Weight -> (anchors of a cell, outputs that are kept of each).
Cut = Mapping[str, tuple[int, list[int]]]
# The weights that have one channel for each anchor and class, anchor by anchor.
CLASS_OUTPUTS = (
    "class_head/final/kernel",
    "class_head/final/pointwise_kernel",
    "class_head/final/bias",
)
PARTS = ("backbone", "fpn", "class_head", "box_head")
# An error names this many tensors of a kind and counts the rest.
MAX_LISTED = 12


class Row(NamedTuple):
    """One tensor of theirs and the weight of ours that it fills."""

    theirs: str
    ours: str  # a key of `named_weights`, such as "backbone/stem_conv/kernel"
    layout: str = "same"  # a key of LAYOUTS


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


@dataclass(frozen=True)
class Preset:
    """The graph of a checkpoint and what surrounds it.

    `metadata` holds plain strings for `info`: family, origin, license, assumptions.
    """

    config: ModelConfig
    class_names: list[str]
    class_ids: list[int]
    metadata: dict[str, str]


@dataclass(frozen=True)
class Family:
    """One kind of foreign checkpoint.

    Attributes:
        name: of the family, as `--family` takes it.
        recognises: whether tensors of these names and shapes are such a checkpoint.
        preset: the graph that such tensors belong to.
        rows: a row for each weight of a model built from that preset.
        unused: pattern of names that may be there and that the graph does not need.
        adapt: gives the tensors the names that `preset` and `rows` know, where versions of the
            peer differ; `recognises` sees the file's own.
        refine: completes the preset by what the file says beside its tensors; its metadata has
            "file_name" too.
    """

    name: str
    recognises: Callable[[Shapes], bool]
    preset: Callable[[Shapes], Preset]
    rows: Callable[[RetinaNet], Iterator[Row]]
    unused: str = ""
    adapt: Callable[[Checkpoint], Checkpoint] | None = None
    refine: Callable[[Preset, Mapping[str, str]], Preset] | None = None


def named_weights(model: RetinaNet) -> dict[str, Any]:
    """Return every weight of `model` as "part/layer/weight": "class_head/final/kernel"."""
    return {
        f"{part}/{layer.name}/{weight.name}": weight
        for part in PARTS
        for layer in getattr(model, part).layers
        for weight in layer.weights
    }


def shapes_of(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of arrays."""
    return {name: tuple(int(side) for side in array.shape) for name, array in tensors.items()}


def fill(
    model: RetinaNet, checkpoint: Checkpoint, family: Family, *, outputs: list[int] | None = None
) -> list[str]:
    """Put a checkpoint's tensors into `model`.

    Args:
        model: built from `family.preset` of this checkpoint.
        checkpoint: whose `tensors` are name -> array; one weight at a time is copied.
        family: whose rows say which tensor goes where.
        outputs: the class head's outputs that `model` has, of those in the checkpoint; None: all.

    Returns:
        The names of the tensors that were used, in the order of the rows.

    Raises:
        UserError: a tensor is missing, unmapped or of another shape; all are listed, and no weight
            has changed.
    """
    tensors, weights = checkpoint.tensors, named_weights(model)
    rows = list(family.rows(model))
    cut = {} if outputs is None else dict.fromkeys(CLASS_OUTPUTS, (model.anchors.per_cell, outputs))
    _check(rows, tensors, weights, family, cut)
    for row in rows:
        ours = _ours(row, np.asarray(tensors[row.theirs]), cut)
        weights[row.ours].assign(ours.astype(np.float32, copy=False))
        release_array(tensors[row.theirs])
    return [row.theirs for row in rows]


def _ours(row: Row, tensor: np.ndarray, cut: Cut) -> np.ndarray:
    array = LAYOUTS[row.layout][0](tensor)
    if row.ours not in cut:
        return array
    anchors, outputs = cut[row.ours]
    # (..., A*K) -> (..., A, K) -> (..., A, kept) -> (..., A*kept)
    by_anchor = array.reshape(*array.shape[:-1], anchors, -1)
    return by_anchor[..., outputs].reshape(*array.shape[:-1], -1)


def _check(
    rows: list[Row],
    tensors: Mapping[str, Any],
    weights: Mapping[str, Any],
    family: Family,
    cut: Cut,
) -> None:
    used = {row.theirs for row in rows}
    unused = re.compile(family.unused) if family.unused else None
    missing = [row.theirs for row in rows if row.theirs not in tensors]
    unmapped = [
        name for name in tensors if name not in used and not (unused and unused.fullmatch(name))
    ]
    empty = sorted(set(weights) - {row.ours for row in rows})
    misshapen = []
    for row in rows:
        if row.theirs in tensors:
            theirs, ours = tensors[row.theirs], tuple(weights[row.ours].shape)
            if _shape_for_us(row, theirs, cut) != ours:
                misshapen.append(f"{row.theirs} {tuple(theirs.shape)} for {ours}")
    found = {
        "missing": missing,
        "unmapped": unmapped,
        "of another shape": misshapen,
        "no tensor for": empty,
    }
    faults = [f"{kind}: {listed(names)}" for kind, names in found.items() if names]
    if faults:
        raise UserError(
            f"expected the tensors of a {family.name} checkpoint. Received: {'; '.join(faults)}. "
            "Give the whole file as published, or name another --family."
        )


def _shape_for_us(row: Row, tensor: Any, cut: Cut) -> tuple[int, ...]:
    # A stand-in of no size: a tensor that is read lazily is not read for its shape.
    stand_in = np.broadcast_to(np.int8(0), tuple(tensor.shape))
    try:
        return _ours(row, stand_in, cut).shape
    except (ValueError, IndexError):  # another number of axes, or of outputs
        return (-1,)


def listed(names: list[str]) -> str:
    """Return the names as text, the first ones alone where they are many."""
    rest = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")
