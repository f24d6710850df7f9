"""A batch computed in pieces, one after the other, so that memory is that of one piece."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def sum_over_pieces(
    compute: Callable[..., Any], batch: tuple[Any, ...], *, size: int, zeros: Any
) -> Any:
    """Return the sum of `compute(*piece)` over the pieces of `batch`.

    Args:
        compute: from the rows of a piece to tensors of the structure and shapes of `zeros`.
        batch: structures of tensors (B, ...).
        size: number of rows of a piece; the last one has fewer if it does not divide B.
        zeros: the sum of no piece.
    """
    rows = tf.shape(tf.nest.flatten(batch)[0])[0]

    def add_piece(start: tf.Tensor, total: Any) -> tuple[tf.Tensor, Any]:
        piece = tf.nest.map_structure(lambda values: values[start : start + size], batch)
        return start + size, tf.nest.map_structure(tf.add, total, compute(*piece))

    # A loop and not one graph after the other: those would run side by side, in the memory of all.
    _, total = tf.while_loop(
        lambda start, _: start < rows, add_piece, (tf.constant(0), zeros), parallel_iterations=1
    )
    return total


def check_pieces(
    micro_batch: int,
    *,
    jit_compile: bool,
    metrics: Any = None,
    weighted_metrics: Any = None,
    **_: Any,
) -> None:
    """Raise a ValueError for what cannot be computed in pieces."""
    if micro_batch < 0:
        raise ValueError(
            f"Expected micro_batch to be 0 or a number of images. Received: {micro_batch}."
        )
    if micro_batch and (jit_compile or metrics or weighted_metrics):
        raise ValueError(
            "Expected micro_batch without jit_compile and metrics: XLA needs a fixed size of the "
            "pieces, and no step has the outputs of a whole batch. Received: "
            f"micro_batch={micro_batch}, jit_compile={jit_compile}, metrics={metrics}, "
            f"weighted_metrics={weighted_metrics}. Leave them out."
        )
