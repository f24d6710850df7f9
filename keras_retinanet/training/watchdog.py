"""End a training in which nothing happens any more, and say where its threads stand."""

import contextlib
import faulthandler
import os
import sys
import threading
from collections.abc import Iterator

# The system's "try again later" (EX_TEMPFAIL): a supervisor may start the run again.
HUNG = 75
# How often the time is looked at: a machine that was suspended is not a run that hangs.
LOOK_EVERY = 5.0


class Watchdog:
    """A thread that ends this process if what it watches takes too long.

    A step waits for its images and for other processes inside TensorFlow, where no exception
    reaches it: the process has to end.

    Args:
        minutes: how long one step, or one exchange with other processes, may take; 0: for ever.
    """

    def __init__(self, minutes: float):
        self._limit = 60 * minutes
        self._left: float | None = None  # seconds, while something is watched
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        if self._limit:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._limit:
            self._thread.join()

    def begin(self) -> None:
        """Watch from now on."""
        self._left = self._limit

    def end(self) -> None:
        """Watch no longer."""
        self._left = None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the block."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def _look(self) -> None:
        pause = min(LOOK_EVERY, self._limit / 4)
        while not self._ended.wait(pause):
            left = self._left
            if left is None:
                continue
            self._left = left - pause
            if self._left <= 0:
                self._end_process()

    def _end_process(self) -> None:
        stream = sys.__stderr__ or sys.stderr
        stream.write(
            f"keras_retinanet: error: Expected a step to end within {self._limit / 60:g} minutes "
            "(train.hang_minutes). Received: none; images or another process do not come. The "
            "threads stand at:\n"
        )
        stream.flush()
        faulthandler.dump_traceback(file=stream, all_threads=True)
        os._exit(HUNG)
