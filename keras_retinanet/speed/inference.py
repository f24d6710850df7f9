"""Where the time of a detection goes: decode, resize, network by stage, post-processing, copies.

Shape letters: B images, R anchors, K classes.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.exporting.detectors import ExportedDetector
from keras_retinanet.exporting.exported import load_exported
from keras_retinanet.exporting.folding import folded
from keras_retinanet.exporting.saved_model.folder import export_saved_model
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.speed.floor import FLOPS, Floor, floor_calls, floor_of, floor_table
from keras_retinanet.speed.memory import peak_of
from keras_retinanet.speed.models import Subject
from keras_retinanet.speed.stages import network_parts, part_inputs
from keras_retinanet.speed.tables import Table, time_row
from keras_retinanet.speed.timing import Times, measure
from keras_retinanet.training.resources import graph_flops

# How many candidates over the threshold the post-processing is timed with.
CANDIDATES = (0, 20, 500, 100_000)
STEPS = ("decode", "resize and pad", "copy in", "network", "post-processing", "copy out")
WHOLE = ("model.detect", "SavedModel")
# Of a candidate and of everything else; sigmoid makes .73 and .00005 of them.
HIGH, LOW = 1.0, -10.0
wait = tf.test.experimental.sync_devices


def inference(
    model: RetinaNet,
    encoded: bytes,
    *,
    batch_size: int = 1,
    precision: str = "float32",
    repeat: int,
) -> list[Table]:
    """Time each step of a detection, and the whole by `detect` and by a SavedModel.

    Args:
        encoded: an image file; a batch has it several times.
        precision: of the network and the SavedModel (`folded`); `detect` has the model's own.
    """
    image = decode_image(encoded)
    images = np.stack([image] * batch_size)
    canvas = model.prepare(image)[0].shape[:2]
    steps, flops = _steps(model, encoded, batch_size, precision)
    with tempfile.TemporaryDirectory() as folder:
        saved = saved_detector(model, Path(folder) / "saved_model", precision)
        calls = {
            **steps,
            "model.detect": lambda: model.detect([image] * batch_size, batch_size=batch_size),
            "SavedModel": lambda: saved.infer(images),
            **floor_calls(precision),
        }
        times = measure(calls, repeat=repeat, wait=wait)
    floor = floor_of(times, precision)
    title = (
        f"Inference: ms per image, input {canvas[0]}x{canvas[1]}, batch {batch_size}, "
        f"{precision}, {model.config.backbone.name}, {len(model.class_names)} classes"
    )
    return [
        floor_table(times, floor),
        Table(title, _rows(times, flops, floor, batch_size)),
        by_candidates(model, canvas, repeat=repeat),
    ]


def _steps(
    model: RetinaNet, encoded: bytes, batch_size: int, precision: str
) -> tuple[dict[str, Callable[[], object]], dict[str, float]]:
    """Return the steps of a detection as calls, and the operations of their convolutions."""
    image = decode_image(encoded)
    canvas, size = model.prepare(image)
    inputs = np.stack([canvas] * batch_size)
    sizes = tf.constant([size] * batch_size, tf.int32)
    network = _Network(model, precision, tf.constant(inputs))
    post_process = _post_processing(model, canvas.shape[:2])
    outputs = network.whole()
    found = post_process(outputs, sizes)
    calls = {
        "decode": lambda: decode_image(encoded),
        "resize and pad": lambda: model.prepare(image),
        "copy in": lambda: tf.constant(inputs),
        "network": network.whole,
        **network.parts,
        "post-processing": lambda: post_process(outputs, sizes),
        "copy out": lambda: [part.numpy() for part in found],
    }
    return calls, network.flops


def saved_detector(model: RetinaNet, folder: Path, precision: str) -> ExportedDetector:
    """Export `model` as a SavedModel to `folder`, and return its detector."""
    export_saved_model(model, folder, precision=precision, say=lambda line: None)
    return load_exported(folder)


class _Network:
    """The folded network of a model as a function of some images, whole and in parts.

    Attributes:
        whole: call of the network, which returns its outputs.
        parts: name -> call of a part on what it gets in the whole.
        flops: name of the network or a part -> operations of its convolutions.
    """

    def __init__(self, model: RetinaNet, precision: str, images: tf.Tensor):
        network = folded(model, precision)
        self.flops: dict[str, float] = {}
        self.whole = self._call("network", network, [images])
        parts = network_parts(network)
        inputs = part_inputs(network, parts, images)
        self.parts = {
            f"  {part.name}": self._call(f"  {part.name}", part.network, inputs[part.name])
            for part in parts
        }

    def _call(self, name: str, network: Any, inputs: list[tf.Tensor]) -> Callable[[], Any]:
        def run(*values: tf.Tensor) -> Any:
            return network(values[0] if len(values) == 1 else [*values], training=False)

        function = tf.function(run, autograph=False).get_concrete_function(*inputs)
        self.flops[name] = graph_flops(function.graph)
        return lambda: function(*inputs)


def _post_processing(model: RetinaNet, canvas: tuple[int, int]) -> Callable[..., Any]:
    """Return the function from the network's outputs and sizes (B, 2) to detections."""

    def run(outputs: dict[str, tf.Tensor], sizes: tf.Tensor) -> Any:
        return model.detect_outputs(outputs, canvas, sizes)

    return tf.function(run, autograph=False)


def _rows(
    times: dict[str, Times], flops: dict[str, float], floor: Floor, batch_size: int
) -> list[dict[str, Any]]:
    per = {name: 1 if name in STEPS[:2] else batch_size for name in times}  # those take one image
    total = sum(times[name].median / per[name] for name in STEPS)
    rows = [
        time_row(
            name,
            times[name],
            per=per[name],
            total=total * per[name],
            least=floor.seconds(flops.get(name, 0.0)),
        )
        for name in times
        if name not in FLOPS
    ]
    disturbed = any(times[name].disturbed for name in STEPS)
    place = len(rows) - len(WHOLE)
    whole = Times((total,), disturbed)  # of all steps
    return [*rows[:place], time_row("all steps", whole, total=total), *rows[place:]]


def by_candidates(model: RetinaNet, canvas: tuple[int, int], *, repeat: int) -> Table:
    """Time the post-processing with few and with many candidates over the score threshold."""
    anchors, classes = int(model.anchors(*canvas).shape[0]), len(model.class_names)
    random = np.random.default_rng(0)
    deltas = tf.constant(random.normal(0, 0.1, (1, anchors, 4)), tf.float32)
    post_process = _post_processing(model, canvas)
    sizes = tf.constant([canvas], tf.int32)

    def call(count: int) -> Callable[[], object]:
        logits = np.full(anchors * classes, LOW, np.float32)
        places = random.permutation(anchors * classes)[:count]
        logits[places] = HIGH + random.uniform(size=len(places))
        outputs = {
            "class_logits": tf.constant(logits.reshape(1, anchors, classes)),
            "box_deltas": deltas,
        }
        return lambda: post_process(outputs, sizes)

    counts = [count for count in CANDIDATES if count <= anchors * classes]
    calls = {f"{count:,} candidates": call(count) for count in counts}
    times = measure(calls, repeat=repeat, wait=wait)
    title = f"Post-processing: ms per image, {anchors:,} anchors, {classes} classes"
    return Table(title, [time_row(name, found) for name, found in times.items()])


def exported_inference(detector: ExportedDetector, encoded: bytes, *, repeat: int) -> list[Table]:
    """Time each step of a detection by an exported file."""
    image = decode_image(encoded)
    inputs, size = detector.prepare(image)
    batch, sizes = inputs[None], np.array([size], np.int32)
    outputs = detector.infer(batch, sizes)
    original_size = image.shape[:2]
    calls: dict[str, Callable[[], object]] = {
        "decode": lambda: decode_image(encoded),
        "prepare": lambda: detector.prepare(image),
        "run the file": lambda: detector.infer(batch, sizes),
        "finish": lambda: detector.finish(outputs, 0, size, original_size),
    }
    times = measure({**calls, "detect": lambda: detector.detect(image)}, repeat=repeat, wait=wait)
    total = sum(times[name].median for name in calls)
    shape = "x".join(map(str, inputs.shape[:2]))
    title = f"Inference: ms per image, {detector.facts['kind']}, input {shape}"
    return [Table(title, [time_row(n, found, total=total) for n, found in times.items()])]


def detection_memory(subject: Subject, encoded: bytes) -> Table:
    """Measure the peak memory of a process that makes a model and detects twice."""
    rows = [
        {"process": "imports alone", "peak MiB": peak_of(_import)},
        {"process": "model.detect, twice", "peak MiB": peak_of(_detect, subject, encoded)},
    ]
    return Table("Memory: peak of a process of its own", rows)


def _import() -> None:
    """Do nothing: this module imports TensorFlow."""


def _detect(subject: Subject, encoded: bytes) -> None:
    model, image = subject.make(), decode_image(encoded)
    for _ in range(2):
        model.detect(image)
