"""Reads an HDF5 file in a process of its own first, which may crash or run out of memory.

HDF5's library checks less than it should: one flipped byte in the heap where long texts lie ends
the process, and a list of texts can claim any size. What this process survives, the caller can
read; its standard input is the file, its standard output what is wrong with it.
"""

import resource
import subprocess
import sys
from pathlib import Path

from keras_retinanet.weight_files.checkpoint import Damaged

# Its path is this process's without the current folder, whose modules could be anybody's. The alarm
# ends it where this process was killed meanwhile, whatever HDF5 is doing.
PROGRAM = (
    "import sys; sys.path[:] = [sys.argv[1], *filter(None, sys.path)]; "
    "import signal; signal.alarm(int(sys.argv[2])); "
    "from keras_retinanet.weight_files.h5_file import try_h5; print(try_h5())"
)
# Of address space, beyond what Python, NumPy and HDF5 have taken when they are loaded.
ROOM = 512 << 20
# The same where the system does not tell what is taken: most of it is never used.
ROOM_FOR_ALL = 4 << 30
SHOWN_REASON = 200
SECONDS = 300


def limit_memory(size: int) -> None:
    """End this process's growth at what reading `size` bytes can need."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        room = pages * resource.getpagesize() + ROOM
    except (OSError, ValueError):
        room = ROOM_FOR_ALL
    limit = room + 4 * size
    resource.setrlimit(
        resource.RLIMIT_AS,
        (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard),
    )


def check_h5(view: memoryview) -> None:
    """Read a file of these bytes elsewhere.

    Raises:
        Damaged: the reading process found a fault, or did not come to its end.
    """
    root = str(Path(__file__).parents[2])
    try:
        trial = subprocess.run(
            [sys.executable, "-c", PROGRAM, root, str(SECONDS)],
            input=view,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise Damaged("HDF5 does not come to an end with it") from error
    if trial.returncode != 0:
        raise Damaged("HDF5's library fails on it")
    reason = (trial.stdout or b"").decode("utf-8", "replace").strip()
    if reason:
        raise Damaged(" ".join(reason[:SHOWN_REASON].split()))
