"""Which images make up which batch: integers alone, no image is read.

The plan is a pure function of the sizes, the seed and the position, so a training that resumes at
step s sees what it would have seen; but `may_mix` is answered by the clock in a run limited in
minutes. The images of a batch share one canvas; B is their number.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from keras_retinanet.data.pipeline.balance import draw_epoch, draws_per_pass
from keras_retinanet.data.pipeline.random_windows import window_size, windows_per_epoch
from keras_retinanet.data.records import Dataset
from keras_retinanet.modeling.preprocessing import Preprocessing

Canvas = tuple[int, int]
# Seeds are non-negative int32.
MAX_SEED = 2**31 - 1
# A mosaic is of four images.
PARTNERS = 3


class Batch(NamedTuple):
    """B images of one canvas.

    Attributes:
        indices: (B,) int32 into the dataset's records.
        seeds: (B, 2) int32, for each image's augmentation; zeros in evaluation.
        partners: (B, PARTNERS) int32, other records to mix each image with; zeros in evaluation.
        canvas: (height, width) in pixels of the network's input.
        sizes: (B, 2) int32 (height, width) after the resize, before the padding.
        may_mix: whether the images may be mixed with others.
    """

    indices: np.ndarray
    seeds: np.ndarray
    partners: np.ndarray
    canvas: Canvas
    sizes: np.ndarray
    may_mix: bool = True


class Shapes:
    """Resized size and canvas of a record, or of its windows, worked out once for each size."""

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing, tile: int = 0):
        self._sizes = [window_size(r.height, r.width, tile) for r in dataset.records]
        self._preprocessing = preprocessing
        self._known: dict[tuple, tuple[Canvas, tuple[int, int]]] = {}

    def __call__(self, index: int, short_side: int | None = None) -> tuple[Canvas, tuple[int, int]]:
        key = (self._sizes[index], short_side)
        if key not in self._known:
            resized = self._preprocessing.resized_size(*self._sizes[index], short_side)
            canvas = self._preprocessing.canvas_size(resized[0], resized[1], short_side)
            self._known[key] = (canvas, resized)
        return self._known[key]


def batches(
    dataset: Dataset,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    seed: int,
    short_sides: Sequence[int] = (),
    balance: float = 0.0,
    may_mix: Callable[[int], bool] = lambda step: True,
    start_step: int = 0,
    tile: int = 0,
) -> Iterator[Batch]:
    """Return training batches without end, from batch number `start_step` on.

    Each epoch draws all records in a new order, as often as `draws_per_pass` says. A
    record waits until `batch_size` of its canvas have come: one that is left over goes into a
    batch of a later epoch, never lost.

    Args:
        short_sides: multi-scale: the short side is drawn from these for each image and epoch.
        balance: threshold of `repeat_factors`; their rounding lets the length of an epoch vary.
        may_mix: asked once for each batch, by its number, whether its images may be mixed.
        tile: side of the windows that are shown of the images; 0: whole images.

    Raises:
        ValueError: the dataset has no records.
    """
    if not len(dataset.records):
        raise ValueError(
            f"Expected images to train on. Received: none in {dataset.name}, "
            f"split={dataset.split}. Look at what was skipped while loading."
        )
    factors = draws_per_pass(dataset, balance, tile)
    shapes = Shapes(dataset, preprocessing, tile)
    found = _all_batches(shapes, factors, batch_size, seed, short_sides)
    remaining = enumerate(itertools.islice(found, start_step, None), start=start_step)
    return (batch._replace(may_mix=may_mix(step)) for step, batch in remaining)


def _all_batches(shapes, factors, batch_size, seed, short_sides) -> Iterator[Batch]:
    waiting: dict[Canvas, list[tuple]] = defaultdict(list)
    for epoch in itertools.count():
        random = np.random.default_rng([seed, epoch])
        records = draw_epoch(factors, seed, epoch)
        count = len(records)
        order = random.permutation(records).tolist()
        seeds = random.integers(MAX_SEED, size=(count, 2), dtype=np.int32)
        sides = random.choice(short_sides, count).tolist() if len(short_sides) else [None] * count
        partners = records[random.integers(count, size=(count, PARTNERS), dtype=np.int32)]
        for index, side, *drawn in zip(order, sides, seeds, partners, strict=True):
            canvas, resized = shapes(index, side)
            queue = waiting[canvas]
            queue.append((index, *drawn, resized))
            if len(queue) == batch_size:
                yield _batch(canvas, waiting.pop(canvas))


def evaluation_batches(
    dataset: Dataset, preprocessing: Preprocessing, *, batch_size: int
) -> Iterator[Batch]:
    """Yield each record once, in order within its canvas; the last batch of a canvas is smaller."""
    shapes = Shapes(dataset, preprocessing)
    waiting: dict[Canvas, list[tuple]] = defaultdict(list)
    not_drawn = np.zeros(2, np.int32), np.zeros(PARTNERS, np.int32)
    for index in range(len(dataset.records)):
        canvas, resized = shapes(index, None)
        waiting[canvas].append((index, *not_drawn, resized))
        if len(waiting[canvas]) == batch_size:
            yield _batch(canvas, waiting.pop(canvas))
    for canvas, queue in waiting.items():
        yield _batch(canvas, queue)


def canvas_counts(
    dataset: Dataset,
    preprocessing: Preprocessing,
    short_sides: Sequence[int] = (),
    tile: int = 0,
) -> Counter[Canvas]:
    """Return how often each canvas comes in one epoch, every short side counted once."""
    shapes = Shapes(dataset, preprocessing, tile)
    sides: Sequence[int | None] = short_sides or (None,)
    counts: Counter[Canvas] = Counter()
    for index, draws in enumerate(windows_per_epoch(dataset, tile).tolist()):
        for side in sides:
            counts[shapes(index, side)[0]] += draws
    return counts


def _batch(canvas: Canvas, queue: list[tuple]) -> Batch:
    indices, seeds, partners, sizes = (
        np.array(part, np.int32) for part in zip(*queue, strict=True)
    )
    return Batch(indices, seeds, partners, canvas, sizes)
