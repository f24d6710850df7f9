"""What is known of a run before its first step: its length, memory and time, and a first batch."""

import math
import time
from pathlib import Path

import tensorflow as tf

from keras_retinanet.config.schema import Config
from keras_retinanet.data.pipeline.plan import canvas_counts
from keras_retinanet.data.records import Dataset
from keras_retinanet.drawing.pictures import batch_picture, save_picture
from keras_retinanet.training import resources
from keras_retinanet.training.schedules import scaled_learning_rate, total_steps

DRY_STEPS = 2


def announce(config: Config, model, data: Dataset, *, step: int, replicas: int) -> None:
    """Print how long the rest of a run from `step` is, and what memory and time it may take.

    Raises:
        UserError: memory cannot suffice.
    """
    train, steps = config.train, total_steps(config.train)
    if config.model.backbone.weights is None:
        print(
            f"the trunk {config.model.backbone.name} starts from random weights "
            "(--set model.backbone.weights=imagenet for pretrained ones)"
        )
    sides = config.data.augment.short_sides
    canvas = max(canvas_counts(data, model.preprocessing, sides), key=math.prod)
    estimate = resources.estimate_step(model, train.batch_size // replicas, canvas)
    seconds = estimate.seconds_per_step()
    length = f"{steps} steps of {train.batch_size} pictures"
    likely = seconds * (steps - step)
    if train.minutes:
        length = f"{train.minutes:g} minutes or {length}, whichever is shorter"
        likely = min(likely, train.minutes * 60)
    print(
        f"{length}; learning rate {scaled_learning_rate(train):g}; input up to "
        f"{canvas[0]}x{canvas[1]}\nestimated: {estimate.bytes / resources.GIB:.1f} GiB of "
        f"memory, {seconds:.2f} s per step, {duration(likely)} in all (--dry_run measures)"
    )
    resources.check_memory(estimate, train.batch_size, replicas=replicas)


def dry_run(config: Config, model, batches: tf.data.Dataset, *, step: int, picture: Path) -> dict:
    """Take two steps, the second one timed, and draw the first batch; nothing else is kept.

    Args:
        step: that the run would go on from.
        picture: file to write the batch to.

    Returns:
        "seconds_per_step", and "batch", the picture's path.
    """
    iterator = iter(model.distribute_strategy.experimental_distribute_dataset(batches))
    images, labels = next(iter(batches))
    save_picture(batch_picture(images.numpy(), labels, class_names=model.class_names), picture)
    model.make_train_function()
    for _ in range(DRY_STEPS):
        start = time.perf_counter()
        logs = model.train_function(iterator)
        seconds = time.perf_counter() - start
    expected = seconds * (total_steps(config.train) - step)
    if config.train.minutes:
        expected = min(expected, config.train.minutes * 60)
    end = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + expected))
    print(
        f"measured: {seconds:.2f} s per step, {duration(expected)} in all (end {end}), peak "
        f"memory {resources.peak_memory() / resources.GIB:.1f} GiB, loss "
        f"{float(logs['loss']):.3f}\n"
        f"the first batch with its boxes: {picture}"
    )
    return {"seconds_per_step": seconds, "batch": picture}


def duration(seconds: float) -> str:
    """Return `seconds` in minutes, from two hours on in hours."""
    minutes, hours = seconds / 60, seconds / 3600
    return f"{hours:.1f} hours" if hours >= 2 else f"{minutes:.1f} minutes"
