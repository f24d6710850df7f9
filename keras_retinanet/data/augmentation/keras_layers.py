"""Keras's preprocessing layers on training images, by name: those that move no pixel.

Their boxes stay, so what a layer does to boxes need not be trusted. Each image is drawn for from
its own seed instead of from a state that the calls before it have changed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_retinanet.errors import UserError, shown

# Told apart from every other stream of an image's seed.
LAYERS_STREAM = 1_000_121
NAMES = (
    "AutoContrast", "Equalization", "RandAugment", "RandomBrightness", "RandomColorDegeneration",
    "RandomColorJitter", "RandomContrast", "RandomGaussianBlur", "RandomGrayscale", "RandomHue",
    "RandomInvert", "RandomPosterization", "RandomSaturation", "RandomSharpness", "Solarization",
)  # fmt: skip
# Operations of Keras 3.15's RandAugment that are not drawn. The first three move boxes in another
# order than pixels: they are up to 147 of 192 pixels off. The last leaves the fewer colors the
# lower the factor is: two per channel below .25, which show no object any more.
LEFT_OUT = ("random_shear", "random_translation", "random_rotation", "random_posterization")


class ImageSeeds(keras.random.SeedGenerator):
    """Seeds that follow from that of one image, in the order in which a layer asks for them."""

    def begin(self, seed) -> None:
        """Draw from `seed` (2,) int32 from now on."""
        self._seed, self._count = seed, 0

    def next(self, ordered: bool = True):
        """Return the next seed (2,) int32."""
        self._count += 1
        return tf.random.fold_in(self._seed, self._count)


def keras_layers(entries: Sequence[str | Mapping[str, Mapping[str, Any]]]) -> Callable:
    """Return the graph function (image (h, w, 3) float32 0..255, seed) -> image of all `entries`.

    Args:
        entries: names among `NAMES`, or {name: {argument: value}}.

    Raises:
        UserError: a layer is not among them, or does not take its arguments.
    """
    seeds = ImageSeeds(seed=0)
    layers = [_layer(entry, seeds) for entry in entries]

    def apply(image, seed):
        seeds.begin(tf.random.fold_in(seed, LAYERS_STREAM))
        for layer in layers:
            changed = tf.cast(layer(image[None], training=True)[0], tf.float32)
            image = tf.clip_by_value(tf.ensure_shape(changed, (None, None, 3)), 0.0, 255.0)
        return image

    return apply


def _layer(entry, seeds: ImageSeeds) -> keras.layers.Layer:
    """Return the layer of `entry`, which draws from `seeds`."""
    named = {entry: {}} if isinstance(entry, str) else entry
    option = "data.augment.layers"
    if len(named) != 1:
        raise UserError(
            f"Expected one layer with its arguments as each item of {option}, such as "
            f"RandAugment: {{factor: 0.3}}. Received: {shown(dict(named))}."
        )
    ((name, arguments),) = named.items()
    name = name.removeprefix("keras.layers.")
    if name not in NAMES:
        raise UserError(
            f"Expected layers of Keras that move no pixel in {option}: {', '.join(NAMES)}. "
            f"Received: {name}. What moves pixels is an option of data.augment, with exact boxes; "
            "data.augment.function calls anything else."
        )
    try:
        layer = getattr(keras.layers, name)(**arguments)
    except (TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise UserError(
            f"Expected arguments of keras.layers.{name} in {option}. Received: "
            f"{shown(dict(arguments))} ({text})."
        ) from error
    if name == "RandAugment":
        layer._AUGMENT_LAYERS = [part for part in layer._AUGMENT_LAYERS if part not in LEFT_OUT]
    for part in layer._flatten_layers():
        for attribute, value in list(vars(part).items()):
            if isinstance(value, keras.random.SeedGenerator):
                setattr(part, attribute, seeds)
    return layer
