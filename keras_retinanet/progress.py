"""Bars on a terminal; plain lines where the output is a file or a pipe."""

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from tqdm import tqdm

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
