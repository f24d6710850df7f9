"""Activations by their name in the configuration."""

from typing import Any

from keras import layers


def activation_layer(kind: str, name: str) -> Any:
    """Return the layer of "relu", "relu6", "swish" or "hard_swish" (x * relu6(x + 3) / 6).

    Raises:
        ValueError: unknown `kind`.
    """
    if kind in ("relu", "relu6"):
        return layers.ReLU(max_value=6.0 if kind == "relu6" else None, name=name)
    functions = {"swish": "silu", "hard_swish": "hard_silu"}  # as Keras calls them
    if kind in functions:
        return layers.Activation(functions[kind], name=name)
    raise ValueError(
        f"Expected activation 'relu', 'relu6', 'swish' or 'hard_swish'. Received: {kind!r}."
    )
