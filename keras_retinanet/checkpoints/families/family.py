"""What every foreign family says of itself, and how its tensors are put into our model.

A family is one file of this folder. It recognizes a checkpoint by its tensors' names and shapes,
names the graph and what surrounds it (`Preset`), and lists which of its tensors is which of our
weights (`Row`). The same rows, read the other way, give our weights under the family's names.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_retinanet.config import model as configs
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files import filling
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.filling import Row

Shapes = Mapping[str, tuple[int, ...]]

# The weights that have one channel for each anchor and class, anchor by anchor.
CLASS_OUTPUTS = (
    "class_head/final/kernel",
    "class_head/final/pointwise_kernel",
    "class_head/final/bias",
)
# Three scales of three aspect ratios, as in the paper.
ANCHORS_PER_CELL = 9
PARTS = ("backbone", "fpn", "class_head", "box_head")


@dataclass(frozen=True)
class Preset:
    """The graph of a checkpoint and what surrounds it.

    Attributes:
        config, class_names, class_ids: of the model.
        license: of the weights.
        assumptions: what was taken for granted where the file does not tell, for `info`.
    """

    config: configs.ModelConfig
    class_names: list[str]
    class_ids: list[int]
    license: str
    assumptions: str = ""

    def having(self, *, assumptions: str | None = None, **parts: Mapping[str, Any]) -> "Preset":
        """Return this preset with other fields in parts of its configuration.

        Args:
            assumptions: in place of the present ones; None: these stay.
            parts: part of a `ModelConfig`, such as "backbone" -> the fields to change.
        """
        changed = {
            part: dataclasses.replace(getattr(self.config, part), **fields)
            for part, fields in parts.items()
        }
        return dataclasses.replace(
            self,
            config=dataclasses.replace(self.config, **changed),
            assumptions=self.assumptions if assumptions is None else assumptions,
        )


@dataclass(frozen=True)
class Family:
    """One kind of foreign checkpoint.

    Attributes:
        name: of the family, as `--family` takes it.
        origin: who publishes such checkpoints, and where.
        recognizes: whether tensors of these names and shapes are such a checkpoint.
        preset: the graph that such tensors belong to.
        rows: a row for each weight of a model built from that preset.
        unused: pattern of names that may be there and that the graph does not need.
        adapt: gives the tensors the names that `preset` and `rows` know, where versions of the
            peer differ; `recognizes` sees the file's own.
        refine: completes the preset by what the file says beside its tensors; its metadata has
            "file_name" too.
        label: the family's name in a model's metadata; "": `name`.
    """

    name: str
    origin: str
    recognizes: Callable[[Shapes], bool]
    preset: Callable[[Shapes], Preset]
    rows: Callable[[RetinaNet], Iterator[Row]]
    unused: str = ""
    adapt: Callable[[Checkpoint], Checkpoint] | None = None
    refine: Callable[[Preset, Mapping[str, str]], Preset] | None = None
    label: str = ""


def has(*patterns: str) -> Callable[[Shapes], bool]:
    """Return a `Family.recognizes`: whether each pattern is the whole name of some tensor."""
    compiled = [re.compile(pattern) for pattern in patterns]
    return lambda shapes: all(any(map(pattern.fullmatch, shapes)) for pattern in compiled)


def class_count(class_outputs: int, box_outputs: int, received: str) -> int:
    """Return how many classes heads with these numbers of outputs have.

    Raises:
        UserError: there are other than `ANCHORS_PER_CELL` anchors; it says what was `received`.
    """
    if box_outputs != 4 * ANCHORS_PER_CELL:
        raise UserError(
            f"expected {ANCHORS_PER_CELL} anchors a cell. Received: {received}. Other anchors "
            "cannot be told from the file."
        )
    return class_outputs // ANCHORS_PER_CELL


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
    """Put a checkpoint's tensors into `model`; return and raise as `filling.fill`.

    Args:
        model: built from `family.preset` of this checkpoint.
        checkpoint: one weight at a time is copied.
        outputs: the class head's outputs that `model` has, of those in the checkpoint; None: all.
    """

    def kept(array: np.ndarray) -> np.ndarray:
        # (..., A*K) -> (..., A, K) -> (..., A, kept) -> (..., A*kept)
        by_anchor = array.reshape(*array.shape[:-1], model.anchors.per_cell, -1)
        return by_anchor[..., outputs].reshape(*array.shape[:-1], -1)

    rows = list(family.rows(model))
    if outputs is not None:
        rows = [row._replace(part=kept) if row.ours in CLASS_OUTPUTS else row for row in rows]
    return filling.fill(
        checkpoint.tensors,
        named_weights(model),
        rows,
        source=f"a {family.name} checkpoint",
        advice="Give the whole file as published, or name another --family.",
        unused=family.unused,
    )
