"""Opening what a stranger's folder names: regular files alone, which end and never wait."""

import contextlib
import errno
import glob
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# An annotation file of one image, a list of names, a label map: ten thousand outline points take
# 200 kB.
MAX_TEXT_BYTES = 16 << 20
# Of one image file: `headers.MAX_PIXELS` of RGB take this much without any compression.
MAX_PICTURE_BYTES = 512 << 20


@contextlib.contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file to read its bytes.

    Raises:
        OSError: it cannot be opened, or is a device, a pipe or a folder, also behind a link: these
            could wait for ever, or never end.
    """

    def opener(name: str, flags: int) -> int:
        # A pipe without a writer would wait here; regular files ignore the flag.
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    with open(path, "rb", opener=opener) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))
        yield stream


def read_whole(path: str | os.PathLike[str], limit: int = MAX_PICTURE_BYTES) -> bytes:
    """Return the bytes of an image file, or of another one that has at most `limit`.

    Raises:
        OSError: as `open_regular`, or it has more.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"{size} bytes, more than {limit}", os.fspath(path))
        return stream.read(limit)


def is_regular(entry: os.DirEntry[str] | Path) -> bool:
    """Return whether `entry` is a regular file or a link to one.

    False where that cannot be told: a link to itself, a name too long, a folder without
    permission. One such entry must not hide the folder that it lies in.
    """
    try:
        return entry.is_file()
    except (OSError, ValueError):
        return False


def matching(folder: str | os.PathLike[str], pattern: str) -> list[Path]:
    """Return what matches a pattern below `folder`, sorted; what is not there is left out.

    Unlike `Path.glob` it goes on after a folder that cannot be listed.
    """
    names = glob.glob(pattern, root_dir=folder, include_hidden=True)
    return sorted(path for path in (Path(folder, name) for name in names) if os.path.exists(path))


def walk(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the regular files below `folder`, in an order that is the same on every machine.

    Folders behind links, and those that cannot be listed, are left out.
    """
    for parent, children, names in os.walk(folder):
        children.sort()
        for path in (Path(parent, name) for name in sorted(names)):
            if is_regular(path):
                yield path
