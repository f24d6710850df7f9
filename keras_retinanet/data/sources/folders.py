"""Where the images that annotations name really lie."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from keras_retinanet.data.problems import Problems
from keras_retinanet.data.regular_files import is_regular
from keras_retinanet.files.names import by_key, name_key, stored_path


class _Listing(NamedTuple):
    """A folder as it is spelled on the disk, and its file names by key and by lower case."""

    folder: str
    by_key: dict[str, str]
    by_lower: dict[str, str]


class PictureFolder:
    """Finds, inside one folder, the images that annotations name.

    An annotation may come from anywhere: absolute names, drive letters and ".." are refused, for
    POSIX and for Windows, unless `allow_outside`. A name that differs from the file's only by
    backslashes or by case is found, and counted as a repair; one that differs by Unicode's form
    or by escapes is the same name (`name_key`).

    Each subfolder is listed once: one system call for a folder, not for a file.
    """

    def __init__(
        self, folder: str | os.PathLike[str], problems: Problems, *, allow_outside: bool = False
    ):
        self.folder = Path(folder)
        self._problems = problems
        self._allow_outside = allow_outside
        self._listings: dict[str, _Listing] = {}

    def find(self, file_name: str, *, where: str = "") -> str | None:
        """Return the path of the image called `file_name`, or None, which is then counted.

        Args:
            file_name: as the annotation has it, relative to the folder.
            where: the annotation file and line that name it, for the count.
        """
        shown = f"{file_name} ({where})" if where else file_name
        if not self._is_allowed(file_name):
            self._problems.note("picture outside the data folder", shown)
            return None
        path = self._look_up(file_name)
        if path is None and "\\" in file_name:
            path = self._look_up(file_name.replace("\\", "/"))
            if path is not None:
                self._problems.note("picture name with backslashes", shown)
        if path is None:
            path = self._look_up(file_name.replace("\\", "/"), any_case=True)
            if path is not None:
                self._problems.note("picture name in another case", shown)
        if path is None:
            self._problems.note("missing picture", shown)
        return path

    def _is_allowed(self, file_name: str) -> bool:
        if "\0" in file_name or not file_name:
            return False
        if self._allow_outside:
            return True
        forms = (PurePosixPath(file_name), PureWindowsPath(file_name))
        return not any(form.anchor or ".." in form.parts or not form.parts for form in forms)

    def _look_up(self, file_name: str, *, any_case: bool = False) -> str | None:
        folder, name = os.path.split(os.path.join(self.folder, file_name))
        listing = self._listing(folder)
        if any_case:
            stored = listing.by_lower.get(name_key(name).lower())
        else:
            stored = listing.by_key.get(name) or listing.by_key.get(name_key(name))
        return None if stored is None else os.path.join(listing.folder, stored)

    def _listing(self, folder: str) -> _Listing:
        if folder not in self._listings:
            stored = stored_path(folder)
            try:
                with os.scandir(stored) as entries:
                    names = sorted(entry.name for entry in entries if is_regular(entry))
            except (OSError, ValueError):  # not there, or no name that a file can have
                names = []
            lower = {name_key(name).lower(): name for name in names}
            # Some file systems hold both forms of one name: the very name comes first.
            keys = by_key(names) | {name: name for name in names}
            self._listings[folder] = _Listing(stored, keys, lower)
        return self._listings[folder]
