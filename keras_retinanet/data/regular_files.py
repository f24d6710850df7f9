"""What lies in a stranger's folder: one odd entry never hides the others."""

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from keras_retinanet.data.names import fold

# Beside names that begin with a dot: what Macs, Windows and network disks leave behind.
LEFTOVERS = frozenset(("__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "@eadir"))
# A letter outside of brackets, which stand for themselves.
_LETTER = re.compile(r"(\[[^\]]*\])|([A-Za-z])")


def is_hidden(name: str) -> bool:
    """Return whether a file or folder called `name` is no data: hidden, or a system's leftover.

    Jupyter's `.ipynb_checkpoints` and a Mac's `._a.jpg` hold copies that nobody meant to train on.
    """
    return name.startswith(".") or name.lower() in LEFTOVERS


def is_regular(entry: os.DirEntry[str] | Path) -> bool:
    """Return whether `entry` is a regular file or a link to one.

    False where that cannot be told: a link to itself, a name too long, a folder without
    permission. One such entry must not hide the folder that it lies in.
    """
    try:
        return entry.is_file()
    except (OSError, ValueError):
        return False


def visible_files(folder: str | os.PathLike[str]) -> list[str]:
    """Return the names of the regular files right in `folder` that are not hidden, sorted.

    There are none where it is not there or cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if not is_hidden(e.name) and is_regular(e))
    except (OSError, ValueError):  # ValueError: no name that a folder can have
        return []


def matching(folder: str | os.PathLike[str], pattern: str) -> list[Path]:
    """Return what matches a pattern below `folder` in any case, sorted; hidden files do not.

    What is not there is skipped, and so is a folder that cannot be listed, unlike in `Path.glob`.
    """
    any_case = _LETTER.sub(lambda m: m[1] or f"[{m[2].lower()}{m[2].upper()}]", pattern)
    names = glob.glob(any_case, root_dir=folder)
    seen = (Path(folder, name) for name in names if not any(map(is_hidden, Path(name).parts)))
    return sorted(path for path in seen if os.path.exists(path))


def is_pattern(place: Path) -> bool:
    """Return whether `place` is no file or folder, but a pattern of names: `shards/train-*`."""
    return glob.has_magic(place.name) and not os.path.lexists(place)


def find_folder(parent: str | os.PathLike[str], *names: str) -> Path | None:
    """Return the folder right in `parent` with the first of `names` that is there, in any case."""
    try:
        stored = sorted((n for n in os.listdir(parent) if not is_hidden(n)), reverse=True)
    except OSError:
        return None
    by_fold = {fold(name): name for name in stored}
    for name in names:
        spelled = name if name in stored else by_fold.get(fold(name))
        if spelled is not None and os.path.isdir(path := Path(parent, spelled)):
            return path
    return None


def walk(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the regular files below `folder`, in an order that is the same on every machine.

    Folders behind links, those that cannot be listed and what is hidden are skipped.
    """
    for parent, children, names in os.walk(folder):
        children[:] = sorted(name for name in children if not is_hidden(name))
        for name in sorted(names):
            path = Path(parent, name)
            if not is_hidden(name) and is_regular(path):
                yield path
