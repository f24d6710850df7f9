"""SIGTERM and SIGHUP end a command as Ctrl-C does: by an exception in the main thread.

So `finally` blocks run, temporary files go, and code that saves on KeyboardInterrupt saves.
"""

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

# SIGTERM: pre-emption, `docker stop`, Slurm, `timeout`. SIGHUP: the terminal was closed.
ENDING = (signal.SIGTERM, signal.SIGHUP)
SHELL_BASE = 128  # a shell's exit code for a signal is this plus its number


class Terminated(KeyboardInterrupt):
    """The process was asked to end by a signal other than Ctrl-C's.

    Attributes:
        signal: which.
    """

    def __init__(self, number: int):
        self.signal = signal.Signals(number)
        super().__init__(self.signal.name)


def exit_code(error: KeyboardInterrupt) -> int:
    """Return the exit code after `error`: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return SHELL_BASE + (error.signal if isinstance(error, Terminated) else signal.SIGINT)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raise `Terminated` in the block when SIGTERM or SIGHUP comes.

    A signal that the parent had this process ignore (`nohup`) stays ignored. In another thread
    than the main one nothing changes: Python handles signals in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Any] = {}
    try:
        for number in ENDING:
            # None: a handler that was not installed from Python; it is left alone as well.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, _raise)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise(number: int, _: FrameType | None) -> None:
    leave_terminal(number)
    # `timeout` sends SIGTERM twice, a closed terminal SIGHUP: the second must not break off the
    # cleaning up after the first. One that comes later counts: the first may have been swallowed.
    if not _is_ending():
        raise Terminated(number)


def _is_ending() -> bool:
    """Return whether a `finally` or `except` block is running because of a signal."""
    error = sys.exception()
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def leave_terminal(number: int) -> None:
    """Drop what is printed after a SIGHUP if the terminal is gone: each line is an OSError."""
    if number != getattr(signal, "SIGHUP", None):
        return
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError as error:
            if error.errno == errno.EIO:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
