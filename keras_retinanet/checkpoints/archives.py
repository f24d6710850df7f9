"""A `.tar.gz` of one checkpoint -> a folder with its files, and nothing written elsewhere."""

import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from keras_retinanet.errors import UserError
from keras_retinanet.files import temporary_folder

SUFFIX = ".tar.gz"
# Weights hardly compress: more than so many times the archive is a bomb.
MAX_RATIO = 20


def unpacked(path: Path) -> Path:
    """Return `path`, or the folder with the files of the `.tar.gz` that it is.

    The folder lies beside the archive, has its name without the suffix, and is whole or absent.
    Only plain files are taken, without the folders they lie in.

    Raises:
        UserError: no whole archive, two files of one name, or far more bytes than it has itself.
    """
    if not path.name.endswith(SUFFIX):
        return path
    folder = path.with_name(path.name.removesuffix(SUFFIX))
    if folder.is_dir():
        return folder
    try:
        with temporary_folder(folder) as temporary:
            _extract(path, temporary)
            temporary.rename(folder)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(
            f"Expected a whole {SUFFIX}. Received: {path} ({error}). Delete it and fetch it again."
        ) from error
    return folder


def _extract(path: Path, folder: Path) -> None:
    left = MAX_RATIO * path.stat().st_size
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if not member.isfile():
                continue
            left -= member.size
            target = folder / PurePosixPath(member.name).name
            if left < 0 or target.exists() or target.name in ("", ".."):
                raise UserError(
                    f"Expected one checkpoint in {path}. Received: {member.name!r}, which is too "
                    "large or there twice. Unpack it yourself and give the .index file."
                )
            stream = archive.extractfile(member)
            with open(target, "wb") as written:
                shutil.copyfileobj(stream, written)  # type: ignore[arg-type]
