"""Where the time of a training step goes: input, forward, labeling, loss, backward, optimizer."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_retinanet.config import Config, TrainConfig
from keras_retinanet.data.pipeline.batches import training_batches
from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.anchors import level_cells, spatial_shape
from keras_retinanet.modeling.atss import build_labeler
from keras_retinanet.modeling.losses import RetinaNetLoss
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.speed.floor import FLOPS, floor_calls, floor_of, floor_table
from keras_retinanet.speed.memory import peak_of
from keras_retinanet.speed.models import Subject
from keras_retinanet.speed.tables import Table, time_row
from keras_retinanet.speed.timing import Times, measure
from keras_retinanet.training.building import compile_model
from keras_retinanet.training.resources import graph_flops

# Precision of the command -> policy of the layers.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
# Of a short `fit`: one more than the intervals between steps.
FIT_STEPS = 5
GRADIENT = 1e-3  # of any size: the optimizer's time does not depend on it
NOTES = [
    "backward: a graph of forward, loss and backward, less forward and loss. "
    "`fit` has no callbacks of `train`.",
]
Labels = dict[str, tf.Tensor]
wait = tf.test.experimental.sync_devices


def train(
    subject: Subject,
    config: Config,
    dataset: Dataset,
    *,
    batch_size: int,
    precision: str = "float32",
    repeat: int,
) -> list[Table]:
    """Time the parts of a training step, the whole step, and `fit` per step.

    Args:
        config: its `train` and `data` are used.
        dataset: with classes that the model has, by their number.
        precision: "float32", or of mixed precision "bfloat16" or "float16".
    """
    with _policy(precision):
        model = subject.make()
        _require_classes(model, dataset)
        _compile(model, config.train)
    batches = _untuned(
        training_batches(
            dataset, model.preprocessing, data_config=config.data, batch_size=batch_size, seed=0
        )
    )
    iterator = iter(batches)
    images, labels = next(iterator)
    parts, flops = _parts(model, config.train, images, labels)
    steps = {
        "input": lambda: next(iterator),
        **parts,
        "fit, per step": lambda: _fit_seconds(model, _repeated(images, labels)),
        "fit with input, per step": lambda: _fit_seconds(model, batches),
    }
    times = measure({**steps, **floor_calls(precision)}, repeat=repeat, wait=wait)
    floor = floor_of(times, precision)
    least = {name: floor.seconds(count) for name, count in flops.items()}
    title = f"{_title(model, images)}, {POLICIES[precision]}"
    return [
        floor_table(times, floor),
        Table(title, _rows(times, least), NOTES),
        _memory(subject, config.train, precision, images, labels),
    ]


def _title(model: RetinaNet, images: tf.Tensor) -> str:
    batch, height, width, _ = images.shape
    return (
        f"Training: ms per step, input {height}x{width}, batch {batch}, "
        f"{model.config.backbone.name}, {len(model.trainable_weights)} of {len(model.weights)} "
        "variables train"
    )


def _require_classes(model: RetinaNet, dataset: Dataset) -> None:
    if len(dataset.class_names) > len(model.class_names):
        raise UserError(
            f"Expected a data set of up to {len(model.class_names)} classes. "
            f"Received: {dataset.name} of {len(dataset.class_names)}."
        )


@contextmanager
def _policy(precision: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _compile(model: RetinaNet, config: TrainConfig) -> None:
    compile_model(model, config)
    model.optimizer.learning_rate.assign(0.0)  # the same weights at each repeat


def _parts(
    model: RetinaNet, config: TrainConfig, images: tf.Tensor, labels: Labels
) -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """Return the parts of a step as calls, and the operations of their convolutions."""
    labeler, loss = build_labeler(config.matching), RetinaNetLoss(**dataclasses.asdict(config.loss))
    loss.box_coder = model.box_coder
    size, variables = spatial_shape(images), model.trainable_variables

    def forward() -> Any:
        return model(images, training=True)

    def label() -> Any:
        return labeler(model.anchors(*size), labels, level_cells=level_cells(*size))

    targets = tf.function(label)()

    def losses(outputs: Any) -> tf.Tensor:
        return tf.add_n(loss.sums(model.anchors(*size), targets, outputs))

    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            total = losses(model(images, training=True))
        return tape.gradient(total, variables, unconnected_gradients="zero")

    def step() -> Any:
        return model.train_step((images, labels))

    functions = {"forward": forward, "labeling": label, "gradients": gradients, "train step": step}
    graphs = {name: tf.function(call).get_concrete_function() for name, call in functions.items()}
    outputs, score = graphs["forward"](), tf.function(losses)
    calls = {**graphs, "loss": lambda: score(outputs), "optimizer": _update(model)}
    return calls, {name: graph_flops(function.graph) for name, function in graphs.items()}


def _update(model: RetinaNet) -> Callable[[], None]:
    """Return the call of the optimizer's update alone."""
    variables = model.trainable_variables
    gradients = [tf.fill(v.shape, tf.cast(GRADIENT, v.dtype)) for v in variables]

    @tf.function
    def update(*values: tf.Tensor) -> None:
        model.optimizer.apply_gradients(zip(values, variables, strict=True))

    return lambda: update(*gradients)


def _rows(times: dict[str, Times], least: dict[str, float]) -> list[dict[str, Any]]:
    """Return the parts in their order, with what only their differences tell."""
    seconds = {name: found.median for name, found in times.items()}
    backward = seconds["gradients"] - seconds["forward"] - seconds["loss"]
    derived = {
        "backward": Times((backward,), times["gradients"].disturbed),
        **{name: found for name, found in times.items() if name not in FLOPS},
    }
    order = ["input", "forward", "labeling", "loss", "backward", "optimizer", "train step"]
    order += ["fit, per step", "fit with input, per step"]
    return [
        time_row(name, derived[name], total=seconds["train step"], least=least.get(name))
        for name in order
    ]


def _repeated(images: tf.Tensor, labels: Labels) -> tf.data.Dataset:
    """Return one batch without end."""
    return _untuned(tf.data.Dataset.from_tensors((images, labels)).repeat())


def _untuned(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Return `batches` without the tuning thread, for which the end of a short `fit` waits."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


class _Clock(keras.callbacks.Callback):
    """Note when each step ends."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.ends.append(time.perf_counter())


def _fit_seconds(model: RetinaNet, batches: tf.data.Dataset) -> float:
    """Return the seconds between two steps of a short `fit`."""
    clock = _Clock()
    model.fit(batches, steps_per_epoch=FIT_STEPS, callbacks=[clock], verbose=0)
    return float(np.median(np.diff(clock.ends)))


def _memory(
    subject: Subject, config: TrainConfig, precision: str, images: tf.Tensor, labels: Labels
) -> Table:
    batch = images.numpy(), {name: value.numpy() for name, value in labels.items()}
    rows = [
        {"process": "imports alone", "peak MiB": peak_of(_import)},
        {"process": "two steps", "peak MiB": peak_of(_steps, subject, config, precision, batch)},
    ]
    return Table("Memory: peak of a process of its own", rows)


def _import() -> None:
    """Do nothing: this module imports TensorFlow."""


def _steps(subject: Subject, config: TrainConfig, precision: str, batch: Any) -> None:
    with _policy(precision):
        model = subject.make()
        _compile(model, config)
    images, labels = tf.nest.map_structure(tf.constant, batch)
    model.fit(_repeated(images, labels), steps_per_epoch=2, verbose=0)
