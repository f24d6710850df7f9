"""What people see: names without control characters that a terminal obeys, and progress.

Progress is a bar on a terminal, and plain lines where the output is a file or a pipe.
"""

import contextlib
import re
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from tqdm import tqdm

# Control characters, marks that change the direction of text, line separators, and surrogates,
# which no encoding has.
_OBEYED = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
)
_IN_OUTPUT = re.compile(f"[{_OBEYED}]")
_IN_NAMES = re.compile(f"[{_OBEYED}\t\n\r]")


def printable(text: str) -> str:
    """Return `text` on one line, with control characters written as escapes."""
    return _IN_NAMES.sub(_escape, text)


def encodable(text: str) -> str:
    """Return `text` with surrogates, which stand for bytes that are not UTF-8, as escapes.

    Where the system's own encoding is not UTF-8 (LC_ALL=C), surrogates also stand for bytes that
    are: these are read as UTF-8.
    """
    with contextlib.suppress(UnicodeEncodeError):  # half a pair of UTF-16
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


@contextlib.contextmanager
def safe_output() -> Iterator[None]:
    """Escape control characters on both standard streams while the block runs.

    Line ends, tabs and carriage returns pass, because progress bars need them. Characters that a
    stream's encoding lacks are escaped too. Use `printable` for names that must stay on one line.
    """
    with (
        contextlib.redirect_stdout(_Escaped(sys.stdout)),
        contextlib.redirect_stderr(_Escaped(sys.stderr)),
    ):
        yield


class _Escaped:
    """A text stream that writes to `stream`."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text` with escapes; return its length."""
        shown = _IN_OUTPUT.sub(_escape, text)
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


# Seconds between two lines: a minute's job prints some, a day's no more than one a minute.
SHORTEST, LONGEST = 10.0, 60.0
PACE = 1 / 100  # of the time so far


def progress(*, disable: bool = False, **options: Any) -> "tqdm | Lines":
    """Return a bar on standard error, or `Lines` if that is no terminal.

    Args:
        disable: show nothing.
        options: total, initial, desc, unit, unit_scale, leave: as tqdm's.
    """
    if disable or sys.stderr.isatty():
        return tqdm(disable=disable, dynamic_ncols=True, **options)
    return Lines(**options)


class Lines:
    """Progress as whole lines: the first step, then some at a pace, and the last one.

    Has of tqdm's bar what this package uses.

    Attributes:
        n: steps so far. total: of all, where it is known; it may be set later.
    """

    def __init__(
        self,
        *,
        total: float | None = None,
        initial: float = 0,
        desc: str = "",
        unit: str = "it",
        unit_scale: bool = False,
        leave: bool = True,
        clock: Any = time.monotonic,
    ):
        self.total, self.n, self._initial = total, initial, initial
        self._name, self._unit, self._scaled, self._leaves = desc, unit.strip(), unit_scale, leave
        self._clock, self._started = clock, clock()
        self._printed: tuple[float, float] | None = None  # number and time of the last line
        self._postfix = ""

    def update(self, n: float = 1) -> None:
        """Count `n` steps more; print a line if it is time."""
        self.n += n
        now = self._clock()
        pace = min(LONGEST, max(SHORTEST, PACE * (now - self._started)))
        if self._printed is None or now >= self._printed[1] + pace:
            self._print(now)

    def set_postfix(self, values: Mapping[str, str]) -> None:
        """Set what the next lines end with."""
        self._postfix = "".join(f", {name} {value}" for name, value in values.items())

    @staticmethod
    def write(text: str, file: TextIO | None = None) -> None:
        """Print a line, to standard output if `file` is None."""
        print(text, file=file or sys.stdout, flush=True)

    def close(self) -> None:
        """Print the last line, unless it stands there already."""
        if self._leaves and self._printed is not None and self._printed[0] != self.n:
            self._print(self._clock())

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _print(self, now: float) -> None:
        self._printed = self.n, now
        seconds, done = now - self._started, self.n - self._initial
        count = f"{self._shown(self.n)} of {self._shown(self.total)}" if self.total else ""
        line = f"{self._name}: {count or self._shown(self.n)}"
        line += "" if self._scaled else f" {self._unit}s"
        line += f", {tqdm.format_interval(seconds)} so far"
        if self.total and done > 0:
            left = seconds / done * max(0.0, self.total - self.n)
            line += f", {tqdm.format_interval(left)} left"
        self.write(f"{line}{self._postfix}", sys.stderr)

    def _shown(self, number: float) -> str:
        return f"{tqdm.format_sizeof(number)}{self._unit}" if self._scaled else f"{number:,.0f}"
