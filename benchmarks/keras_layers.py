"""Measure whether Keras's and KerasCV's layers keep boxes on their pixels, and repeat, in tf.data.

    python benchmarks/keras_layers.py

A painted rectangle in an image of 192 x 128, 30 draws, images of any size as a pipeline has them.
Printed in Markdown: by how many pixels a box is at most off its rectangle, and whether two runs on
three threads agree where the layer is given the seed of each image. KerasCV's rows need
`pip install keras-cv==0.9.0`.
"""

import importlib.util
import os
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_retinanet.data.augmentation.keras_layers import ImageSeeds

SIZE, DRAWS = (128, 192), 30
RED, BACKGROUND = (250, 20, 20), (40, 120, 200)
XYXY = {"bounding_box_format": "xyxy"}
EMPTY = {"fill_mode": "constant", **XYXY}


def cases() -> dict[str, tuple[Callable, str]]:
    """Return name -> a maker of the layer, and what it calls the class of a box."""
    k = keras.layers
    made = {
        "RandAugment": lambda: k.RandAugment(**XYXY),
        "AugMix": lambda: k.AugMix(**XYXY),
        "RandomShear": lambda: k.RandomShear(0.2, 0.2, **EMPTY),
        "RandomRotation": lambda: k.RandomRotation(0.1, **EMPTY),
        "RandomTranslation": lambda: k.RandomTranslation(0.2, 0.2, **EMPTY),
        "RandomZoom": lambda: k.RandomZoom(0.2, 0.2, **EMPTY),
        "RandomPerspective": lambda: k.RandomPerspective(0.5, **XYXY),
        "RandomElasticTransform": lambda: k.RandomElasticTransform(0.5, **XYXY),
        "RandomErasing": lambda: k.RandomErasing(1.0, **XYXY),
        "RandomCrop": lambda: k.RandomCrop(96, 128, **XYXY),
        "CutMix": lambda: k.CutMix(**XYXY),
        "MixUp": lambda: k.MixUp(**XYXY),
    }
    found = {f"Keras `{name}`": (make, "labels") for name, make in made.items()}
    if importlib.util.find_spec("keras_cv"):
        import keras_cv.layers as c  # slow to import, and optional

        made = {
            "GridMask": c.GridMask,
            "RandAugment": lambda: c.RandAugment((0, 255)),
            "AugMix": lambda: c.AugMix((0, 255)),
            "RandomChannelShift": lambda: c.RandomChannelShift((0, 255), 0.2),
            "ChannelShuffle": c.ChannelShuffle,
        }
        found |= {f"KerasCV `{name}`": (make, "classes") for name, make in made.items()}
    return found


def painted():
    """Yield an image (h, w, 3), its box (1, 4) and its seed (2,) for each draw."""
    random = np.random.default_rng(0)
    for number in range(DRAWS):
        x1, y1 = random.integers(0, [100, 70])
        x2, y2 = [x1, y1] + random.integers(30, [60, 50])
        image = np.full((*SIZE, 3), BACKGROUND, np.float32)
        image[y1:y2, x1:x2] = RED
        yield image, np.array([[x1, y1, x2, y2]], np.float32), np.array([number, 3], np.int32)


def drawn(layer: keras.layers.Layer, key: str) -> list[tuple]:
    """Return the image, boxes and classes of each draw of `layer`, whose class has name `key`."""
    seeds = ImageSeeds(seed=0)
    for part in layer._flatten_layers():
        for attribute, value in list(vars(part).items()):
            if isinstance(value, keras.random.SeedGenerator):
                setattr(part, attribute, seeds)

    def change(image, boxes, seed):
        seeds.begin(seed)
        boxes = {"boxes": boxes[None], key: tf.zeros([1, 1])}
        found = layer({"images": image[None], "bounding_boxes": boxes}, training=True)
        values = [found["bounding_boxes"][name] for name in ("boxes", key)]
        values = [v.to_tensor(-1) if isinstance(v, tf.RaggedTensor) else v for v in values]
        return found["images"][0], values[0][0], values[1][0]

    shapes = [None, None, 3], [1, 4], [2]
    types = tf.float32, tf.float32, tf.int32
    signature = tuple(map(tf.TensorSpec, shapes, types))
    rows = tf.data.Dataset.from_generator(painted, output_signature=signature)
    return list(rows.map(change, num_parallel_calls=3, deterministic=True).as_numpy_iterator())


def off_by(image: np.ndarray, boxes: np.ndarray, classes: np.ndarray) -> float:
    """Return by how many pixels the box is off what is still red."""
    # Half way from the background to the rectangle.
    is_red = image[..., 0] - image[..., 2] > (RED[0] - RED[2] + BACKGROUND[0] - BACKGROUND[2]) / 2
    rows, columns = np.flatnonzero(is_red.any(1)), np.flatnonzero(is_red.any(0))
    is_kept = len(classes) > 0 and classes[0] >= 0
    if not len(rows):
        return float((boxes[0, 2:] - boxes[0, :2]).min()) if is_kept else 0.0
    if not is_kept:
        return float(min(len(rows), len(columns)))
    bounds = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    return float(np.abs(boxes[0] - bounds).max())


def main() -> None:
    """Print the table."""
    print(f"Keras {keras.__version__}\n\n| layer | px off | repeats |\n|---|---|---|")
    for name, (make, key) in cases().items():
        try:
            first, second = drawn(make(), key), drawn(make(), key)
        except Exception as error:  # a layer that cannot run in tf.data is a result
            print(f"| {name} | fails: {type(error).__name__} | |", flush=True)
            continue
        pairs = zip(first, second, strict=True)
        repeats = all(
            np.array_equal(a, b) for left, right in pairs for a, b in zip(left, right, strict=True)
        )
        worst = max(off_by(*row) for row in first)
        print(f"| {name} | {worst:.1f} | {'yes' if repeats else 'no'} |", flush=True)


if __name__ == "__main__":
    main()
