"""Reads an HDF5 file in a process of its own first, which may crash or run out of memory.

HDF5's library checks less than it should: one flipped byte in the heap where long texts lie ends
the process, and a list of texts can claim any size.
"""

import resource
from pathlib import Path

from keras_retinanet.processes import trials
from keras_retinanet.weight_files.checkpoint import Damaged

# Of address space, beyond what Python, NumPy and HDF5 have taken when they are loaded.
ROOM = 512 << 20
# The same where the system does not tell what is taken: most of it is never used.
ROOM_FOR_ALL = 4 << 30
SHOWN_REASON = 200


def limit_memory(size: int) -> None:
    """End this process's growth at what reading `size` bytes can need."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        room = pages * resource.getpagesize() + ROOM
    except (OSError, ValueError):
        room = ROOM_FOR_ALL
    trials.limit_memory(room + 4 * size)


def check_h5(view: memoryview) -> None:
    """Read a file of these bytes elsewhere.

    Raises:
        Damaged: the reading process found a fault, or did not come to its end.
    """
    code, reason = trials.run_trial("keras_retinanet.weight_files.h5_file", "try_h5", view)
    if code is None:
        raise Damaged("HDF5 does not come to an end with it")
    if code != 0:
        raise Damaged("HDF5's library fails on it")
    if reason:
        raise Damaged(" ".join(reason[:SHOWN_REASON].split()))
