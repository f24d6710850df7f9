"""Estimate or measure a run before it starts: length, memory and time; draw its first batch."""

import math
import time
from pathlib import Path

import tensorflow as tf

from keras_retinanet.config import Config
from keras_retinanet.data.pipeline.balance import images_per_pass
from keras_retinanet.data.pipeline.plan import canvas_counts
from keras_retinanet.data.records import Dataset
from keras_retinanet.drawing.pictures import batch_picture, save_picture
from keras_retinanet.errors import counted
from keras_retinanet.modeling.backbones import has_public_weights
from keras_retinanet.training import resources
from keras_retinanet.training.schedules import scaled_learning_rate, total_steps

DRY_STEPS = 2
# Seconds of a run that nobody waits for: a month.
LONG = 30 * 24 * 3600


def announce(config: Config, model, data: Dataset, *, step: int, replicas: int) -> None:
    """Print the length of the rest of a run from `step`, and its estimated memory and time.

    Raises:
        UserError: a step needs more memory than there is.
    """
    train, steps = config.train, total_steps(config.train)
    name = config.model.backbone.name
    if config.model.backbone.weights is None:
        hint = " (--set model.backbone.weights=imagenet for pretrained ones)"
        print(f"the backbone {name} starts from random weights" + hint * has_public_weights(name))
    tile = config.model.tiles.side
    if config.data.balance or tile:
        drawn = images_per_pass(data, config.data.balance, tile)
        what = f"windows of {tile} px" if tile else "images"
        print(f"a pass over the data draws {drawn:,} {what} on average")
    sides = config.data.augment.short_sides
    canvas = max(canvas_counts(data, model.preprocessing, sides, tile), key=math.prod)
    pieces = {"micro_batch": train.micro_batch}
    estimate = resources.estimate_step(model, train.batch_size // replicas, canvas, **pieces)
    seconds = estimate.seconds_per_step()
    length = f"{counted(steps, 'step')} of {counted(train.batch_size, 'image')}"
    if train.micro_batch:
        length += f", {train.micro_batch} at a time"
    likely = seconds * (steps - step)
    if train.minutes:
        length = f"{train.minutes:g} minutes or {length}, the shorter of the two"
        likely = min(likely, train.minutes * 60)
    print(
        f"{length}; learning rate {scaled_learning_rate(train):g}; input up to "
        f"{canvas[0]}x{canvas[1]}\nestimated: {estimate.bytes / resources.GIB:.1f} GiB of "
        f"memory, {seconds:.2f} s per step, {duration(likely)} in all (--dry_run measures)"
    )
    if likely > LONG:
        print("That is too long for this machine: use a GPU, or lower --image_size or --steps.")
    resources.check_memory(
        estimate, train.batch_size, replicas=replicas, is_long=likely > LONG, **pieces
    )


def dry_run(config: Config, model, batches: tf.data.Dataset, *, step: int, picture: Path) -> dict:
    """Take two steps, time the second, and draw the first batch; keep nothing else.

    Args:
        step: step at which the run would start.
        picture: image file to write the batch to.

    Returns:
        "seconds_per_step", and "batch", the image's path.
    """
    iterator = iter(model.distribute_strategy.experimental_distribute_dataset(batches))
    draw_batch(batches, model, picture)
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


def draw_batch(batches: tf.data.Dataset, model, path: Path) -> Path:
    """Draw the first of the batches, with its boxes, to a file; return its path."""
    images, labels = next(iter(batches))
    save_picture(batch_picture(images.numpy(), labels, class_names=model.class_names), path)
    return path


def duration(seconds: float) -> str:
    """Return `seconds` as text: in minutes, in hours from two hours, in days from three."""
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 72:
        return f"{hours / 24:,.0f} days"
    return f"{hours:.1f} hours" if hours >= 2 else f"{minutes:.1f} minutes"
