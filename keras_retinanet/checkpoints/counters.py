"""Counters of a checkpoint, such as batch norms' `num_batches_tracked`, kept as text.

No weight of ours holds them, so they travel in a model's metadata and go back at the export.
"""

import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError

# The key of `RetinaNet.metadata` that holds them.
COUNTERS = "counters"
_NAME = re.compile(r"[\w.]+")


def counters_text(tensors: Mapping[str, Any]) -> str:
    """Return the integer tensors without axes as JSON {name: value}; "" if there are none.

    Args:
        tensors: name -> array of a checkpoint.
    """
    counters = {
        name: int(np.asarray(tensor))
        for name, tensor in tensors.items()
        if tensor.shape == () and np.issubdtype(tensor.dtype, np.integer)
    }
    return json.dumps(counters, separators=(",", ":")) if counters else ""


def read_counters(text: str) -> dict[str, int]:
    """Return what `counters_text` wrote.

    Raises:
        UserError: the text is something else.
    """
    if not text:
        return {}
    with contextlib.suppress(ValueError, AttributeError, RecursionError):
        counters = json.loads(text)
        if all(_NAME.fullmatch(name) and type(value) is int for name, value in counters.items()):
            return counters
    raise UserError(
        f"expected {COUNTERS} as JSON of names and integers. Received: {text[:40]!r}. "
        "Import the checkpoint again."
    )
