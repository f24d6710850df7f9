"""What every foreign family says of itself, and how its tensors are put into our model.

A family is one file of this folder. It recognizes a checkpoint by its tensors' names and shapes,
names the graph and what surrounds it (`Preset`), and lists which of its tensors is which of our
weights (`Row`). The same rows, read the other way, give our weights under the family's names.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_retinanet.config.schema import ModelConfig
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files import filling
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.filling import Row

Shapes = Mapping[str, tuple[int, ...]]

# Weight -> (anchors of a cell, outputs that are kept of each).
Cut = Mapping[str, tuple[int, list[int]]]
# The weights that have one channel for each anchor and class, anchor by anchor.
CLASS_OUTPUTS = (
    "class_head/final/kernel",
    "class_head/final/pointwise_kernel",
    "class_head/final/bias",
)
PARTS = ("backbone", "fpn", "class_head", "box_head")


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
        recognizes: whether tensors of these names and shapes are such a checkpoint.
        preset: the graph that such tensors belong to.
        rows: a row for each weight of a model built from that preset.
        unused: pattern of names that may be there and that the graph does not need.
        adapt: gives the tensors the names that `preset` and `rows` know, where versions of the
            peer differ; `recognizes` sees the file's own.
        refine: completes the preset by what the file says beside its tensors; its metadata has
            "file_name" too.
    """

    name: str
    recognizes: Callable[[Shapes], bool]
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
    cut = {} if outputs is None else dict.fromkeys(CLASS_OUTPUTS, (model.anchors.per_cell, outputs))
    return filling.fill(
        checkpoint.tensors,
        named_weights(model),
        family.rows(model),
        source=f"a {family.name} checkpoint",
        advice="Give the whole file as published, or name another --family.",
        unused=family.unused,
        change=functools.partial(_kept, cut),
    )


def _kept(cut: Cut, row: Row, array: np.ndarray) -> np.ndarray:
    """Return the outputs of `array` that are kept."""
    if row.ours not in cut:
        return array
    anchors, outputs = cut[row.ours]
    # (..., A*K) -> (..., A, K) -> (..., A, kept) -> (..., A*kept)
    by_anchor = array.reshape(*array.shape[:-1], anchors, -1)
    return by_anchor[..., outputs].reshape(*array.shape[:-1], -1)
