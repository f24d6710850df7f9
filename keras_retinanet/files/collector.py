"""Keep Python's garbage collector away from work that makes millions of objects and no garbage."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_at_rest() -> Iterator[None]:
    """Collect no garbage meanwhile.

    Half a million detections are as many objects that live on; the collector would go through all
    of them again and again, which takes a third of the time.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
