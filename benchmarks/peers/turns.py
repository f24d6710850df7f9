"""What the speed scripts of all peers share: a step that waits for its turn, and its facts.

Needs NumPy alone, because each peer runs in an environment of its own. `peers_speed.py` starts
the scripts of a comparison, and lets one after the other take a step: A B C A B C.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

CLASSES = 91  # torchvision's number of outputs for COCO
THRESHOLD = 0.05
OBJECTS = 8  # of an image in training
SIGN = "turn: "  # begins the lines that are for the driver


def arguments(description: str, jobs: list[str]) -> argparse.ArgumentParser:
    """Return a parser of what the driver passes to each script."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--job", choices=jobs, required=True)
    parser.add_argument("--size", type=int, default=800, help="side of the square input, pixels")
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--candidates", type=int, default=500, help="pairs over the threshold")
    parser.add_argument("--files", type=Path, required=True, help="folder of shared weights")
    return parser


def image(size: int) -> np.ndarray:
    """Return an image (size, size, 3) uint8: coarse noise, so that its regions differ."""
    coarse = np.random.default_rng(0).integers(0, 256, (size // 16 + 1, size // 16 + 1, 3))
    return coarse.repeat(16, axis=0).repeat(16, axis=1)[:size, :size].astype(np.uint8)


def truths(size: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes (B, OBJECTS, 4) xyxy in pixels, and their classes (B, OBJECTS) from 0."""
    random = np.random.default_rng(1)
    corners = random.uniform(0, 0.75 * size, (batch_size, OBJECTS, 2))
    sides = random.uniform(0.05 * size, 0.25 * size, corners.shape)
    boxes = np.concatenate([corners, corners + sides], axis=2)
    return boxes.astype(np.float32), random.integers(0, CLASSES - 1, (batch_size, OBJECTS))


def scale_and_bias(logits: np.ndarray, candidates: int) -> tuple[float, float]:
    """Return what makes `candidates` of random class logits, as x * scale + bias, pass THRESHOLD.

    The logits, without a bias, get a standard deviation of 1.
    """
    scale = 1 / float(logits.std())
    at_threshold = np.log(THRESHOLD / (1 - THRESHOLD))
    last = np.partition(logits.ravel(), -candidates - 1)[-candidates - 1]
    return scale, float(at_threshold - last * scale)


def serve(step: Callable[[], object], **facts: object) -> None:
    """Take a step for each line of standard input, and print its seconds and CPU seconds."""
    _say({"ready": True, **facts})
    for _ in sys.stdin:
        cpu, begin = time.process_time(), time.perf_counter()
        step()
        seconds = time.perf_counter() - begin
        _say({"seconds": seconds, "cpu": time.process_time() - cpu, "peak": _peak_mib()})


def _say(content: dict[str, object]) -> None:
    print(SIGN + json.dumps(content), flush=True)


def _peak_mib() -> float:
    """Return the most memory that this process has held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # `getrusage` can contain the peak of the process that started this one
        (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
