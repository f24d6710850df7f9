"""The time from nothing to the first detection, by processes of their own.

Files are in the system's cache, because each process runs once before it is timed.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.exporting.saved_model.folder import export_saved_model
from keras_retinanet.exporting.tflite.conversion import export_tflite
from keras_retinanet.files.images.decoding import image_size
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.saving import save_model
from keras_retinanet.processes.child_processes import SAFE_PATH
from keras_retinanet.speed.tables import Table, time_row
from keras_retinanet.speed.timing import measure

# What a process does; it prints the seconds of each step.
STEPS = ("import", "load", "first", "second")
_CLOCK = """
import json, sys, time
marks = [time.perf_counter()]
def mark(): marks.append(time.perf_counter())
"""
_PRINT = "\nprint(json.dumps([after - before for before, after in zip(marks, marks[1:])]))"
_OURS = """
from keras_retinanet.exporting import load_detector
load_detector; mark()
detector = load_detector(sys.argv[1]); mark()
detector.detect(sys.argv[2]); mark()
detector.detect(sys.argv[2]); mark()
"""
_LITERT = """
import os
import numpy as np
from ai_edge_litert.interpreter import Interpreter
mark()
interpreter = Interpreter(model_path=sys.argv[1], num_threads=os.cpu_count())
interpreter.allocate_tensors(); mark()
details = interpreter.get_input_details()[0]
for _ in range(2):
    interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
    interpreter.invoke(); mark()
"""


def start(model: RetinaNet, encoded: bytes, folder: Path, *, repeat: int) -> list[Table]:
    """Time the start of the command line, of imports, and of detectors from each kind of file.

    Args:
        encoded: the image to detect in.
        folder: that files are written to.
    """
    image = folder / "image.jpg"
    image.write_bytes(encoded)
    files = _files(model, image_size(encoded), folder)
    code = dict.fromkeys(files, _CLOCK + _OURS + _PRINT)
    commands = {
        "keras_retinanet --help": ["-m", "keras_retinanet", "--help"],
        "import keras_retinanet": ["-c", "import keras_retinanet"],
        "import tensorflow": ["-c", "import tensorflow"],
        **{name: ["-c", code[name], str(files[name]), str(image)] for name in files},
    }
    notes = []
    if find_spec("ai_edge_litert"):
        litert = ["-c", _CLOCK + _LITERT + _PRINT, str(files["TFLite"])]
        commands["TFLite by LiteRT alone"] = litert
    else:
        notes.append("TFLite without TensorFlow: not timed, ai-edge-litert is not installed.")
    marks: dict[str, list[list[float]]] = {name: [] for name in commands}
    calls = {name: _process(words, marks[name]) for name, words in commands.items()}
    times = measure(calls, repeat=repeat, shortest=0.0)
    rows = [
        time_row(name, times[name], total=times["import tensorflow"].median)
        | _steps(marks[name][-repeat:])
        for name in commands
    ]
    for row in rows:
        row["of import tensorflow"] = row.pop("of total")
    return [Table("Start: ms of a new process, with those of its steps", rows, notes)]


def _files(model: RetinaNet, size: tuple[int, int], folder: Path) -> dict[str, Path]:
    """Write the model in each form; a TFLite file for the input of an image of `size`."""
    preprocessing = model.preprocessing
    canvas = preprocessing.canvas_size(*preprocessing.resized_size(*size))
    files = {
        ".keras": folder / "model.keras",
        "SavedModel": folder / "saved_model",
        "TFLite": folder / "model.tflite",
    }
    save_model(model, files[".keras"])
    export_saved_model(model, files["SavedModel"], say=lambda line: None)
    export_tflite(model, files["TFLite"], image_size=canvas, say=lambda line: None)
    return files


def _process(words: list[str], marks: list[list[float]]) -> Callable[[], None]:
    """Return a call that runs Python with `words`, and keeps what it printed of its steps."""
    quiet = {SAFE_PATH: "1", "TF_CPP_MIN_LOG_LEVEL": "2"}

    def run() -> None:
        done = subprocess.run(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
            env={**os.environ, **quiet},
        )
        last = (done.stdout.splitlines() or [""])[-1]
        if last.startswith("["):
            marks.append(json.loads(last))

    return run


def _steps(marks: list[list[float]]) -> dict[str, Any]:
    """Return the median milliseconds of each step; None where a process has none."""
    if not marks:
        return dict.fromkeys(STEPS)
    return {
        name: 1000 * float(value)
        for name, value in zip(STEPS, np.median(marks, axis=0), strict=True)
    }
