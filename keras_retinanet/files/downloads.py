"""A public file -> a verified file in a folder, over connections that may break.

Bytes go to `<file>.part`, which a later call resumes; the file has its own name only once it
is whole and verified. A lock keeps two processes from writing the same part.
"""

import contextlib
import fcntl
import hashlib
import http.client
import os
import shutil
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_retinanet.errors import UserError
from keras_retinanet.terminal import progress as progress_bar
from keras_retinanet.version import __version__

HOME_VARIABLE = "KERAS_RETINANET_HOME"
SCHEMES = ("https",)
TIMEOUT = 30.0
# Seconds before each further attempt; one that brought bytes restarts them.
WAITS = (1.0, 3.0, 9.0)
CHUNK = 1 << 20
MAX_DIGITS = 19
# Bytes for which an attempt has not been in vain.
LEAST = 1 << 16
# A file whose size is not published; the largest that are have a third of a gigabyte.
MAX_BYTES = 2 << 30
# Servers that are busy or broken for a while.
PASSING_CODES = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Source:
    """Where a file comes from, and what was published of it.

    Attributes:
        name: what messages call it.
        address: https; a page if `by_hand`.
        file: name in the folder.
        hash: "algorithm:leading hex digits", or "" where none is published.
        bytes: exact size where published.
        by_hand: the file can only be fetched in a browser.
    """

    name: str
    address: str
    file: str
    hash: str = ""
    bytes: int | None = None
    by_hand: bool = False


class _Passing(Exception):
    """The connection broke, or the server asks to come again."""


def cache_folder() -> Path:
    """Return where files are kept: $KERAS_RETINANET_HOME, or ~/.cache/keras_retinanet."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home).expanduser() if home else Path.home() / ".cache" / "keras_retinanet"


def fetch(source: Source, folder: Path, *, progress: bool = True) -> Path:
    """Return the verified file of `source`, downloading what is missing of it.

    Args:
        folder: where it is kept. A file put there by hand is verified too.
        progress: draw a bar where standard error is a terminal.

    Raises:
        UserError: it cannot be had, with the address and where to put the file by hand; or it is
            not the published one.
    """
    path = folder / source.file
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        if path.is_file():
            verify(path, source, advice=f"Delete it, or put the file of {source.address} there.")
            return path
        if source.by_hand:
            raise UserError(
                f"Expected the file of {source.name} at {path}. Received: none, and its page gives "
                f"it to browsers alone. Fetch it from {source.address} and put it there."
            )
        part = path.with_name(path.name + ".part")
        _download(source, part, path, progress=progress)
        try:
            verify(part, source, advice="It was removed; try again.")
        except UserError:
            part.unlink()
            raise
        os.replace(part, path)
    return path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path` (`.<name>.lock` beside it), waiting for another process's."""
    with open(path.with_name(f".{path.name}.lock"), "wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # released when the file is closed, however
        yield


def verify(path: Path, source: Source, *, advice: str) -> None:
    """Raise UserError unless `path` has the size and hash that were published, if any were."""
    size = path.stat().st_size
    if source.bytes is not None and size != source.bytes:
        raise UserError(
            f"Expected {source.bytes:,} bytes in {path}, as published. Received: {size:,}. {advice}"
        )
    if source.hash:
        algorithm, _, digits = source.hash.partition(":")
        with open(path, "rb") as stream:
            found = hashlib.file_digest(stream, algorithm).hexdigest()
        if not found.startswith(digits):
            raise UserError(
                f"Expected {path} with {algorithm} {digits}, as published. "
                f"Received: {found[: len(digits)]}. {advice}"
            )


# --------------------------------------------------------------------------------- one download


def _download(source: Source, part: Path, path: Path, *, progress: bool) -> None:
    """Fill `part`, trying again after passing failures as long as bytes arrive or WAITS last."""
    waits = iter(WAITS)
    bar = progress_bar(unit="B", unit_scale=True, desc=source.file, disable=not progress)
    with bar:
        while True:
            before = _size(part)
            try:
                return _receive(source, part, bar)
            except _Passing as failure:
                # A server that gives a few bytes and breaks, again and again, has an end too.
                waits = iter(WAITS) if _size(part) >= before + LEAST else waits
                wait = next(waits, None)
                if wait is None:
                    raise _unreachable(source, path, str(failure)) from failure
                time.sleep(wait)
            except urllib.error.URLError as error:
                raise _unreachable(source, path, _reason(error)) from error


def _receive(source: Source, part: Path, bar: Any) -> None:
    """One request: append to `part` from where it ends, or start again if the server must."""
    have = _size(part)
    _check_scheme(source.address)
    headers = {"User-Agent": f"keras_retinanet/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        request = urllib.request.Request(source.address, headers=headers)
        # Proxies come from the environment, as urllib's own opener takes them.
        opener = urllib.request.build_opener(_CheckedRedirects)
        with opener.open(request, timeout=TIMEOUT) as response:
            total, start = _extent(response)
            if start not in (0, have):
                raise _Passing("the server answered another range")
            _check_size(source, part, total or 0)
            _check_room(part, total, start)
            bar.total, bar.n = total, start
            with open(part, "r+b" if start else "wb") as stream:
                stream.seek(start)
                stream.truncate()
                # As the bytes come in: a server that is slow on purpose would seem to stand still.
                while chunk := response.read1(CHUNK):
                    _check_size(source, part, stream.tell() + len(chunk))
                    stream.write(chunk)
                    bar.update(len(chunk))
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()  # longer than the file: not a part of it
            raise _Passing("the part did not fit") from error
        if error.code in PASSING_CODES:
            raise _Passing(f"HTTP {error.code}") from error
        raise
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError | ConnectionResetError):
            raise _Passing(_reason(error)) from error
        raise
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _Passing(str(error) or type(error).__name__) from error
    if total is not None and _size(part) < total:
        raise _Passing(f"the connection ended after {_size(part):,} of {total:,} bytes")


def _extent(response: http.client.HTTPResponse) -> tuple[int | None, int]:
    """Return the size of the whole file, if told, and where this answer begins."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        unit_range, _, total = response.headers.get("Content-Range", "").partition("/")
        start = _whole(unit_range.removeprefix("bytes ").partition("-")[0])
        if start is None:
            raise _Passing("the server named no range")
        return _whole(total), start
    return _whole(response.headers.get("Content-Length", "")), 0


def _whole(text: str) -> int | None:
    """Return the integer that `text` writes, as far as a size can go; else None."""
    return int(text) if text.isdecimal() and len(text) < MAX_DIGITS else None


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to an address that might have been asked for."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(address: str) -> None:
    if urllib.parse.urlsplit(address).scheme not in SCHEMES:
        raise UserError(f"Expected an https address. Received: {address}. It is not fetched.")


def _check_size(source: Source, part: Path, size: int) -> None:
    """Refuse a file of more bytes than were published, or than any weight file has."""
    most, words = source.bytes, "as published"
    if most is None:
        most, words = MAX_BYTES, "at most"
    if size > most:
        part.unlink(missing_ok=True)
        raise UserError(
            f"Expected {most:,} bytes in {part}, {words}. Received: {size:,} or more from "
            f"{source.address}. It was removed; try again."
        )


def _check_room(part: Path, total: int | None, start: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - start > free:
        raise UserError(
            f"Expected {total - start:,} bytes of room in {part.parent}. Received: {free:,}. "
            f"Make room, or set {HOME_VARIABLE} (checkpoints) or KERAS_HOME (ImageNet weights) to "
            "another folder."
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: urllib.error.URLError) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error.reason, socket.gaierror):
        return "the host's name cannot be looked up: no network"
    return str(error.reason)


def _unreachable(source: Source, path: Path, reason: str) -> UserError:
    return UserError(
        f"Expected to fetch {source.address}. Received: {reason}. Try again later, or fetch it "
        f"elsewhere and put it at {path}."
    )
