"""The peak memory of work that has a process of its own."""

import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from keras_retinanet.errors import UserError
from keras_retinanet.processes.child_processes import hold, lifeline

MIB = 2**20


def peak_of(work: Callable[..., object], *arguments: Any) -> float:
    """Return the peak resident MiB of a new process that calls `work(*arguments)`.

    Args:
        work: a function of a module, which is imported there.
        arguments: what can be pickled.

    Raises:
        UserError: the process failed.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with lifeline(context) as line:
        task = pickle.dumps((work, arguments))  # whose modules are imported after `hold`
        words = (line.reader, sender, task)
        process = context.Process(target=_work, args=words, daemon=True)
        process.start()
        sender.close()
        try:
            answer = receiver.recv()
        except EOFError:
            process.join()
            answer = f"exit code {process.exitcode}, perhaps for lack of memory"
        process.join()
    if isinstance(answer, str):
        raise UserError(
            "Expected the process whose memory is measured to finish. "
            f"Received: {answer}. Use a smaller --image_size or --batch_size."
        )
    return answer / MIB


def _work(line: Connection, sender: Connection, task: bytes) -> None:
    hold(line)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # where TensorFlow greets
    try:
        work, arguments = pickle.loads(task)
        work(*arguments)
        sender.send(peak_memory())
    except Exception as error:
        sender.send(f"{type(error).__name__}: {error}")


def peak_memory() -> int:
    """Return the peak resident bytes of this process.

    Linux's own count: that of `getrusage` starts with the memory of the process's parent.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # macOS counts bytes
