"""An alarm for what hangs: no measure of speed, only an end."""

import contextlib
import signal


class HangError(BaseException):
    """Passes the `except Exception` of whatever hangs."""


def _ring(*_):
    raise HangError("hangs")


@contextlib.contextmanager
def alarm(seconds: float):
    """Ends the block by a `HangError` after `seconds`."""
    previous = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
