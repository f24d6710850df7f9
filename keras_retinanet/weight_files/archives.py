"""A `.tar.gz` of one checkpoint -> a folder with its files, and nothing written elsewhere."""

import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from keras_retinanet.errors import UserError, shown
from keras_retinanet.files import atomic_folder, open_regular

SUFFIX = ".tar.gz"
# Weights hardly compress: more than this many times the archive is a bomb.
MAX_RATIO = 20
MAX_MEMBERS = 100
# Headers and padding of small archives shrink more.
ROOM = 1 << 20


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
        with atomic_folder(folder) as temporary:
            _extract(path, temporary)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(
            f"Expected a whole {SUFFIX}. Received: {path} ({error}). Delete it and fetch it again."
        ) from error
    return folder


class _Unpacked:
    """The bytes of a `.gz` from its start, at most `limit`: a header that claims more, or data
    that are passed over, are counted too."""

    def __init__(self, stream: gzip.GzipFile, limit: int):
        self._stream, self._left = stream, limit

    def read(self, size: int) -> bytes:
        if size > self._left:
            size = self._left + 1
        found = self._stream.read(size)
        self._left -= len(found)
        if self._left < 0:
            raise tarfile.ReadError(f"more than {MAX_RATIO} times as large when unpacked")
        return found


def _extract(path: Path, folder: Path) -> None:
    with open_regular(path) as packed, gzip.open(packed) as stream:
        limit = MAX_RATIO * path.stat().st_size + ROOM
        with tarfile.open(fileobj=_Unpacked(stream, limit), mode="r|") as archive:  # type: ignore[call-overload]
            for count, member in enumerate(archive, 1):
                limit -= member.size  # a sparse file is larger than its bytes here
                if count > MAX_MEMBERS or limit < 0:
                    raise _not_one(path, member)
                if member.isfile():
                    _extract_file(path, archive, member, folder)


def _extract_file(
    path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path
) -> None:
    target = folder / PurePosixPath(member.name).name
    if target.exists() or target.name in ("", ".."):
        raise _not_one(path, member)
    stream = archive.extractfile(member)
    with open(target, "wb") as written:
        shutil.copyfileobj(stream, written)  # type: ignore[arg-type]


def _not_one(path: Path, member: tarfile.TarInfo) -> UserError:
    return UserError(
        f"Expected one checkpoint in {path}. Received: {shown(member.name)}, which is too large, "
        "one file of too many or there twice. Unpack it yourself and give the .index file."
    )
