"""Reads an HDF5 file in a process of its own first, which may crash or run out of memory.

HDF5's library checks less than it should: one flipped byte in the heap where long texts lie ends
the process, and a list of texts can claim any size. What this process survives, the caller can
read; its standard input is the file.
"""

import resource
import subprocess
import sys
from pathlib import Path

from keras_retinanet.checkpoints.checkpoint import Damaged

# Its path is this process's without the current folder, whose modules could be anybody's. The alarm
# ends it where this process was killed meanwhile, whatever HDF5 is doing.
PROGRAM = (
    "import signal, sys; signal.alarm(int(sys.argv[2])); "
    "sys.path[:] = [sys.argv[1], *filter(None, sys.path)]; "
    "from keras_retinanet.checkpoints.h5_file import try_h5; try_h5()"
)
# Of address space, most of it never used: Python and NumPy with a thread a core.
ROOM = 4 << 30
SECONDS = 300


def limit_memory(size: int) -> None:
    """Ends this process's growth at what reading `size` bytes can need."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = ROOM + 4 * size
    resource.setrlimit(
        resource.RLIMIT_AS,
        (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard),
    )


def check_h5(view: memoryview) -> None:
    """Reads a file of these bytes elsewhere.

    Raises:
        Damaged: the reading process did not come to its end.
    """
    root = str(Path(__file__).parents[2])
    try:
        trial = subprocess.run(
            [sys.executable, "-c", PROGRAM, root, str(SECONDS)],
            input=view,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise Damaged("HDF5 does not come to an end with it") from error
    if trial.returncode != 0:
        raise Damaged("HDF5's library fails on it")
