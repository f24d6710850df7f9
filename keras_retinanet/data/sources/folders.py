"""Where the images that annotations name really lie."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple
from urllib.parse import unquote

from keras_retinanet.data.names import fold, split_word, without_hash
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.regular_files import visible_files, walk
from keras_retinanet.files.images.image_formats import IMAGE_SUFFIXES
from keras_retinanet.files.names import by_key, name_key, stored_path


class _Listing(NamedTuple):
    """A folder as it is spelled on the disk, and its file names by key and by folded name."""

    folder: str
    by_key: dict[str, str]
    by_fold: dict[str, str]


def is_inside(folder: str | Path, path: str | Path) -> bool:
    """Return whether `path` is `folder` or below it, by its name: links are the user's own."""
    outer, inner = os.path.abspath(folder), os.path.abspath(path)
    return os.path.commonpath([outer, inner]) == outer


class PictureFolder:
    """Finds, inside a few folders, the images that annotations name.

    An annotation may come from anywhere: absolute names, drive letters and ".." lead nowhere, for
    POSIX and for Windows, unless `allow_outside`. An image is looked for as its name is written,
    then with slashes for backslashes, then in any case, then by the longest end of its path that
    one image below the folders has, then with or without a tool's prefix or with another suffix.
    All but the first are counted as repairs; a name that differs by Unicode's form or by escapes
    is the same name (`name_key`).

    Each folder is listed once: one system call for a folder, not for a file.

    Args:
        folder: where names start.
        also: further folders, where a name that is not below `folder` may start.
        split: what the names are of; an image in a folder of another split is not taken for it.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        problems: Problems,
        *,
        also: Sequence[str | os.PathLike[str]] = (),
        split: str | None = None,
        allow_outside: bool = False,
    ):
        self.folder = Path(folder)
        self.folders = list(dict.fromkeys([self.folder, *map(Path, also)]))
        self._problems = problems
        self._allow_outside = allow_outside
        self._split = split_word(split or "")
        self._listings: dict[str, _Listing] = {}
        self._index: _Index | None = None
        # Path found -> the name that it was found by.
        self._found: dict[str, tuple[str, ...]] = {}

    def find(self, file_name: str, *, where: str = "") -> str | None:
        """Return the path of the image called `file_name`, or None, which is then counted.

        Args:
            file_name: as the annotation has it, relative to the folder.
            where: the annotation file and line that name it, for the count.
        """
        shown = f"{file_name} ({where})" if where else file_name
        file_name = self._inside(file_name)
        is_allowed = self._is_allowed(file_name)
        path, kind = self._as_named(file_name) if is_allowed else (None, None)
        parts = _parts(file_name)
        if path is None and parts:
            path, kind = self._guess(parts)
        if path is None:
            kind = "missing picture" if is_allowed else "picture outside the data folder"
        else:
            self._found.setdefault(path, parts)
        if kind is not None:
            self._problems.note(kind, shown)
        return path

    def tried(self, file_name: str) -> str:
        """Return where an image called `file_name` was looked for, for a message."""
        places = ", ".join(map(str, self.folders))
        return f"{file_name}: looked for in {places}, then below by the end of its path"

    def _inside(self, file_name: str) -> str:
        """Return a full name below one of the folders relative to it; others as they are."""
        for folder in self.folders:
            if os.path.isabs(file_name) and is_inside(folder, file_name):
                return os.path.relpath(file_name, folder)
        return file_name

    def _is_allowed(self, file_name: str) -> bool:
        if "\0" in file_name or not file_name:
            return False
        if self._allow_outside:
            return True
        forms = (PurePosixPath(file_name), PureWindowsPath(file_name))
        return not any(form.anchor or ".." in form.parts or not form.parts for form in forms)

    def _as_named(self, file_name: str) -> tuple[str | None, str | None]:
        """Return (path, repair or None): as written, with slashes, or with the file in any case."""
        slashed = file_name.replace("\\", "/")
        for name, kind in ((file_name, None), (slashed, "picture name with backslashes")):
            for folder in self.folders:
                if path := self._look_up(folder, name):
                    return path, kind
        path = self._look_up(self.folder, slashed, any_case=True)
        return path, "picture name in another case"

    def _look_up(self, folder: Path, file_name: str, *, any_case: bool = False) -> str | None:
        place, name = os.path.split(os.path.join(folder, file_name))
        listing = self._listing(place)
        if any_case:
            stored = listing.by_fold.get(fold(name))
        else:
            stored = listing.by_key.get(name) or listing.by_key.get(name_key(name))
        return None if stored is None else os.path.join(listing.folder, stored)

    def _listing(self, folder: str) -> _Listing:
        if folder not in self._listings:
            stored = stored_path(folder)
            names = sorted(visible_files(stored))
            # Some file systems hold both forms of one name: the very name comes first.
            keys = by_key(names) | {name: name for name in names}
            self._listings[folder] = _Listing(stored, keys, {fold(name): name for name in names})
        return self._listings[folder]

    def _guess(self, parts: tuple[str, ...]) -> tuple[str | None, str | None]:
        """Return (path, repair) of the one image that `parts` can mean; None where none is."""
        if self._index is None:
            self._index = _Index(self.folders)
        path, kind = self._index.find(parts, self._split)
        # Two names for one image are two images, one of which is not there.
        if path is None or self._found.get(path, parts) != parts:
            return None, None
        return path, kind


def _parts(file_name: str) -> tuple[str, ...]:
    """Return the folded parts of a path of any system, or of a URL, without what leads nowhere."""
    text = unquote(file_name) if "%" in file_name else file_name
    words = [word for word in re.split(r"[\\/]", text) if word not in ("", ".", "..")]
    if words and "?" in words[-1]:
        words[-1] = words[-1].partition("?")[0]
    return tuple(fold(re.sub(r"^[A-Za-z]:", "", word)) for word in words)


class _Index:
    """The images below some folders, by their names: built when the first one is missing."""

    def __init__(self, folders: Iterable[Path]):
        self._by_name: dict[str, dict[str, tuple[str, ...]]] = {}
        self._by_stem: dict[str, dict[str, tuple[str, ...]]] = {}
        self._by_bare: dict[str, dict[str, tuple[str, ...]]] = {}
        for folder in folders:
            for path in walk(folder):
                if path.suffix.lower() not in IMAGE_SUFFIXES:
                    continue
                parts = tuple(map(fold, path.relative_to(folder).parts))
                place, stem = os.path.normpath(path), os.path.splitext(parts[-1])[0]
                self._by_name.setdefault(parts[-1], {}).setdefault(place, parts)
                self._by_stem.setdefault(stem, {}).setdefault(place, parts)
                if (bare := without_hash(stem)) != stem:
                    self._by_bare.setdefault(bare, {}).setdefault(place, parts)

    def find(self, parts: tuple[str, ...], split: str | None) -> tuple[str | None, str]:
        """Return (path or None, the repair that it is)."""
        words = {split_word(part) for part in parts[:-1]} - {None} or {split} - {None}
        path = _closest(self._by_name.get(parts[-1], {}), parts, words)
        if path is not None:
            return path, "picture path of another place"
        stem, suffix = os.path.splitext(parts[-1])
        stem = stem if suffix in IMAGE_SUFFIXES else parts[-1]
        found = (
            self._by_stem.get(stem)
            or self._by_stem.get(without_hash(stem))
            or self._by_bare.get(stem, {})
        )
        return _closest(found, parts, words), "picture name with another prefix or suffix"


def _closest(
    found: dict[str, tuple[str, ...]], parts: tuple[str, ...], words: set[str | None]
) -> str | None:
    """Return the path that shares the longest end with `parts`; None if that is not one alone.

    `found` has the parts of each path below the folder; one of another split than `words` is none.
    """
    shared: dict[str, int] = {}
    for path, own in found.items():
        others = {split_word(part) for part in own[:-1]} - {None}
        if words and others and not words & others:
            continue
        pairs = zip(reversed(own[:-1]), reversed(parts[:-1]), strict=False)
        same = [mine == theirs for mine, theirs in pairs]
        shared[path] = same.index(False) if False in same else len(same)
    best = [path for path, count in shared.items() if count == max(shared.values())]
    return best[0] if len(best) == 1 else None
