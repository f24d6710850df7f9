"""Delay signals during training to a point from which the run resumes exactly."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from types import FrameType
from typing import Any

from keras_retinanet.processes.signals import ENDING, Terminated, leave_terminal


class Mode(Enum):
    """Effect of a signal."""

    WAITS = "the first waits for `check`; the second is raised at once, in case a step hangs"
    RAISES = "it is raised at once"
    HELD = "it always waits"


class Interruption:
    """Delay Ctrl-C, SIGTERM and SIGHUP within a `with` block.

    Each becomes a `KeyboardInterrupt` or `Terminated`, raised by `check` or as the mode says.
    Signals that were ignored when the block began (`nohup`) stay ignored. Outside of the main
    thread nothing is delayed: Python handles signals only there.
    """

    def __init__(self) -> None:
        self._mode = Mode.WAITS
        self._pending: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *ENDING):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @property
    def is_pending(self) -> bool:
        """Return whether a signal waits."""
        return self._pending is not None

    def pass_on(self) -> None:
        """Wait as if this process had received the signal that another one did."""
        if self._pending is None:
            self._pending = signal.SIGTERM

    def check(self) -> None:
        """Raise the exception of a waiting signal."""
        if self._pending is not None:
            number, self._pending = self._pending, None
            raise _exception(number)

    @contextmanager
    def mode(self, mode: Mode) -> Iterator[None]:
        """Change the effect of signals within the block; the innermost block counts."""
        before, self._mode = self._mode, mode
        try:
            if mode is Mode.RAISES:
                self.check()
            yield
        finally:
            self._mode = before

    def _receive(self, number: int, _: FrameType | None) -> None:
        leave_terminal(number)
        if self._mode is Mode.RAISES or (self._mode is Mode.WAITS and self._pending is not None):
            self._pending = None
            raise _exception(number)
        if self._pending is None:
            with suppress(OSError):  # not by print, which a signal may have broken into
                os.write(2, b"\nstopping; the state is being saved\n")
        self._pending = number


def _exception(number: int) -> KeyboardInterrupt:
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)
