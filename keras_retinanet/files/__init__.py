"""Files that are whole or absent: written under a temporary name, then renamed.

And files that are read: regular ones, of a size that the reader says is acceptable.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from keras_retinanet.files.owners import remove, remove_leftovers, temporary_name

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


def hash_file(path: str | os.PathLike[str], digest: Any) -> None:
    """Update `digest`, an object of hashlib, with the bytes of a regular file."""
    with open_regular(path) as stream:
        hashlib.file_digest(stream, lambda: digest)  # type: ignore[arg-type]


def sha256_of(*paths: Path) -> str:
    """Return the SHA-256 of the bytes of files, one after the other. Raises as `open_regular`."""
    digest = hashlib.sha256()
    for path in paths:
        hash_file(path, digest)
    return digest.hexdigest()


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
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a new folder beside `path`, renamed to `path` if the block succeeds.

    `path` must be free, or an empty folder. A block that raises leaves nothing behind.
    """
    with temporary_folder(path) as temporary:
        yield temporary
        os.replace(temporary, path)


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
def durable_path(path: str | Path) -> Iterator[Path]:
    """Give what `atomic_path` gives; once the block has succeeded, a power cut loses nothing."""
    with atomic_path(path) as temporary:
        yield temporary
        sync(temporary)
    sync(Path(path).parent)


def sync(path: str | Path) -> None:
    """Wait until the bytes of a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that does not do it
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    finally:
        os.close(handle)


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file for `path`, which replaces it when the block succeeds.

    Text is UTF-8 with the newlines as written; what names have that it cannot hold is escaped.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
    with atomic_path(path) as temporary, open(temporary, mode, **text) as stream:  # type: ignore[call-overload]
        yield stream


# A full disk, a user's quota, a process's limit on files. TensorFlow has texts alone.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_disk_full(error: BaseException) -> bool:
    """Return whether `error`, of Python or of TensorFlow, says that there was no room to write."""
    if isinstance(error, OSError) and error.errno is not None:
        # A file that is too large to be read has its name told: see `open_regular`.
        return error.errno in _NO_ROOM and (error.errno != errno.EFBIG or error.filename is None)
    return any(os.strerror(number) in str(error) for number in _NO_ROOM)
