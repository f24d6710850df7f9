"""Exports that are whole or absent: made beside the place where they go, moved there when good."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import export_kind


def check_place(out: Path, *, is_folder: bool) -> None:
    """Refuse a place where something else lies than an earlier export of this kind.

    Raises:
        UserError: `out` is a folder for a file's name, a file for a folder's, or another folder.
    """
    if is_folder and out.exists() and export_kind(out) != "saved_model":
        if out.is_dir() and not any(out.iterdir()):
            return
        raise UserError(
            f"Expected a new folder, or an earlier SavedModel to replace. Received: --out {out}."
        )
    if not is_folder and out.is_dir():
        raise UserError(f"Expected a file to write. Received: --out {out}, a folder.")


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give a path that is free, moved to `out`, over what lies there, if the block succeeds.

    A file or a folder may be made there. A block that raises leaves nothing behind.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        made = Path(folder) / out.name
        yield made
        if out.is_dir():
            # A folder cannot be renamed over another: the old one goes where it is deleted.
            os.replace(out, Path(folder) / "replaced")
        os.replace(made, out)
