"""Start several processes of this machine that train together."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from keras_retinanet.errors import UserError
from keras_retinanet.training.cluster import VARIABLE, of_this_machine

PROGRAM = (sys.executable, "-m", "keras_retinanet")
# How long the others may take to end by themselves after one of them failed.
GRACE_SECONDS = 60
POLL_SECONDS = 0.2
# Below those that systems give to outgoing connections, one of which may take a port between the
# look at it and its use.
PORTS = range(20_000, 32_768)


def launch(words: Sequence[str], *, count: int, program: Sequence[str] = PROGRAM) -> int:
    """Run `count` processes of one cluster, which share this one's output.

    Args:
        words: of the command line.
        program: what runs it.

    Returns:
        0, or the first exit code of a process that is another one.

    Raises:
        KeyboardInterrupt: this process was told to end, by which signal ever; the others were told
            too, and have saved their state.
    """
    ports = free_ports(count)
    processes = [
        subprocess.Popen(
            [*program, *words], env={**os.environ, VARIABLE: of_this_machine(ports, index)}
        )
        for index in range(count)
    ]
    try:
        return _wait(processes)
    except KeyboardInterrupt:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        _wait(processes)
        raise
    finally:
        for process in processes:
            process.kill()
            process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nothing listens on."""
    ports: list[int] = []
    # Not the seeded generator: two programs of one seed would want the same ports.
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise UserError(f"Expected {count} free ports from {PORTS[0]} to {PORTS[-1]}. Received: none.")


def _wait(processes: Sequence[subprocess.Popen]) -> int:
    """Wait until all have ended, or the grace after a failure is over; return the first failure."""
    failed, deadline = 0, float("inf")
    while any(process.poll() is None for process in processes):
        codes = [process.returncode for process in processes if process.returncode]
        if codes and not failed:
            failed, deadline = codes[0], time.monotonic() + GRACE_SECONDS
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
    return failed or next((p.returncode for p in processes if p.returncode), 0)
