"""Which layers are frozen: what `layer.trainable = False` changed, as names that a file stores."""

from collections.abc import Collection, Iterator

import keras


def frozen_layers(model: keras.Model) -> list[str]:
    """Return the paths, such as "backbone/stem", of the layers that have `trainable` unset."""
    return [path for path, layer in _layers(model) if not layer.trainable]


def freeze_layers(model: keras.Model, paths: Collection[str]) -> None:
    """Unset `trainable` of the layers at `paths`, and set it for all others."""
    # A model sets the flag of all its layers, which come after it and so correct theirs.
    for path, layer in _layers(model):
        layer.trainable = path not in paths


def _layers(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield the path and the layer of every layer, a model before its own layers."""
    for layer in model.layers:
        path = f"{prefix}{layer.name}"
        yield path, layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer, f"{path}/")
