"""Measure how cost grows with image size, batch, objects, classes and annotations; plot it.

    python benchmarks/growth.py --docs docs
    python benchmarks/growth.py --backbone resnet18 --only classes annotations

Each series is timed in turn, by the medians of `keras_retinanet benchmark`. The exponent is the
slope between the last two points on logarithmic axes: 0 is flat, 1 linear. The table and the plot
go to docs/benchmark.md and docs/images/growth.png with --docs, else to the terminal alone.
"""

import argparse
import dataclasses
import json
import math
import tempfile
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from marked_section import replace_section
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_retinanet.config import DataConfig, LossConfig, ModelConfig, PreprocessingConfig
from keras_retinanet.data import load_dataset
from keras_retinanet.evaluation import set_from_annotations
from keras_retinanet.evaluation.metrics.coco_metric import annotation_file
from keras_retinanet.files import atomic_write
from keras_retinanet.modeling import AnchorLabeler, RetinaNet, RetinaNetLoss, level_cells, retinanet
from keras_retinanet.processes.machine import machine
from keras_retinanet.speed import Times, measure, scene
from keras_retinanet.speed.tables import number

SIZES = (320, 480, 640, 800, 960, 1280)
BATCHES = (1, 2, 4, 8)
OBJECTS = (1, 10, 30, 100, 300)
CLASSES = (10, 80, 365, 1203)  # a small set's, COCO's, Objects365's, LVIS's
ANNOTATIONS = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
# Where a series does not change it: input side in px, classes, images of a training batch.
SIDE, NUM_CLASSES, TRAINED = 512, 80, 2
PLOT = Path("images") / "growth.png"
Calls = dict[int, Callable[[], object]]


class Series(NamedTuple):
    """What grows.

    Attributes:
        calls: makes the calls to time, by what they cost with; gets a model's builder and a folder.
        unit: of that.
        expected: exponent that the cost should have.
    """

    calls: Callable[[Callable[..., RetinaNet], Path], dict[str, Calls]]
    unit: str
    expected: float


def image_sizes(build: Callable[..., RetinaNet], folder: Path) -> dict[str, Calls]:
    """Return detections in square images, by their side."""
    random = np.random.default_rng(0)
    calls: Calls = {}
    for side in SIZES:
        image = random.integers(0, 256, (side, side, 3), np.uint8)
        calls[side] = partial(build(side=side).detect, image)
    return {"model.detect": calls}


def batches(build: Callable[..., RetinaNet], folder: Path) -> dict[str, Calls]:
    """Return detections in batches, by the number of their images."""
    model = build()
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return {
        "model.detect": {
            count: partial(model.detect, [image] * count, batch_size=count) for count in BATCHES
        }
    }


def objects(build: Callable[..., RetinaNet], folder: Path) -> dict[str, Calls]:
    """Return labeling and loss of a training batch, by the boxes of an image."""
    model, labeler = build(), AnchorLabeler()
    loss = RetinaNetLoss(**dataclasses.asdict(LossConfig()))
    loss.box_coder = model.box_coder
    anchors, cells = model.anchors(SIDE, SIDE), level_cells(SIDE, SIDE)
    rows = int(anchors.shape[0])
    outputs = {
        "class_logits": tf.fill((TRAINED, rows, NUM_CLASSES), -4.6),
        "box_deltas": tf.zeros((TRAINED, rows, 4)),
    }

    @tf.function(reduce_retracing=True)
    def label(labels):
        return labeler(anchors, labels, level_cells=cells)

    @tf.function
    def score(targets):
        return tf.add_n(loss.sums(anchors, targets, outputs))

    drawn = {count: _labels(count) for count in OBJECTS}
    targets = {count: label(labels) for count, labels in drawn.items()}
    return {
        "labeling": {count: partial(label, labels) for count, labels in drawn.items()},
        "loss": {count: partial(score, found) for count, found in targets.items()},
    }


def _labels(count: int) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(0)
    sides = np.exp(random.uniform(np.log(16), np.log(200), (TRAINED, count, 2)))
    corners = random.uniform(0, 1, (TRAINED, count, 2)) * (SIDE - sides)
    return {
        "boxes": tf.constant(np.concatenate([corners, corners + sides], axis=2), tf.float32),
        "classes": tf.constant(random.integers(0, NUM_CLASSES, (TRAINED, count)), tf.int32),
        "ignore": tf.zeros((TRAINED, count), tf.bool),
    }


def classes(build: Callable[..., RetinaNet], folder: Path) -> dict[str, Calls]:
    """Return detections by models of more and more classes."""
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    calls: Calls = {count: partial(build(num_classes=count).detect, image) for count in CLASSES}
    return {"model.detect": calls}


def annotations(build: Callable[..., RetinaNet], folder: Path) -> dict[str, Calls]:
    """Return the reading of COCO's files, for training and for scoring."""
    files = {count: _annotation_file(count, folder) for count in ANNOTATIONS}

    def read(file: Path) -> object:
        config = DataConfig(source="coco", annotations=str(file), images=str(folder / "images"))
        return load_dataset(config, "all")

    contents = {count: json.loads(file.read_text()) for count, file in files.items()}
    return {
        "read for training": {count: partial(read, file) for count, file in files.items()},
        "columns for scoring": {
            count: partial(set_from_annotations, content) for count, content in contents.items()
        },
    }


def _annotation_file(count: int, folder: Path) -> Path:
    """Write a COCO file of `count` boxes, and an empty file for each of its images."""
    truth, _ = scene(max(1, math.ceil(count / 7)), 0, NUM_CLASSES)
    content = annotation_file(truth)
    content["annotations"] = content["annotations"][:count]
    (folder / "images").mkdir(exist_ok=True)
    for name in truth.file_names:
        (folder / "images" / name).touch()
    file = folder / f"{count}.json"
    file.write_text(json.dumps(content))
    return file


SERIES = {
    "image_size": Series(image_sizes, "px, side of the input", 2.0),
    "batch": Series(batches, "images in a batch", 1.0),
    "objects": Series(objects, "boxes in an image", 0.0),
    "classes": Series(classes, "classes", 1.0),
    "annotations": Series(annotations, "annotations", 1.0),
}


def exponent(points: dict[int, Times]) -> float:
    """Return the slope between the last two points on logarithmic axes."""
    (x, before), (y, after) = list(points.items())[-2:]
    return math.log(after.median / before.median) / math.log(y / x)


def table(found: dict[str, dict[str, dict[int, Times]]]) -> str:
    """Return a Markdown table: a row for each curve, its ends, and how it grows."""
    rows = ["| cost of | over | ms | exponent at the end | at most |", "|---|---|---|--:|--:|"]
    disturbed = False
    for name, curves in found.items():
        for curve, points in curves.items():
            parts = []
            for x, times in points.items():
                disturbed |= times.disturbed
                parts.append(f"{x:,}: {number(1000 * times.median)}{'*' * times.disturbed}")
            unit, expected = SERIES[name].unit, SERIES[name].expected
            rows.append(
                f"| {curve} | {unit} | {', '.join(parts)} | {exponent(points):.2f} | {expected:g} |"
            )
    note = "\n\n\\* Other processes used the processor in every repeat." if disturbed else ""
    facts = machine()
    said = f"{facts['cores']} cores of {facts['processor']}, {facts['system']}, {date.today()}"
    return "\n".join(rows) + note + f"\n\n{said}: `{facts['command']}`."


def plot(found: dict[str, dict[str, dict[int, Times]]], path: Path) -> None:
    """Plot a panel for each series, on logarithmic axes."""
    figure = Figure(figsize=(3 * len(found), 3.2), dpi=100, layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    for axis, (name, curves) in zip(axes, found.items(), strict=True):
        for curve, points in curves.items():
            heights = [1000 * times.median for times in points.values()]
            axis.loglog(list(points), heights, "o-", ms=4, label=curve)
        axis.set(xlabel=SERIES[name].unit, title=name.replace("_", " "))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    axes[0].set_ylabel("ms")
    FigureCanvasAgg(figure)
    with atomic_write(path, "wb") as stream:
        figure.savefig(stream, format="png")


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--only", nargs="+", choices=SERIES, default=list(SERIES))
    parser.add_argument("--repeat", type=int, default=5, metavar="N")
    parser.add_argument("--docs", type=Path, help="folder of the documentation to write to")
    args = parser.parse_args()

    def build(side: int = SIDE, num_classes: int = NUM_CLASSES) -> RetinaNet:
        sides = PreprocessingConfig(short_side=side, long_side=side)
        config = ModelConfig(preprocessing=sides)
        return retinanet(args.backbone, num_classes, weights=None, config=config)

    found: dict[str, dict[str, dict[int, Times]]] = {}
    for name in args.only:
        with tempfile.TemporaryDirectory() as folder:
            curves = SERIES[name].calls(build, Path(folder))
            found[name] = {
                curve: dict(zip(calls, _measured(calls, args.repeat), strict=True))
                for curve, calls in curves.items()
            }
        print(table({name: found[name]}), flush=True)
    if args.docs:
        plot(found, args.docs / PLOT)
        replace_section(args.docs / "benchmark.md", "growth", f"{table(found)}\n\n![]({PLOT})")


def _measured(calls: Calls, repeat: int) -> list[Times]:
    named = {str(x): call for x, call in calls.items()}
    return list(measure(named, repeat=repeat, wait=tf.test.experimental.sync_devices).values())


if __name__ == "__main__":
    main()
