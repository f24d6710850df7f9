"""Run a .tflite file in a process of its own first, for the interpreter may end its process.

From a path TensorFlow Lite checks nothing: of 50 files with a changed byte a third crashed it. From
memory it checks the file's structure, and none did; but operators with too few inputs still do.
What a first process survives with an empty image is remembered by its digest, and so is what
`export` wrote. Against a file that is made to take the process over this is no protection.
"""

import hashlib
import os
import resource
import sys
import warnings
from pathlib import Path
from typing import Any

from keras_retinanet.errors import UserError
from keras_retinanet.files.downloads import cache_folder
from keras_retinanet.processes import trials

KNOWN_FILE = "tflite_tried.txt"
# Of address space, beside some times the file: TensorFlow's libraries and a thread a core.
ROOM = 16 << 30
# Exit code of `run_once` after an error that the interpreter reported.
REPORTED = 3
SHOWN_REASON = 150


def make_interpreter(content: bytes) -> Any:
    """Return TensorFlow Lite's interpreter of a file's bytes, ready to run."""
    import tensorflow as tf

    with warnings.catch_warnings():
        # It advises to install ai-edge-litert; what TensorFlow brings along runs the same files.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = tf.lite.Interpreter(model_content=content, num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    return interpreter


def try_tflite(path: Path, content: bytes) -> None:
    """Run a file elsewhere, unless one of these bytes was run before.

    Args:
        path: named in errors.
        content: of the file.

    Raises:
        UserError: the process crashed, did not come to an end or reported an error.
    """
    digest = hashlib.sha256(content).hexdigest()
    if _entry(digest) in _known():
        return
    problem = _problem(content)
    if problem is not None:
        raise UserError(
            f"Expected a .tflite file that TensorFlow Lite can run. Received: {path}, {problem}. "
            "It is damaged, or made to do harm: get it again from its author."
        )
    remember(digest)


def _problem(content: bytes) -> str | None:
    """Return what went wrong with a file in another process; None: nothing."""
    quiet = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    code, reason = trials.run_trial(__name__, "run_once", content, **quiet)
    if code is None:
        return f"which does not come to an end within {trials.SECONDS} s"
    if code == REPORTED:
        lines = reason.splitlines() or ["no reason given"]
        return f"which it refuses: {lines[-1][:SHOWN_REASON]}"
    return "with which its process crashes" if code else None


def run_once() -> None:
    """Run the file of standard input with zeros for its image: the other process's program."""
    content = sys.stdin.buffer.read()
    trials.limit_memory(ROOM + 8 * len(content))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import numpy as np

    try:
        interpreter = make_interpreter(content)
        for details in interpreter.get_input_details():
            zeros = np.zeros(details["shape"], details["dtype"])
            interpreter.set_tensor(details["index"], zeros)
        interpreter.invoke()
        for details in interpreter.get_output_details():
            interpreter.get_tensor(details["index"])
    except Exception as error:  # whatever its parser raises
        print(ascii((str(error).splitlines() or [type(error).__name__])[0])[1:-1])
        sys.exit(REPORTED)


# ----------------------------------------------------------------------------- what was run before


def remember(digest: str) -> None:
    """Keep that a file of this SHA-256 ran, where the user's cache can be written."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with (cache_folder() / KNOWN_FILE).open("a", encoding="ascii") as stream:
            stream.write(_entry(digest) + "\n")
    except OSError:
        pass  # it is tried again


def _known() -> set[str]:
    try:
        return set((cache_folder() / KNOWN_FILE).read_text(encoding="ascii").splitlines())
    except (OSError, UnicodeDecodeError):
        return set()


def _entry(digest: str) -> str:
    import tensorflow as tf

    return f"{digest} {tf.__version__}"
