"""The command `ui` in a process of its own, for tests that ask it as a browser or attacker does."""

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEADLINE = 120


def start(words: list[str], folder: Path) -> subprocess.Popen:
    """Starts `ui` on a free port; its temporary files, and those left by it, lie in `folder`."""
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("needs gradio, the extra ui")
    folder.mkdir(exist_ok=True)
    # A proxy that is not there: nothing may be asked of the network, nor of the page itself by it.
    foreign = {"HTTP_PROXY": "http://127.0.0.1:9", "GRADIO_SERVER_NAME": "0.0.0.0"}
    return subprocess.Popen(
        [sys.executable, "-m", "keras_retinanet", "ui", "--port", "0", *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, **foreign, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
    )


@contextlib.contextmanager
def served(words: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """Gives the process and the address that it printed, once it listens."""
    server = start(words, folder)
    try:
        line = server.stdout.readline()
        yield server, re.search(r"http://127\.0\.0\.1:\d+\S*", line)[0]
    finally:
        server.kill()
        server.communicate()


def upload_folders(folder: Path) -> list[Path]:
    """Returns what holds dropped files, of all starts of `ui` there."""
    return sorted(folder.glob("keras_retinanet_ui_*"))


def wait_for(condition) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
