"""The real command line with one more backbone, so small that a run of it takes seconds.

A process of its own: `python tiny_command.py train ...`. Without batch norms, whose statistics are
those of a device's own images, so that runs on one device and on several can be compared.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import keras
import kills
from keras import layers

TINY = "tiny"
TIMEOUT = 300
# Keys of a run of 12 steps, evaluated after 4, 8 and 12, with a state of 3, 6, 9 and 12.
SETTINGS = {
    "model.backbone.name": TINY,
    "model.fpn.channels": 16,
    "model.head.channels": 16,
    "model.head.depth": 1,
    "model.preprocessing.short_side": 64,
    "model.preprocessing.long_side": 64,
    "data.shapes_train": 16,
    "data.shapes_val": 4,
    "data.shapes_size": 96,
    "train.batch_size": 4,
    "train.steps": 3,  # of 16 images
    "train.minutes": 0,
    "train.eval_every": 4,
    "train.checkpoint_every": 3,
    "train.optimizer.ema": 0.9,
    "train.optimizer.clip_norm": 1,
    "train.loss.normalizer_momentum": 0.9,
}
STEPS = 12


def tiny(*, name: str) -> keras.Model:
    """Build five convolutions of stride 2."""
    features, x = {}, keras.Input((None, None, 3))
    inputs = x
    for level, filters in enumerate((8, 8, 16, 16, 16), start=1):
        x = layers.Conv2D(
            filters, 3, 2, padding="same", activation="relu", name=f"stage{level}_conv"
        )(x)
        features[f"c{level}"] = x
    return keras.Model(inputs, {key: features[key] for key in ("c3", "c4", "c5")}, name=name)


def train_words(out: Path, **settings) -> list[str]:
    """Return the words of a training of `SETTINGS` into `out`; `settings` has "_" for "."."""
    changed = {key.replace("__", "."): value for key, value in settings.items()}
    words = ["train", "shapes", "--out", str(out)]
    for key, value in {**SETTINGS, **changed}.items():
        words += ["--set", f"{key}={value}"]
    return words


def start(*words: str | Path, **options) -> subprocess.Popen:
    """Start the command; what it prints is read by `finish`."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(
        [sys.executable, __file__, *map(str, words)], **{"errors": "replace", **pipes, **options}
    )


def finish(process: subprocess.Popen, *, timeout: float = TIMEOUT) -> tuple[int, str]:
    """Return the exit code and what was printed."""
    try:
        printed, _ = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return process.returncode, printed


def run(*words: str | Path, **options) -> tuple[int, str]:
    """Run the command; return the exit code and what it printed."""
    return finish(start(*words, **options))


def run_cluster(*words: str | Path, count: int = 2) -> list[tuple[int, str]]:
    """Run the command as processes of one cluster; return the codes and what they printed."""
    return [finish(process) for process in start_cluster(*words, count=count)]


def start_cluster(
    *words: str | Path,
    count: int = 2,
    variables: Mapping[int, Mapping[str, str]] = MappingProxyType({}),
) -> list[subprocess.Popen]:
    """Start the command as the processes of one cluster.

    Args:
        variables: number of a process -> what its environment has beside this one's.
    """
    from keras_retinanet.training.cluster import VARIABLE, of_this_machine
    from keras_retinanet.training.launching import free_ports

    ports = free_ports(count)
    return [
        start(
            *words,
            env={**os.environ, VARIABLE: of_this_machine(ports, index), **variables.get(index, {})},
        )
        for index in range(count)
    ]


def wait_for(condition, process: subprocess.Popen) -> None:
    """Wait until `condition()` holds; fail if `process` ends before."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise AssertionError(f"it ended before: {process.communicate()[0]}")
        time.sleep(0.02)


def stop_where_asked() -> None:
    """Have the process stop itself (SIGSTOP) once, so that a signal can be sent at that place.

    STOP_AT=N: after step N, before its callbacks. STOP_AT=evaluation: in the next evaluation.
    """
    from keras_retinanet.training import callbacks, validation

    def stop():
        os.environ.pop("STOP_AT")
        os.kill(os.getpid(), signal.SIGSTOP)

    class Pace(callbacks.Pace):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if os.environ.get("STOP_AT") == str(self.clock.step):
                stop()

    class Validation(validation.Validation):
        def __call__(self, model):
            if os.environ.get("STOP_AT") == "evaluation":
                stop()
            return super().__call__(model)

    callbacks.Pace = Pace
    from keras_retinanet.training import run_callbacks

    run_callbacks.Validation = Validation


def is_stopped(process: subprocess.Popen) -> bool:
    """Whether the process has stopped itself."""
    state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "T"


def main() -> None:
    """Run the command line."""
    from keras_retinanet import cli
    from keras_retinanet.modeling.backbones import BACKBONES

    BACKBONES[TINY] = tiny
    if "STOP_AT" in os.environ:
        stop_where_asked()
    if kills.VARIABLE in os.environ:
        kills.kill_where_asked()
    cli.main()


if __name__ == "__main__":
    main()
