"""Measure the cost and box accuracy of each augmentation: ours, Keras core's and KerasCV's.

    python benchmarks/augmentation.py

One thread. A 640 x 480 image is resized to 1067 x 800 and padded to 1088 x 800 ("800"), and to
320 x 240 in 320 x 256 ("320"), with one augmentation that is always drawn. Printed in Markdown: by
how many pixels, in 40 draws, a box is at most off the painted rectangle it belongs to; and the
milliseconds of processor time an image takes beyond the plain resize and padding. KerasCV's
columns need `pip install keras-cv==0.9.0`.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from keras_retinanet.config import AugmentConfig
from keras_retinanet.data import draw_mix, mix
from keras_retinanet.data.augmentation.transforms import choose_view, render
from keras_retinanet.data.pipeline.batches import render_wanted
from keras_retinanet.modeling import Preprocessing

SOURCE = (480, 640)
SHAPES = {"800": ((800, 1067), (800, 1088)), "320": ((240, 320), (256, 320))}
UNRESIZED = (SOURCE, SOURCE)
PREPROCESSING = Preprocessing()
# Four images, each with one rectangle of its own color; the classes are their numbers.
COLORS = np.array([(220, 20, 20), (20, 220, 20), (20, 20, 220), (220, 220, 20)], np.float32)
BOXES = np.array(
    [[250, 200, 370, 290], [150, 220, 290, 340], [300, 130, 400, 340], [300, 260, 480, 340]],
    np.float32,
)
BACKGROUND = np.array((90, 90, 90), np.float32)
DRAWS = 40
XYXY = {"bounding_box_format": "xyxy"}
SIZES = (0.5, 1.5)
QUARTER = {"factor": (0.25, 0.25), "fill_mode": "constant", **XYXY}
JITTER = {"brightness_factor": 0.2, "contrast_factor": 0.2, "saturation_factor": 0.2}


@dataclass(frozen=True)
class Case:
    """One augmentation: our option and the closest layers, made for a canvas."""

    option: str
    value: float | tuple
    core: Callable | None
    cv: Callable | None
    # Where the layer goes: "source" (before the resize), "input" (after it), "whole" (for it),
    # "batch" (after it, on four images).
    place: str


def cases() -> list[Case]:
    k = keras.layers
    if importlib.util.find_spec("keras_cv"):
        import keras_cv.layers as c  # slow to import, and optional
    else:
        c = None
    return [
        Case("flip", 1.0, lambda _: k.RandomFlip("horizontal", **XYXY),
             lambda _: c.RandomFlip("horizontal", **XYXY), "source"),
        Case("flip_vertical", 1.0, lambda _: k.RandomFlip("vertical", **XYXY),
             lambda _: c.RandomFlip("vertical", **XYXY), "source"),
        Case("rotate90", 1.0, lambda _: k.RandomRotation(**QUARTER),
             lambda _: c.RandomRotation(**QUARTER), "source"),
        Case("scale", SIZES, lambda _: k.RandomCrop(360, 480, **XYXY),
             lambda canvas: c.JitteredResize(canvas, SIZES, **XYXY), "whole"),
        Case("color", 0.2, lambda _: k.RandomColorJitter(**JITTER, **XYXY),
             lambda _: c.RandomColorJitter((0, 255), 0.2, 0.2, 0.2, 0.0), "input"),
        Case("hue", 0.05, lambda _: k.RandomHue(0.05, **XYXY),
             lambda _: c.RandomHue(0.05, (0, 255)), "input"),
        Case("photometric", 1.0, lambda _: k.RandomColorJitter(**JITTER, hue_factor=0.05, **XYXY),
             lambda _: c.RandomColorJitter((0, 255), 0.2, 0.2, 0.2, 0.05), "input"),
        Case("erase", 1.0, lambda _: k.RandomErasing((1.0, 1.0), scale=(0.02, 0.4), **XYXY),
             lambda _: c.RandomCutout((0.15, 0.6), (0.15, 0.6)), "input"),
        Case("mixup", 1.0, lambda _: k.MixUp(**XYXY), lambda _: c.MixUp(), "batch"),
        Case("mosaic", 1.0, None, lambda _: c.Mosaic(**XYXY), "batch"),
        Case("copy_paste", 1.0, None, None, "batch"),
    ]  # fmt: skip


def painted() -> np.ndarray:
    images = np.tile(BACKGROUND, (4, *SOURCE, 1))
    for image, color, (x1, y1, x2, y2) in zip(images, COLORS, BOXES.astype(int), strict=True):
        image[y1:y2, x1:x2] = color
    return images.astype(np.uint8)


def plain_or_ours(options: dict, shape) -> Callable:
    """Return number -> (images, boxes, classes) of one example made by this package."""
    config = AugmentConfig(**{"flip": 0.0} | options)
    sources, boxes = tf.constant(painted()), tf.constant(BOXES)

    def render_example(source):
        canvas, size = source.canvas, tf.constant(SOURCE)
        fit = tf.reduce_min(tf.cast(canvas, tf.float32) / tf.cast(size, tf.float32))
        resized_size = tf.cast(tf.round(fit * tf.cast(size, tf.float32)), tf.int32)
        view = choose_view(size, resized_size, canvas, seed=source.seed, config=config)
        (top, left), (height, width) = tf.unstack(view.start), tf.unstack(view.length)
        index = source.index
        return render(
            sources[index, top : top + height, left : left + width],
            {"boxes": boxes[index][None], "classes": index[None], "ignore": [False]},
            view,
            source_size=size,
            canvas=canvas,
            seed=source.seed,
            config=config,
            preprocessing=PREPROCESSING,
        )

    def example(number):
        index = tf.cast(number % 4, tf.int32)
        row = {
            "index": index,
            "partners": (index + [1, 2, 3]) % 4,
            "seed": tf.stack([tf.cast(number, tf.int32), 0]),
            "canvas": tf.constant(shape[1]),
        }
        recipe = draw_mix(row, config)
        image, labels = mix(recipe, render_wanted(recipe, render_example), config)
        return image[None], labels["boxes"][None], labels["classes"][None]

    return example


def layered(layer, key: str, case: Case, shape) -> Callable:
    """Return number -> (images, boxes, classes) of one image, or a batch of four, by `layer`."""
    sources, (resized, canvas) = tf.constant(painted()), shape

    def call(images, boxes, classes):
        inputs = {"images": images, "bounding_boxes": {"boxes": boxes, key: classes}}
        outputs = layer(inputs, training=True)
        found = [outputs["bounding_boxes"][name] for name in ("boxes", key)]
        found = [v.to_tensor(-1) if isinstance(v, tf.RaggedTensor) else v for v in found]
        return tf.cast(outputs["images"], tf.float32), *found

    def scaled(image, boxes):
        size = tf.shape(image)[:2]
        fit = tf.cast(tf.constant(resized) / size, tf.float32)
        image = PREPROCESSING.pad(PREPROCESSING.resize(image, resized), canvas)
        return image, boxes * tf.gather(fit, [1, 0, 1, 0])

    def example(number):
        if case.place == "batch":
            pairs = [scaled(sources[i], tf.constant(BOXES[i : i + 1])) for i in range(4)]
            images, boxes = (tf.stack(values) for values in zip(*pairs, strict=True))
            return call(images, boxes, tf.constant([[0.0], [1.0], [2.0], [3.0]]))
        index = tf.cast(number % 4, tf.int32)
        image, boxes = sources[index], tf.gather(tf.constant(BOXES), index)[None]
        classes = tf.cast(index, tf.float32)[None]
        if case.place == "input":
            image, boxes = scaled(image, boxes)
        image, boxes, classes = call(tf.cast(image, tf.float32), boxes, classes)
        if case.place == "source" or (case.place == "whole" and key == "labels"):
            image, boxes = scaled(image, boxes)
        return image[None], boxes[None], classes[None]

    return example


def off_by(example: Callable, *, is_resized: bool) -> float:
    """Return the largest distance in pixels between a side of a box and its rectangle."""
    worst = 0.0
    for images, boxes, classes in tf.data.Dataset.range(DRAWS).map(example).as_numpy_iterator():
        for image, its_boxes, its_classes in zip(images, boxes, classes, strict=True):
            for box, class_id in zip(its_boxes, its_classes, strict=True):
                # An image that a mosaic shows twice cannot be told apart.
                if class_id < 0 or (its_classes == class_id).sum() > 1:
                    continue
                # Noise never has the very color; an edge that was resized is half way to it.
                reach = np.abs(COLORS[int(class_id)] - BACKGROUND).max() / 2 if is_resized else 0.01
                mask = np.abs(image - COLORS[int(class_id)]).max(-1) < reach
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                off = (box[2:] - box[:2]).min()  # a box of what cannot be seen at all
                if len(rows):
                    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
                    off = np.abs(box - found).max()
                worst = max(worst, float(off))
    return worst


def milliseconds(example: Callable, seconds: float) -> float:
    """Return the processor time of an image on one thread: the best of three runs."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    rows = tf.data.Dataset.range(2**40).map(example).with_options(options).as_numpy_iterator()
    per_row, best = len(next(rows)[0]), np.inf
    for _ in range(3):
        end, start, count = time.perf_counter() + seconds / 3, time.process_time(), 0
        while time.perf_counter() < end:
            next(rows)
            count += per_row
        best = min(best, (time.process_time() - start) / count)
    return best * 1e3


def cells(make: Callable, case: Case, plain: dict, seconds: float) -> list[str]:
    """Return the cells "pixels off", "ms at 800", "ms at 320" for the layer `make(shape)`."""
    try:
        if case.option in ("color", "hue", "photometric", "mixup"):
            off = "unmoved"
        else:
            off = f"{off_by(make(UNRESIZED), is_resized=case.option in ('scale', 'mosaic')):.2f}"
        times = [milliseconds(make(SHAPES[name]), seconds) - plain[name] for name in SHAPES]
    except Exception as error:  # a layer that cannot run in tf.data is a result
        return [f"fails: {type(error).__name__}", "", ""]
    return [off, *[f"{value:+.1f}" for value in times]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each timing")
    args = parser.parse_args()
    plain = {
        name: milliseconds(plain_or_ours({}, shape), args.seconds) for name, shape in SHAPES.items()
    }
    names = ["tensorflow-cpu", "keras"] + ["keras-cv"] * bool(importlib.util.find_spec("keras_cv"))
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
    print(f"plain: {plain['800']:.1f} ms an image at 800, {plain['320']:.1f} at 320\n")
    head = [
        f"{who} {what}"
        for who in ("ours:", "Keras:", "KerasCV:")
        for what in ("px off", "800", "320")
    ]
    print("| option | " + " | ".join(head) + " |\n" + "|---" * 10 + "|")
    for case in cases():
        row = cells(
            lambda s, c=case: plain_or_ours({c.option: c.value}, s), case, plain, args.seconds
        )
        for factory, key, installed in (
            (case.core, "labels", True),
            (case.cv, "classes", "keras-cv" in names),
        ):
            if factory is None or not installed:
                row += ["-", "", ""]
                continue
            row += cells(
                lambda s, c=case, f=factory, k=key: layered(f(s[1]), k, c, s),
                case,
                plain,
                args.seconds,
            )
        print(f"| `{case.option}` | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
