"""Time calls in turn, and notice when other processes used the processor meanwhile."""

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import psutil

# Processor time of others above which a repeat does not count, in cores, and what the system's
# clock, which counts in hundredths of a second, may be off by in a repeat, in seconds.
OTHERS, CLOCK = 1 / 8, 0.02
# Seconds of a repeat: a shorter call is made several times in it.
SHORTEST = 0.2
# A disturbed repeat is made again, but there are no more than this many times those asked for.
MOST_ROUNDS = 2


@dataclass(frozen=True)
class Times:
    """The times of one call.

    Attributes:
        seconds: of each repeat that counts.
        disturbed: others used the processor in all repeats; these times are of all of them.
    """

    seconds: tuple[float, ...]
    disturbed: bool = False

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def quartiles(self) -> tuple[float, float]:
        low, high = np.quantile(self.seconds, (0.25, 0.75))
        return float(low), float(high)


def measure(
    calls: Mapping[str, Callable[[], object]],
    *,
    repeat: int,
    wait: Callable[[], object] = lambda: None,
    shortest: float = SHORTEST,
) -> dict[str, Times]:
    """Return the times of each call, after one call of each that is not timed.

    The calls are made in turn, so that a slow minute slows all of them.

    Args:
        calls: by name. One that returns a float has measured its own seconds.
        repeat: how many undisturbed repeats of each to take.
        wait: called after each repeat, in its time, to wait for devices.
        shortest: seconds of a repeat; 0: a repeat is one call.
    """
    counts = {name: _calls_in(call, shortest, wait) for name, call in calls.items()}
    quiet: dict[str, list[float]] = {name: [] for name in calls}
    every: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(MOST_ROUNDS * repeat):
        for name, call in calls.items():
            if len(quiet[name]) == repeat:
                continue
            seconds, is_quiet = _repeat(call, counts[name], wait)
            every[name].append(seconds)
            quiet[name] += [seconds] if is_quiet else []
    return {
        name: Times(tuple(quiet[name] or every[name]), disturbed=not quiet[name]) for name in calls
    }


def _calls_in(call: Callable[[], object], shortest: float, wait: Callable[[], object]) -> int:
    """Warm up; return how many calls last as long as a repeat."""
    call()  # traces and allocates
    if not shortest:
        return 1
    start = time.perf_counter()
    call()
    wait()
    return max(1, math.ceil(shortest / max(time.perf_counter() - start, 1e-6)))


def _repeat(
    call: Callable[[], object], count: int, wait: Callable[[], object]
) -> tuple[float, bool]:
    """Return the seconds of a call, the mean of `count`, and whether others kept still."""
    busy, own = processor_seconds()
    start = time.perf_counter()
    results = [call() for _ in range(count)]
    wait()
    seconds = time.perf_counter() - start
    busy_after, own_after = processor_seconds()
    others = (busy_after - busy) - (own_after - own)
    is_quiet = others <= OTHERS * seconds + CLOCK
    own_seconds = [result for result in results if isinstance(result, float)]
    return (float(np.mean(own_seconds)) if own_seconds else seconds / count), is_quiet


def processor_seconds() -> tuple[float, float]:
    """Return the processor time of all processes, and of this one with its ended children."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # in user too
    return sum(times) - idle - guests, sum(os.times()[:4])
