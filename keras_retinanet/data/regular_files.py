"""What lies in a stranger's folder: one odd entry never hides the others."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from keras_retinanet.files import read_regular

# Of one image file: `headers.MAX_PIXELS` of RGB take this much without any compression.
MAX_PICTURE_BYTES = 512 << 20


def read_picture(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of an image file. Raises OSError as `files.read_regular`."""
    return read_regular(path, max_bytes=MAX_PICTURE_BYTES)


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
    """Return what matches a pattern below `folder`, sorted; what is not there is skipped.

    Unlike `Path.glob` it continues after a folder that cannot be listed.
    """
    names = glob.glob(pattern, root_dir=folder, include_hidden=True)
    return sorted(path for path in (Path(folder, name) for name in names) if os.path.exists(path))


def walk(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the regular files below `folder`, in an order that is the same on every machine.

    Folders behind links, and those that cannot be listed, are skipped.
    """
    for parent, children, names in os.walk(folder):
        children.sort()
        for path in (Path(parent, name) for name in sorted(names)):
            if is_regular(path):
                yield path
