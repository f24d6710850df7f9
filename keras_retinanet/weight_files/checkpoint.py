"""What every reader gives: the tensors of a file by name, and its other values as text."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Where training systems put the weights among optimizer and counters; the first that is there.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "ema", "blobs")
MAX_WRAPPERS = 4
# Of a model that was saved inside DataParallel.
PARALLEL_PREFIX = "module."
# Far above any real model, far below what nested shared containers can be made to unfold to.
MAX_NODES = 1_000_000
MAX_TENSORS = 100_000
MAX_DEPTH = 64
MAX_RANK = 32
MAX_SIZE = 1 << 63
MAX_NAME = 400
MAX_TEXT = 1_000_000


class Damaged(Exception):
    """The bytes are not what the format says; `read_checkpoint` adds the path and the advice."""


def natural(value: object) -> int:
    """Return `value` if it is an integer from 0 up that 63 bits hold.

    Raises:
        Damaged: it is not.
    """
    if type(value) is not int or not 0 <= value < MAX_SIZE:
        raise Damaged("a size that is no integer, or larger than any file")
    return value


def checked_shape(sides: Any) -> tuple[int, ...]:
    """Return `sides` as a shape; nothing is multiplied yet, which can take minutes.

    Raises:
        Damaged: they are no sizes, or more than an array can have.
    """
    if not isinstance(sides, (list, tuple)) or len(sides) > MAX_RANK:
        raise Damaged("a shape that no array can have")
    return tuple(natural(side) for side in sides)


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a weight file.

    Attributes:
        tensors: name -> read-only array of the file's own dtype and layout, often a view of the
            mapped file.
        metadata: name -> text of the other values, such as an epoch or class names.
        kind: "torch", "pickle", "safetensors", "h5", "keras" or "tf".
        created_as: name -> name of the variable when it was created, where the file tells both.
    """

    tensors: dict[str, np.ndarray]
    metadata: dict[str, str] = field(default_factory=dict)
    kind: str = "torch"
    created_as: dict[str, str] = field(default_factory=dict)


def collect(
    structure: Any, array_of: Callable[[Any], np.ndarray | None], *, unwrap: bool = True
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Name the tensors and the plain values of a nested structure.

    Args:
        structure: dicts, lists and tuples around leaves.
        array_of: gives a leaf's array, or None for what is no tensor.
        unwrap: take the weights out of the wrappers of training systems, and out of the prefix
            that DataParallel gives all names.

    Returns:
        tensors and metadata of a `Checkpoint`, in the structure's order, keys joined by dots.

    Raises:
        Damaged: the structure is larger or deeper than any model's.
    """
    metadata: dict[str, str] = {}
    for _ in range(MAX_WRAPPERS if unwrap else 0):
        wrapper = _wrapper(structure)
        if wrapper is None:
            break
        outer = {key: value for key, value in structure.items() if key != wrapper}
        texts = ((name, _text(leaf)) for name, leaf in _leaves(outer))
        metadata |= {name: text for name, text in texts if text is not None}
        structure = structure[wrapper]
    tensors: dict[str, np.ndarray] = {}
    for name, leaf in _leaves(structure):
        array = array_of(leaf)
        if array is not None:
            tensors[name] = array
        elif (text := _text(leaf)) is not None:
            metadata.setdefault(name, text)
        if len(tensors) > MAX_TENSORS:
            raise Damaged(f"more than {MAX_TENSORS} tensors")
    if unwrap and tensors and all(name.startswith(PARALLEL_PREFIX) for name in tensors):
        tensors = {name.removeprefix(PARALLEL_PREFIX): value for name, value in tensors.items()}
    return tensors, metadata


def _wrapper(structure: Any) -> str | None:
    if not isinstance(structure, Mapping):
        return None
    return next((key for key in WRAPPERS if isinstance(structure.get(key), Mapping)), None)


def _text(leaf: Any) -> str | None:
    if isinstance(leaf, str):
        return leaf if len(leaf) <= MAX_TEXT else None
    # Of integers, those that Python agrees to write in digits.
    if isinstance(leaf, int) and leaf.bit_length() > 64:
        return None
    return str(leaf) if isinstance(leaf, (bool, int, float)) else None


def _leaves(structure: Any) -> Iterator[tuple[str, Any]]:
    """Every leaf with its dotted path, in order; no recursion, and an end to what loops."""
    waiting: list[tuple[str, Any, int]] = [("", structure, 0)]
    visited = 0
    while waiting:
        name, node, depth = waiting.pop()
        visited += 1
        if isinstance(node, Mapping):
            children = list(node.items())
        elif isinstance(node, (list, tuple)):
            children = list(enumerate(node))
        else:
            yield name, node
            continue
        if visited + len(waiting) + len(children) > MAX_NODES:
            raise Damaged(f"more than {MAX_NODES} entries")
        if depth == MAX_DEPTH:
            raise Damaged(f"containers nested more than {MAX_DEPTH} deep")
        for key, child in reversed(children):
            path = f"{name}.{key}" if name else str(key)
            if len(path) > MAX_NAME:
                raise Damaged(f"a name of more than {MAX_NAME} characters")
            waiting.append((path, child, depth + 1))
