"""Files that are whole or absent: written under a temporary name, then renamed.

And files that are read: regular ones, of a size that the reader says is acceptable.
"""

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

KIND_NAMES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> BinaryIO:
    """Open a file for reading its bytes; never wait for, or read from, what is no regular file.

    A pipe makes `open` wait for a writer that may never come, and a device such as /dev/zero has
    no end; both may lie behind a link.

    Args:
        path: of the file.
        max_bytes: what a sound file can have; None: any number.

    Raises:
        OSError: it cannot be opened, is no regular file or has more than `max_bytes`.
    """
    _require_regular(os.stat(path), path)
    # Not waiting, should the file have been replaced by a pipe meanwhile.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    stream = os.fdopen(handle, "rb")
    try:
        status = os.fstat(handle)
        _require_regular(status, path)
        if max_bytes is not None and status.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"more than {max_bytes:,} bytes", os.fspath(path))
    except OSError:
        stream.close()
        raise
    return stream


def _require_regular(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KIND_NAMES.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"{kind}, not a regular file", os.fspath(path))


def read_regular(path: str | os.PathLike[str], *, max_bytes: int) -> bytes:
    """Return the bytes of a regular file of at most `max_bytes`. Raises as `open_regular`."""
    with open_regular(path, max_bytes=max_bytes) as stream:
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:  # it grows, or is a file of /proc, whose size is not told
        raise OSError(errno.EFBIG, f"more than {max_bytes:,} bytes", os.fspath(path))
    return content


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` (same suffix), renamed to `path` if the block succeeds.

    Parents of `path` are made. A block that raises leaves nothing behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    # mkstemp makes files private; the result gets the permissions any new file would have.
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(name, 0o666 & ~umask)
    temporary = Path(name)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file for `path`, which replaces it when the block succeeds.

    Text is UTF-8 with the newlines as written.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    with atomic_path(path) as temporary, open(temporary, mode, **text) as stream:  # type: ignore[call-overload]
        yield stream
