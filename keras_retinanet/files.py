"""Files that are whole or absent: written under a temporary name, then renamed."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from keras_retinanet.owners import remove, remove_leftovers, temporary_name


@contextlib.contextmanager
def temporary_path(folder: str | Path, suffix: str = "") -> Iterator[Path]:
    """Give a free hidden path in `folder`, which is made; what is left there at the end goes.

    Should this process be killed, whoever calls this next in `folder` removes it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    path = folder / temporary_name(suffix)
    try:
        yield path
    finally:
        remove(path)


@contextlib.contextmanager
def temporary_folder(beside: str | Path) -> Iterator[Path]:
    """Give a new hidden folder beside the path `beside`, as `temporary_path` does."""
    with temporary_path(Path(beside).parent) as path:
        path.mkdir()
        yield path


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` (same suffix), renamed to `path` if the block succeeds.

    Parents of `path` are made. A block that raises leaves nothing behind.
    """
    path = Path(path)
    with temporary_path(path.parent, path.suffix) as temporary:
        yield temporary
        os.replace(temporary, path)


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file for `path`, which replaces it when the block succeeds.

    Text is UTF-8 with the newlines as written.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    with atomic_path(path) as temporary, open(temporary, mode, **text) as stream:  # type: ignore[call-overload]
        yield stream


# A full disk, a user's quota, a process's limit. TensorFlow has texts alone.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_disk_full(error: BaseException) -> bool:
    """Whether `error`, of Python or of TensorFlow, says that there was no room to write."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _NO_ROOM
    return any(os.strerror(number) in str(error) for number in _NO_ROOM)
