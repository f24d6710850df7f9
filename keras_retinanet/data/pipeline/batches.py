"""Records -> batches of network inputs: the only file that batches.

plan (integers) -> view -> read and decode, in parallel -> render -> mix -> the user's own changes
-> batch -> prefetch.
Shape letters: B images, G ground truths, h w image after the resize, ch cw canvas.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.config import DataConfig
from keras_retinanet.data.augmentation.geometry import fit_within
from keras_retinanet.data.augmentation.mixing import Recipe, draw_mix, mix
from keras_retinanet.data.augmentation.transforms import View, choose_view, render
from keras_retinanet.data.autotuning import without_autotuning
from keras_retinanet.data.pipeline import plan
from keras_retinanet.data.pipeline.balance import images_per_pass
from keras_retinanet.data.pipeline.crowding import note_crowded, pad_labels, room_for_boxes
from keras_retinanet.data.pipeline.fetching import fetcher
from keras_retinanet.data.pipeline.own_changes import own_changes
from keras_retinanet.data.pipeline.random_windows import windows
from keras_retinanet.data.records import Dataset
from keras_retinanet.modeling.preprocessing import Preprocessing

# Wider than the largest anchor (813 px): an ignored box with this margin holds at least half of
# every anchor, also of those that stand out of the canvas.
BLANK_MARGIN = 4096.0


def training_plan(
    dataset: Dataset,
    preprocessing: Preprocessing,
    *,
    data_config: DataConfig,
    progress: Callable[[int], float] = lambda step: 0.0,
    **options: Any,
) -> Iterator[plan.Batch]:
    """Return the plan of `training_batches`, whose arguments these are."""
    closed = data_config.augment.close_mosaic
    return plan.batches(
        dataset,
        preprocessing,
        short_sides=data_config.augment.short_sides,
        balance=data_config.balance,
        may_mix=lambda step: not closed or progress(step) < 1 - closed,
        **options,
    )


def training_batches(
    dataset: Dataset,
    preprocessing: Preprocessing,
    *,
    data_config: DataConfig,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    shard: tuple[int, int] = (0, 1),
    epochs: bool = False,
    progress: Callable[[int], float] = lambda step: 0.0,
    tile: int = 0,
) -> tf.data.Dataset:
    """Yield training batches without end; the same for the same arguments.

    An image that cannot be read gives a blank one whose every anchor is ignored, and is noted in
    `dataset.problems`: it adds nothing, and the order of the others stays.

    Args:
        data_config: its `augment`, `balance` and `max_boxes` are used.
        batch_size: of all workers together.
        start_step: the number of batches to leave out, without reading them.
        shard: (number of this worker, how many there are): of each batch it gives, and reads, the
            worker's own equal part.
        epochs: end after as many batches as the images of a pass fill, at least one; each further
            iteration continues where the one before ended.
        progress: share of the run that is done, 0..1, before the batch of a step; the last
            `augment.close_mosaic` of the run mixes no images. It is asked when the batch is
            planned, which is a few batches before it is trained on.
        tile: show random windows of this side, in pixels of the image, instead of whole images.

    Returns:
        Of (images (B, ch, cw, 3) float32 RGB 0..255, {"boxes": (B, G, 4) float32 xyxy pixels of
        the input, "classes": (B, G) int32 with -1 as padding, "ignore": (B, G) bool}).
    """
    if start_step == 0:
        note_crowded(dataset, data_config, tile)
    worker, workers = shard
    mine = slice(worker * batch_size // workers, (worker + 1) * batch_size // workers)
    per_pass = images_per_pass(dataset, data_config.balance, tile)
    length = max(1, per_pass // batch_size) if epochs else None
    starts = itertools.count(start_step, length or 0)
    planned = partial(
        training_plan, dataset, preprocessing, data_config=data_config, seed=seed, tile=tile
    )

    def batches():
        found = planned(batch_size=batch_size, start_step=next(starts), progress=progress)
        return (_part(batch, mine) for batch in itertools.islice(found, length))

    example = _renderer(dataset, preprocessing, data_config, tile)
    loaded = _examples(batches).map(
        example, num_parallel_calls=_parallel_images(), deterministic=True
    )
    # A plan's batch is whole and of one canvas, so batches are formed by counting.
    batched = loaded.batch(mine.stop - mine.start, drop_remainder=True)
    if length is not None:
        batched = batched.apply(tf.data.experimental.assert_cardinality(length))
    return _tuned(batched)


def _renderer(
    dataset: Dataset, preprocessing: Preprocessing, data_config: DataConfig, tile: int
) -> Callable:
    """Return the graph function from a row of the plan to its image and padded labels."""
    config = data_config.augment
    max_boxes, regions = room_for_boxes(dataset, data_config, tile)
    fetch = fetcher(dataset, reduced=True)
    window = windows(dataset, tile)
    change = own_changes(dataset, config)

    def example(row):
        def render_example(source):
            index, canvas, seed = source.index, source.canvas, source.seed
            is_planned = (index == row["index"]) & tf.reduce_all(canvas == row["canvas"])
            start, size = window(index, seed)
            resized_size = tf.where(is_planned, row["size"], fit_within(size, canvas))
            view = choose_view(size, resized_size, canvas, seed=seed, config=config)
            found = fetch(index, view._replace(start=start + view.start), canvas)
            return _rendered(
                found, canvas=canvas, seed=seed, config=config, preprocessing=preprocessing
            )

        recipe = draw_mix(row, config, may_mix=row["may_mix"])
        mixed = mix(recipe, render_wanted(recipe, render_example), config)
        image, labels = change(row, mixed)
        canvas = tf.shape(image)[:2]
        return image, pad_labels(labels, canvas, max_boxes=max_boxes, regions=regions)

    return example


def render_wanted(recipe: Recipe, render: Callable) -> list:
    """Return an example per source of `recipe`; empty, and not read, where none is wanted."""
    own, *others = recipe.sources
    return [render(own)] + [
        tf.cond(source.is_wanted, partial(render, source), _no_example) for source in others
    ]


def _no_example():
    labels = {
        "boxes": tf.zeros([0, 4]),
        "classes": tf.zeros([0], tf.int32),
        "ignore": tf.zeros([0], tf.bool),
    }
    return tf.zeros([0, 0, 3]), labels


def _part(batch: plan.Batch, rows: slice) -> plan.Batch:
    """Return some of the images of a batch."""
    return batch._replace(
        indices=batch.indices[rows],
        seeds=batch.seeds[rows],
        partners=batch.partners[rows],
        sizes=batch.sizes[rows],
    )


def _rendered(fetched, *, canvas, seed, config, preprocessing):
    """Return the example of a fetched image: one that teaches nothing if it cannot be read."""
    is_readable = fetched.source_size[0] > 0
    no_window = View(tf.zeros(2, tf.int32), tf.ones(2, tf.int32), canvas, *fetched.view[3:])
    view = tf.nest.map_structure(
        lambda seen, blank: tf.where(is_readable, seen, blank), fetched.view, no_window
    )
    image, labels = render(
        fetched.pixels,
        fetched.labels,
        view,
        source_size=tf.maximum(fetched.source_size, 1),
        canvas=canvas,
        seed=seed,
        config=config,
        preprocessing=preprocessing,
    )
    return image, tf.cond(is_readable, lambda: labels, lambda: _ignore_all(canvas))


def evaluation_dataset(
    dataset: Dataset, preprocessing: Preprocessing, *, batch_size: int
) -> tf.data.Dataset:
    """Return each image once, as prediction sees it; batches of one canvas, the last smaller.

    Returns:
        Of (indices (B,) int32 of the records, images (B, ch, cw, 3) float32 RGB 0..255, sizes
        (B, 2) int32 (height, width) of the resized images in them, source_sizes (B, 2) int32 of
        the stored ones). An image that cannot be read has the sizes 0, 0, is blank and is noted
        in `dataset.problems`.
    """
    batches = list(plan.evaluation_batches(dataset, preprocessing, batch_size=batch_size))
    counts = tf.constant([len(batch.indices) for batch in batches], tf.int64)
    fetch = fetcher(dataset, reduced=False)
    known_sizes = tf.constant([(r.height, r.width) for r in dataset.records], tf.int32)

    def example(row):
        nowhere = tf.zeros(2, tf.int32)
        asked = View(nowhere, known_sizes[row["index"]], row["size"], nowhere, tf.constant(0))
        pixels, _, view, source_size = fetch(row["index"], asked, row["canvas"])
        shown = tf.where(view.size > 0, view.size, row["canvas"])
        image = preprocessing.pad(preprocessing.resize(pixels, shown), row["canvas"])
        return row["batch"], (row["index"], image, view.size, source_size)

    loaded = _examples(lambda: iter(batches)).map(
        example, num_parallel_calls=_parallel_images(), deterministic=True
    )
    grouped = loaded.group_by_window(
        key_func=lambda number, _: number,
        reduce_func=lambda _, group: group.map(lambda _, parts: parts).batch(batch_size),
        window_size_func=lambda number: tf.gather(counts, number),
    )
    return _tuned(grouped)


def _examples(make_batches: Callable[[], Iterator[plan.Batch]]) -> tf.data.Dataset:
    """Yield one row of the plan per image, in order: its batch's number, index, seed, ..."""

    def rows():
        for number, batch in enumerate(make_batches()):
            count = len(batch.indices)
            yield {
                "batch": np.full(count, number, np.int64),
                "index": batch.indices,
                "seed": batch.seeds,
                "partners": batch.partners,
                "canvas": np.tile(np.array(batch.canvas, np.int32), (count, 1)),
                "size": batch.sizes,
                "may_mix": np.full(count, batch.may_mix),
            }

    signature = {
        "batch": tf.TensorSpec([None], tf.int64),
        "index": tf.TensorSpec([None], tf.int32),
        "seed": tf.TensorSpec([None, 2], tf.int32),
        "partners": tf.TensorSpec([None, plan.PARTNERS], tf.int32),
        "canvas": tf.TensorSpec([None, 2], tf.int32),
        "size": tf.TensorSpec([None, 2], tf.int32),
        "may_mix": tf.TensorSpec([None], tf.bool),
    }
    return tf.data.Dataset.from_generator(rows, output_signature=signature).unbatch()


def _ignore_all(canvas):
    """Return the labels of an image that teaches nothing: one ignored box, over every anchor."""
    height, width = tf.unstack(tf.cast(canvas, tf.float32))
    corner = tf.stack([-BLANK_MARGIN, -BLANK_MARGIN, width + BLANK_MARGIN, height + BLANK_MARGIN])
    return {
        "boxes": corner[None],
        "classes": tf.zeros([1], tf.int32),
        "ignore": tf.ones([1], tf.bool),
    }


def _cores() -> int:
    return os.cpu_count() or 1


def _parallel_images() -> int:
    """Return how many images may be rendered or wait for a slower one before them, in order."""
    return _cores() + 2


def _tuned(batches: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # Each op on one thread, and no more threads than cores: images are what runs in parallel.
    options.threading.max_intra_op_parallelism = 1
    options.threading.private_threadpool_size = _cores()
    # A strategy splits each global batch over its replicas; files are not what it may split.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return without_autotuning(batches.with_options(options).prefetch(2))
