"""Measure what each newer augmentation costs: milliseconds of processor time an image.

    python benchmarks/augmentation_cost.py

Timed as by `benchmarks/augmentation.py`, on one thread: a 640 x 480 image is resized to 1067 x 800
and padded to 1088 x 800 ("800"), and to 320 x 240 in 320 x 256 ("320"), with one augmentation that
is always drawn. Printed in Markdown: what an image takes beyond the plain resize and padding, for
the options of data.augment, Keras's layers by name, and a function that returns what it is given.
"""

import argparse
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import tensorflow as tf
from augmentation import SHAPES, milliseconds, plain_or_ours

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data import Dataset, ImageRef, Record
from keras_retinanet.data.augmentation.keras_layers import NAMES
from keras_retinanet.data.pipeline.own_changes import own_changes

OPTIONS = (
    {"rotate": 30.0},
    {"shear": 10.0},
    {"translate": 0.2},
    {"rotate": 30.0, "shear": 10.0, "translate": 0.2},
    {"blur": 2.0},
    {"noise": 0.1},
    {"jpeg": 0.7},
    {"grid_mask": 1.0},
    {"cutmix": 1.0},
)
ARGUMENTS = {
    "AutoContrast": {},
    "Equalization": {},
    "RandAugment": {"factor": 0.3},
    "RandomColorJitter": {"brightness_factor": 0.2, "contrast_factor": 0.2, "hue_factor": 0.1},
    "RandomPosterization": {"factor": 4},
    "Solarization": {"threshold_factor": 0.5},
}


def unchanged(image, boxes, classes, ignore, *, seed):
    """Return the arguments: what is timed is the way to a function and back."""
    return image, boxes, classes, ignore


def with_own_changes(config: AugmentConfig, shape) -> Callable:
    """Return number -> (images, boxes, classes) of one plain example and the user's changes."""
    plain = plain_or_ours({}, shape)
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool), np.zeros(0)
    record = Record(0, ImageRef("none"), 480, 640, *none, "none")
    change = own_changes(Dataset("", "", list("abcd"), [1, 2, 3, 4], [record]), config)

    def example(number):
        images, boxes, classes = plain(number)
        labels = {"boxes": boxes[0], "classes": classes[0]}
        labels["ignore"] = tf.zeros_like(labels["classes"], tf.bool)
        row = {"index": tf.constant(0), "seed": tf.stack([tf.cast(number, tf.int32), 1])}
        image, labels = change(row, (images[0], labels))
        return image[None], labels["boxes"][None], labels["classes"][None]

    return example


def cases() -> Iterator[tuple[str, Callable]]:
    """Yield a name and shape -> example of each row of the table."""
    for options in OPTIONS:
        name = ", ".join(f"`{option}={value:g}`" for option, value in options.items())
        yield name, lambda shape, o=options: plain_or_ours(o, shape)
    for layer in NAMES:
        config = AugmentConfig(layers=({layer: ARGUMENTS.get(layer, {"factor": 0.5})},))
        yield f"layer `{layer}`", lambda shape, c=config: with_own_changes(c, shape)
    config = AugmentConfig(function=f"{__name__}:unchanged")
    yield "`function`, unchanged", lambda shape: with_own_changes(config, shape)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each timing")
    args = parser.parse_args()
    plain = {
        name: milliseconds(plain_or_ours({}, shape), args.seconds) for name, shape in SHAPES.items()
    }
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("keras", "numpy")))
    print(f"tensorflow {tf.__version__}")
    print(f"plain: {plain['800']:.1f} ms an image at 800, {plain['320']:.1f} at 320\n")
    print("| augmentation | 800 | 320 |\n|---|---|---|")
    for name, make in cases():
        times = [milliseconds(make(SHAPES[key]), args.seconds) - plain[key] for key in SHAPES]
        print(f"| {name} | " + " | ".join(f"{value:+.1f}" for value in times) + " |", flush=True)


if __name__ == "__main__":
    main()
