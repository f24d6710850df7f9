"""Processes that this one starts for part of its work, and that never outlive it."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext

# Without it a child looks for modules in the current folder first, which may be a stranger's.
SAFE_PATH = "PYTHONSAFEPATH"


class Lifeline:
    """A pipe on which nothing is ever sent: its end is the sign for child processes to end.

    The system closes it with this process, whatever ended it. Children get `reader` and call
    `hold` first of all.
    """

    def __init__(self, context: BaseContext):
        self.reader, self._writer = context.Pipe(duplex=False)

    def cut(self) -> None:
        """End the children that hold it at once, whatever they are doing."""
        self._writer.close()


@contextlib.contextmanager
def lifeline(context: BaseContext) -> Iterator[Lifeline]:
    """Give the lifeline of the child processes that the block starts; it is cut at its end."""
    line = Lifeline(context)
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield line
    finally:
        line.cut()
        line.reader.close()
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


def hold(reader: Connection) -> None:
    """End this child process as soon as its lifeline is cut; leave Ctrl-C to the first process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(reader,), daemon=True).start()


def _end_with(reader: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        reader.recv_bytes()
    os._exit(1)  # no cleaning up: a queue whose other end is gone would wait for ever
