"""Which spellings of a name mean the same file or class."""

import os
import unicodedata
from collections.abc import Iterable

from keras_retinanet.terminal import encodable


def name_key(text: str) -> str:
    """Return what all spellings of one name share; compare by it, open by the stored spelling.

    Unicode has two forms of most accented letters, which look alike: annotation tools write NFC,
    file systems of a Mac often hold NFD. And a byte that is not UTF-8, which the file system
    gives as a surrogate, stands in our own files as an escape such as `\\udce9`.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", encodable(text))


def spellings(text: str) -> list[str]:
    """Return `text` and its other forms in Unicode, where a folder need not be listed."""
    forms = (unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))
    return list(dict.fromkeys((text, *forms)))


def by_key(names: Iterable[str]) -> dict[str, str]:
    """Return key -> stored spelling; of several with one key the first in the alphabet counts."""
    return {name_key(name): name for name in sorted(names, reverse=True)}


def stored_path(path: str) -> str:
    """Return `path` with each part as the disk spells it; parts that are not there stay."""
    parent, name = os.path.split(path)
    if not name or not parent or os.path.lexists(path):
        return path
    parent = stored_path(parent)
    try:
        names = by_key(os.listdir(parent))
    except (OSError, ValueError):
        names = {}
    return os.path.join(parent, names.get(name_key(name), name))
