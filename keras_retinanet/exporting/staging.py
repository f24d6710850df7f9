"""Exports that are whole or absent: made beside the place where they go, moved there when good."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.facts import (
    FACTS_FILE,
    FOLDER_KINDS,
    LABELS_FILE,
    OPENVINO_FILE,
    OPENVINO_WEIGHTS,
    SAVED_MODEL_FILE,
    read_facts,
)
from keras_retinanet.files import temporary_folder
from keras_retinanet.files.targets import check_new_folder, check_target

# What a folder of an export holds, a SavedModel's or OpenVINO's, relative to it.
_OWN_FILES = re.compile(
    rf"{re.escape(SAVED_MODEL_FILE)}|fingerprint\.pb"
    r"|variables/variables\.(index|data-[0-9]{5}-of-[0-9]{5})"
    rf"|assets/({re.escape(FACTS_FILE)}|{re.escape(LABELS_FILE)}|config\.yaml)"
    r"|assets\.extra/tf_serving_warmup_requests"
    rf"|{re.escape(OPENVINO_FILE)}|{re.escape(OPENVINO_WEIGHTS)}"
    rf"|{re.escape(FACTS_FILE)}|{re.escape(LABELS_FILE)}"
)


def check_place(out: Path, export_format: str) -> None:
    """Refuse a place where something else lies than an earlier export of this format.

    Raises:
        UserError: `out` is a folder for a file's name, a file for a folder's, or holds anything
            that `export` did not write.
    """
    if export_format == "coreml":
        check_new_folder(out)
    elif export_format not in FOLDER_KINDS.values():
        check_target(out, export_format, flag="--out")
    elif os.path.lexists(out):
        _check_folder(out)


def _check_folder(out: Path) -> None:
    if not out.is_dir():
        raise UserError(f"Expected a folder to write. Received: --out {out}, which is a file.")
    paths = [path for path in out.rglob("*") if path.is_symlink() or not path.is_dir()]
    files = [path.relative_to(out).as_posix() for path in paths]
    if not files:
        return
    strange = [name for name in files if _OWN_FILES.fullmatch(name) is None]
    if not strange:
        try:
            place = out if OPENVINO_FILE in files else out / "assets"
            read_facts((place / FACTS_FILE).read_bytes(), str(out))
            return
        except (UserError, OSError):
            strange = files
    raise UserError(
        "Expected a new folder, or one that holds an earlier export and nothing else. "
        f"Received: --out {out} with {strange[0]!r}. Name another folder."
    )


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give a path that is free, moved to `out` if the block succeeds.

    A file or a folder may be made there. A block that raises leaves nothing behind. A file at `out`
    is replaced, and a folder if nothing but an earlier export is in it.

    Raises:
        UserError: something else lies in the folder `out`.
    """
    with temporary_folder(out) as folder:
        made = folder / out.name
        yield made
        if out.is_dir():
            _check_folder(out)  # again: making it took minutes
            # A folder cannot be renamed over another: the old one goes where it is deleted.
            os.replace(out, folder / "replaced")
        os.replace(made, out)
