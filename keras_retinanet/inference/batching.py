"""Decoded images in batches that memory can hold."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

# Of all images of a batch, but for a single larger one: 150 MB, eight images of 6 megapixels.
BATCH_PIXELS = 50_000_000

T = TypeVar("T")


def bounded_batches(items: Iterable[T], size: int, pixels: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield `items` in lists, which are emptied again before the next item is made.

    Args:
        items: made one at a time.
        size: the most of a list; it ends sooner at `BATCH_PIXELS`.
        pixels: how many an item has.
    """
    batch: list[T] = []
    count = 0
    for item in items:
        batch.append(item)
        count += pixels(item)
        del item
        if len(batch) == size or count >= BATCH_PIXELS:
            yield batch
            # Whoever was given it may hold it still: its images must go.
            batch.clear()
            count = 0
    if batch:
        yield batch
