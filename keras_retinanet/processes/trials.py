"""Run what may crash, hang or take all memory in a process of its own first.

What that process survives with a file, this one can do with it.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

# Its path is this process's without the current folder, whose modules could be anybody's. The alarm
# ends it where this process was killed meanwhile, whatever a library is doing.
PROGRAM = (
    "import sys; sys.path[:] = [sys.argv[1], *filter(None, sys.path)]; "
    "import signal; signal.alarm(int(sys.argv[2])); "
    "import importlib; getattr(importlib.import_module(sys.argv[3]), sys.argv[4])()"
)
SECONDS = 300


def run_trial(
    module: str, function: str, content: bytes | memoryview, **environment: str
) -> tuple[int | None, str]:
    """Call a function of this package in another process.

    Args:
        module, function: their names; it takes nothing.
        content: its standard input.
        environment: variables that it has beside this process's.

    Returns:
        Its exit code, None where it came to no end within `SECONDS`, and what it printed.
    """
    root = str(Path(__file__).parents[2])
    try:
        trial = subprocess.run(
            [sys.executable, "-c", PROGRAM, root, str(SECONDS), module, function],
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return trial.returncode, trial.stdout.decode("utf-8", "replace").strip()


def limit_memory(room: int) -> None:
    """End this process's growth at `room` bytes of address space."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(
        resource.RLIMIT_AS, (room if hard == resource.RLIM_INFINITY else min(room, hard), hard)
    )
