"""Where the images that annotations name really lie."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from keras_retinanet.data.problems import Problems
from keras_retinanet.data.regular_files import is_regular
from keras_retinanet.files.names import by_key, name_key


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
        # Folder -> (its file names by themselves and their keys, the same by their lower case).
        self._listings: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        # Folder that no entry is spelled as -> the one that is there.
        self._spellings: dict[str, str] = {}

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
        names, by_lower = self._listing(folder)
        if any_case:
            stored = by_lower.get(name_key(name).lower())
        else:
            stored = names.get(name) or names.get(name_key(name))
        return None if stored is None else os.path.join(self._spelled(folder), stored)

    def _listing(self, folder: str) -> tuple[dict[str, str], dict[str, str]]:
        if folder not in self._listings:
            try:
                with os.scandir(self._spelled(folder)) as entries:
                    names = sorted(entry.name for entry in entries if is_regular(entry))
            except (OSError, ValueError):  # not there, or no name that a file can have
                names = []
            lower = {name_key(name).lower(): name for name in names}
            # Some file systems hold both forms of one name: the very name comes first.
            self._listings[folder] = (by_key(names) | {name: name for name in names}, lower)
        return self._listings[folder]

    def _spelled(self, folder: str) -> str:
        """Return `folder` with each part below the data folder as it is spelled on the disk."""
        if folder in self._spellings:
            return self._spellings[folder]
        found, (parent, name) = folder, os.path.split(folder)
        if name and parent.startswith(str(self.folder)) and not os.path.isdir(folder):
            parent = self._spelled(parent)
            try:
                stored = by_key(os.listdir(parent)).get(name_key(name), name)
            except (OSError, ValueError):
                stored = name
            found = os.path.join(parent, stored)
        self._spellings[folder] = found
        return found
