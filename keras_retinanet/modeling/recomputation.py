"""Activations computed again in the backward pass instead of kept (Chen et al. 2016, section 3).

The backbone is cut into its blocks and each head into its levels. Only what passes between the
pieces is kept; each piece runs forward once more before its gradient. A piece with a batch norm
that trains is kept as it is, because a second run would update its statistics twice.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import layers

# Name scope of what is computed again, one for each piece: "recomputed", "recomputed_1", ...
RECOMPUTED = "recomputed"


class Piece(NamedTuple):
    """A part of a model, from one tensor to several, of which the last is the next piece's input.

    Attributes:
        given: which outputs of the model its first outputs are.
    """

    model: keras.Model
    given: tuple[int, ...]


def run_pieces(
    run: Callable[[keras.Model, tf.Tensor], Any], pieces: Sequence[Piece], inputs: Any
) -> list[tf.Tensor]:
    """Return the outputs of a model that was cut into `pieces`, each run by `run`, in its order.

    Args:
        inputs: one tensor for pieces of `blocks`, a list of tensors for those of `levels`.
    """
    if isinstance(inputs, list):
        rows = [_run(run, part.model, x)[0] for part, x in zip(pieces, inputs, strict=True)]
        return [tf.concat(rows, axis=1)]  # (B,R,K)
    found: dict[int, tf.Tensor] = {}
    for piece in pieces:
        outputs = _run(run, piece.model, inputs)
        found.update(zip(piece.given, outputs, strict=False))
        inputs = outputs[-1]
    return [found[place] for place in sorted(found)]


def _run(run: Callable[[keras.Model, tf.Tensor], Any], piece: keras.Model, inputs: Any) -> Any:
    """Return the outputs of a piece, of which only the inputs are kept for the gradient."""

    def outputs(features: tf.Tensor) -> list[tf.Tensor]:
        with tf.name_scope(RECOMPUTED):
            return tf.nest.flatten(run(piece, features))

    is_updated = any(
        isinstance(layer, layers.BatchNormalization) and layer.trainable for layer in piece.layers
    )
    if is_updated or not piece.trainable_variables:
        return tf.nest.flatten(run(piece, inputs))
    return tf.nest.flatten(_recomputed(outputs)(inputs))


def _recomputed(function: Callable[[tf.Tensor], list[tf.Tensor]]) -> Callable[[tf.Tensor], Any]:
    """Return `function`, which runs again for its gradient.

    Its input is copied when the gradient is there, and the second run waits for the copy. With
    `tf.recompute_grad`, whose graph TensorFlow optimizes into another, a step needed as much
    memory as without (2,934 MB of 2,938; ResNet-50, 6 images of 512x512).
    """

    @tf.custom_gradient
    def run(features: tf.Tensor) -> Any:
        found = function(features)

        def gradient(*upstream: tf.Tensor, variables: Sequence[Any] = ()) -> Any:
            with tf.control_dependencies(upstream):
                again = tf.raw_ops.Snapshot(input=features)
            with tf.GradientTape() as tape:
                tape.watch(again)
                outputs = function(again)
            own, *others = tape.gradient(outputs, [again, *variables], output_gradients=[*upstream])
            return own, others

        return found, gradient

    return run


def blocks(model: keras.Model) -> list[Piece]:
    """Cut a model of one input into a chain of its blocks.

    A block is a run of layers whose names begin alike, with "stem" or "stage3_block1".
    """
    order = [
        node
        for depth in sorted(model._nodes_by_depth, reverse=True)
        for node in model._nodes_by_depth[depth]
        if not node.is_input
    ]
    last_read = {id(read): place for place, node in enumerate(order) for read in node.input_tensors}
    wanted = {id(tensor): place for place, tensor in enumerate(model.outputs)}
    start, begin = model.inputs[0], 0
    pieces: list[Piece] = []
    live: set[int] = set()  # made before, read later
    for place, node in enumerate(order):
        made = node.outputs[0]
        live = {key for key in live | {id(made)} if last_read.get(key, -1) > place}
        is_last = place == len(order) - 1
        ends = is_last or _block(node) != _block(order[place + 1])
        if not is_last and not (ends and live == {id(made)}):
            continue
        computed = [node.outputs[0] for node in order[begin : place + 1]]
        given = [tensor for tensor in computed if id(tensor) in wanted]
        outputs = given if id(made) in wanted else [*given, made]
        places = tuple(wanted[id(tensor)] for tensor in given)
        pieces.append(Piece(keras.Model(start, outputs), places))
        start, begin = made, place + 1
    return pieces


def _block(node: Any) -> str:
    stage, block = (node.operation.name + "_").split("_")[:2]
    return f"{stage}_{block}" if block.startswith("block") else stage


def levels(head: keras.Model) -> list[Piece]:
    """Return the part of `head` of each level; their outputs follow one another in its own."""
    return [
        Piece(keras.Model(level, outputs), given=(0,))
        for level, outputs in zip(head.inputs, head.get_layer("joined").input, strict=True)
    ]
