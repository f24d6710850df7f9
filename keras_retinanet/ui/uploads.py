"""The folder of what is dropped on the page: private, and gone when its process is.

A watcher, started before the folder is made, waits for the end of the process, however it ends,
and removes the folder. The process holds a lock on it too: the next start of `ui` removes a folder
without one, whose watcher was killed as well.
"""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import gettempdir
from typing import Any

PREFIX = "keras_retinanet_ui_"
# A small file takes a block of the disk as well.
BLOCK = 4096
# Its standard input ends with the process, which alone could write to it.
WATCHER = """
import os, shutil, sys
os.read(0, 1)
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


@contextmanager
def upload_folder() -> Iterator[Path]:
    """Make a folder that no other account can read; remove it at any end, SIGKILL included."""
    _remove_left_behind()
    folder = Path(gettempdir()).resolve() / f"{PREFIX}{token_hex(8)}"
    _start_watcher(folder)
    _make_locked(folder)
    try:
        yield folder
    finally:
        # The watcher stays: what a thread may still write is removed by it.
        shutil.rmtree(folder, ignore_errors=True)


def is_inside(path: Any, folder: Path) -> bool:
    """Return whether `path`, its links followed, lies in `folder`, which has none in its own."""
    if not isinstance(path, str | Path):
        return False
    try:
        return folder in Path(path).resolve().parents
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, a circle of links
        return False


def names_only_inside(data: Any, folder: Path) -> bool:
    """Return whether every file that JSON data names, a value of the key "path", is in `folder`."""
    left = [data]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if part.get("path") is not None and not is_inside(part["path"], folder):
                return False
            left.extend(part.values())
        elif isinstance(part, list):
            left.extend(part)
    return True


def size_on_disk(folder: Path) -> int:
    """Return roughly how many bytes the files in a folder take."""
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += max(os.lstat(os.path.join(path, name)).st_size, BLOCK)
    return size


def _start_watcher(folder: Path) -> None:
    """Start a process that waits for the end of this one and removes the folder."""
    waits, _ = os.pipe()  # the other end is never closed: it ends with the process
    command = [sys.executable, "-I", "-S", "-c", WATCHER, str(folder)]
    actions = [
        (os.POSIX_SPAWN_DUP2, waits, 0),
        *((os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)),
    ]
    # In a session of its own it gets neither the Ctrl-C of the terminal nor its end.
    os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setsid=True)
    os.close(waits)


def _make_locked(folder: Path) -> None:
    while True:
        folder.mkdir(mode=0o700)
        # Another start may take a folder without a lock for one that was left behind.
        with suppress(FileNotFoundError):
            held = os.open(folder, os.O_RDONLY)  # never closed: the lock ends with the process
            fcntl.flock(held, fcntl.LOCK_EX)
            if folder.is_dir():
                return
            os.close(held)


def _remove_left_behind() -> None:
    """Remove folders whose process, and watcher, were killed."""
    for folder in Path(gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # locked, of another account, or gone by now
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(held)
