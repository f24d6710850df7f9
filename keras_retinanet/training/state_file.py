"""One state of a run in one file: a ZIP archive of arrays (`numpy.load` opens it) with checksums.

It is written under a temporary name, brought to the disk and renamed: whole or not at all.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_retinanet.files import durable_path

SUFFIX = ".npz"
MEMBER = ".npy"


def write_state(path: Path, values: Mapping[str, tf.Variable], **texts: str) -> None:
    """Write the values of variables, and texts, under their names.

    Raises:
        OSError: it cannot be written; a file that was at `path` stays.
    """
    with durable_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, variable in values.items():
            _add(archive, name, variable.numpy())
        for name, text in texts.items():
            _add(archive, name, np.frombuffer(text.encode(), np.uint8))


def _add(archive: zipfile.ZipFile, name: str, value: np.ndarray) -> None:
    with archive.open(name + MEMBER, "w", force_zip64=True) as member:
        np.lib.format.write_array(member, np.asanyarray(value), allow_pickle=False)


class StateFile:
    """A state that was read once and matches its checksums.

    Args:
        path: of a file that `write_state` wrote.

    Attributes:
        shapes: of the arrays, by name; a text is an array of bytes.

    Raises:
        Exception: the file is damaged; which one depends on the damage.
    """

    def __init__(self, path: Path):
        self.path, self.shapes = path, {}
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
            if bad is not None:
                raise zipfile.BadZipFile(f"{bad} does not match its checksum")
            for name in archive.namelist():
                with archive.open(name) as member:
                    np.lib.format.read_magic(member)
                    shape, _, _ = np.lib.format.read_array_header_1_0(member)
                self.shapes[name.removesuffix(MEMBER)] = shape

    def assign(self, values: Mapping[str, tf.Variable]) -> None:
        """Set variables to the values that are stored under their names."""
        with zipfile.ZipFile(self.path) as archive:
            for name, variable in values.items():
                variable.assign(_read(archive, name))

    def text(self, name: str) -> str:
        """Return a text."""
        with zipfile.ZipFile(self.path) as archive:
            return _read(archive, name).tobytes().decode()


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name + MEMBER) as member:
        return np.lib.format.read_array(member, allow_pickle=False)
