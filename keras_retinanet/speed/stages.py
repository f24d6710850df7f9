"""A folded network in parts: stem, stages of the backbone, FPN and heads, by names of layers."""

import re
from typing import Any, NamedTuple

import keras

# Patterns of names of the layers of `folded` -> the part that they are of.
PARTS = {
    r"normalization$": "normalization",
    r"fpn_": "FPN",
    r"class_head_": "class head",
    r"box_head_": "box head",
    r".*?_?stem_": "backbone, stem",
    r".*?_?stage(\d)_": r"backbone, stage \1",
}
OTHER = "backbone"


class Part(NamedTuple):
    """A part of a network.

    Attributes:
        name: of `PARTS`.
        network: from `inputs` to `outputs`.
        inputs, outputs: tensors of the whole network, by which parts are joined.
    """

    name: str
    network: keras.Model
    inputs: list[Any]
    outputs: list[Any]


def part_of(layer: str) -> str:
    """Return the part that a layer is of, by its name."""
    for pattern, part in PARTS.items():
        if match := re.match(pattern, layer):
            return match.expand(part)
    return OTHER


def network_parts(network: keras.Model) -> list[Part]:
    """Return the parts of a flat functional network, in the order in which they compute."""
    depths = sorted(network._nodes_by_depth.items(), reverse=True)
    nodes = [node for _, depth in depths for node in depth if not node.is_input]
    makers = {id(tensor): part_of(n.operation.name) for n in nodes for tensor in n.outputs}
    reads: dict[str, dict[int, Any]] = {}
    gives: dict[str, dict[int, Any]] = {name: {} for name in makers.values()}
    tensors = {id(tensor): tensor for node in nodes for tensor in node.outputs}
    for node in nodes:
        name = part_of(node.operation.name)
        own = reads.setdefault(name, {})
        for tensor in node.input_tensors:
            maker = makers.get(id(tensor))
            if maker != name:
                own[id(tensor)] = tensor
                if maker is not None:
                    gives[maker][id(tensor)] = tensor
    for tensor in network.outputs:
        gives[makers[id(tensor)]][id(tensor)] = tensors[id(tensor)]
    return [
        Part(
            name,
            keras.Model([*own.values()], [*gives[name].values()]),
            [*own.values()],
            [*gives[name].values()],
        )
        for name, own in reads.items()
    ]


def part_inputs(network: keras.Model, parts: list[Part], images: Any) -> dict[str, list[Any]]:
    """Return name of a part -> its inputs when the network is given `images`."""
    values = {id(network.inputs[0]): images}
    found = {}
    for part in parts:
        found[part.name] = [values[id(tensor)] for tensor in part.inputs]
        outputs = part.network(found[part.name], training=False)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        values |= {id(t): value for t, value in zip(part.outputs, outputs, strict=True)}
    return found
