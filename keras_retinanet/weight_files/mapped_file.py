"""A file's bytes without reading them: mapped into memory, sliced, and members of zips in it."""

import io
import mmap
import zipfile
import zlib
from pathlib import Path
from typing import Any

from keras_retinanet.errors import UserError
from keras_retinanet.files import magic, open_regular
from keras_retinanet.weight_files.checkpoint import Damaged

# A local header: 26 bytes, then the lengths of the name and of the extra field behind it.
ZIP_LOCAL_HEADER = 30
# Trained weights shrink by a tenth; a thousandfold is a bomb.
MAX_RATIO = 20
CHUNK = 1 << 20
# Of a zip's list of its members: some 60 bytes each, and a model has a few hundred.
MAX_DIRECTORY = 4 << 20


def map_file(path: str | Path) -> memoryview:
    """The bytes of a file as a read-only view; pages are loaded when they are looked at.

    Raises:
        UserError: the file cannot be read, or is empty.
    """
    try:
        with open_regular(path) as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "an empty file"
        raise UserError(f"expected a readable weight file. Received: {path} ({reason}).") from error


def release_pages(view: memoryview) -> None:
    """Let go of the pages of a mapped file that were looked at; they can be loaded again."""
    if isinstance(view.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        view.obj.madvise(mmap.MADV_DONTNEED)


def release_array(array: Any) -> None:
    """Let go of the mapped pages that an array is a view of, if it is one; its values stay."""
    while (base := getattr(array, "base", None)) is not None:
        array = base
    if isinstance(array, memoryview):
        release_pages(array)


class ViewFile(io.RawIOBase):
    """A view as a file to read; no read gives, or makes room for, more than is there."""

    def __init__(self, view: memoryview) -> None:
        super().__init__()
        self._view, self._place = view, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: len(self._view)}[whence]
        if base + offset < 0:
            raise ValueError("a seek before the start")
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        end = None if size is None or size < 0 else self._place + size
        found = bytes(self._view[self._place : end])
        self._place += len(found)
        if len(found) > CHUNK:
            release_pages(self._view)
        return found

    def last(self, size: int) -> memoryview:
        """The `size` bytes before this place, not copied."""
        return self._view[self._place - size : self._place]

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        found = self._view[self._place : self._place + len(target)]
        target[: len(found)] = found
        self._place += len(found)
        return len(found)

    def readline(self, size: int | None = -1) -> bytes:
        """The rest of the line; lines of the formats read here are short."""
        limit = CHUNK if size is None or size < 0 else size
        length, newline = 128, b""
        while not newline and length < 2 * limit:
            chunk = bytes(self._view[self._place : self._place + min(length, limit)])
            line, newline, _ = chunk.partition(b"\n")
            length *= 8
        self._place += len(line) + len(newline)
        return line + newline


class _Directory(ViewFile):
    """A zip of which its list of members alone is read."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise Damaged("a zip of more members than any model's")
        return super().read(size)


def zip_members(view: memoryview) -> dict[str, zipfile.ZipInfo]:
    """The members of a zip by name.

    Raises:
        Damaged, or any other Exception: it is no whole zip, or has far more than a model's.
    """
    with zipfile.ZipFile(_Directory(view)) as archive:
        return {info.filename: info for info in archive.infolist()}


def zip_member(view: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """The contents of a member of a zip: a slice of `view` if stored, else unpacked in memory.

    Raises:
        Damaged: it is cut off, fails its checksum, is encrypted, or unpacks to more than weights
            can.
    """
    start = info.header_offset
    header = bytes(view[start : start + ZIP_LOCAL_HEADER])
    if len(header) < ZIP_LOCAL_HEADER or header[:4] != magic.ZIP or info.flag_bits & 1:
        raise Damaged(f"member {info.filename[:100]!r} without a plain header")
    start += ZIP_LOCAL_HEADER
    start += int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    packed = view[start : start + info.compress_size]
    if len(packed) < info.compress_size:
        raise Damaged(f"member {info.filename[:100]!r} is cut off")
    if info.compress_type == zipfile.ZIP_STORED:
        contents = packed
    elif info.compress_type == zipfile.ZIP_DEFLATED:
        contents = memoryview(_unpacked(view, info))
    else:
        raise Damaged(f"a compression that is not read here ({info.compress_type})")
    if len(contents) != info.file_size or zlib.crc32(contents) != info.CRC:
        raise Damaged(f"member {info.filename[:100]!r} fails its checksum")
    if len(contents) > CHUNK:
        release_pages(view)
    return contents


def _unpacked(view: memoryview, info: zipfile.ZipInfo) -> bytes:
    """Unpack the size that a member announces, which is not believed beyond `MAX_RATIO`."""
    if info.file_size > MAX_RATIO * info.compress_size + CHUNK:
        raise Damaged(f"compressed members that would unpack more than {MAX_RATIO}-fold")
    # No more than the size asked for is unpacked, whatever the member holds.
    with zipfile.ZipFile(ViewFile(view)) as archive, archive.open(info) as member:
        return member.read(info.file_size)
