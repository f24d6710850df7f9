"""Addresses of model files (hf://, kaggle://, https://) -> a verified file in the cache.

The SHA-256 of the first download is kept beside the file, and each later use is checked against it.
Nothing is run from a file: it is read as any local one.
"""

import hashlib
import os
import urllib.parse
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_write, downloads, sha256_of

# What `share` writes, and what is taken where an address names a repository alone.
MODEL_FILE = "model.keras"
FORMS = (
    "hf://USER/NAME[@REVISION][/FILE], kaggle://OWNER/MODEL/FRAMEWORK/VARIATION/VERSION[/FILE] "
    "or https://HOST/FILE"
)
# The hubs, and the variables of their own programs that name other servers.
HUBS = {
    "hf": ("HF_ENDPOINT", "https://huggingface.co"),
    "kaggle": ("KAGGLE_API_ENDPOINT", "https://www.kaggle.com"),
}
HASH = "sha256="
# Digits of an address's hash in the name of its folder.
DIGITS = 16


class Repository(NamedTuple):
    """A model repository of Hugging Face."""

    id: str  # user/name
    revision: str
    file: str


def remote_file(address: str, *, progress: bool = True) -> Path:
    """Return the file at `address`, downloaded once.

    Args:
        address: one of `FORMS`; "#sha256=<hex digits>" at its end states the hash.
        progress: draw a bar where standard error is a terminal.

    Raises:
        UserError: no such address; the file cannot be had, or is not what it was at first.
    """
    place, _, fragment = address.partition("#")
    url = download_address(place)
    name = PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
    if name in ("", "..") or "\0" in name:
        raise _no_address(address)
    folder = (
        downloads.cache_folder() / "remote" / hashlib.sha256(place.encode()).hexdigest()[:DIGITS]
    )
    record = folder / f"{name}.sha256"
    kept = record.read_text(encoding="utf-8").split()[0] if record.is_file() else ""
    known = _stated_hash(fragment, address) or kept
    source = downloads.Source(place, url, name, hash=f"sha256:{known}" if known else "")
    path = downloads.fetch(source, folder, progress=progress)
    if not kept:
        digest = sha256_of(path)
        with atomic_write(record) as file:
            file.write(f"{digest}  {name}\n")
        print(f"{place}: {path.stat().st_size:,} bytes, sha256 {digest}, kept as {path}")
    return path


def download_address(place: str) -> str:
    """Return the address that the file at `place` is downloaded from.

    Raises:
        UserError: `place` is none of `FORMS`.
    """
    scheme, _, rest = place.partition("://")
    if scheme in downloads.SCHEMES:
        return place
    if scheme == "hf":
        repository = hugging_face(place)
        path = f"{repository.id}/resolve/{repository.revision}/{repository.file}"
    elif scheme == "kaggle":
        parts = rest.split("/", 5)
        if len(parts) < 5 or not all(parts[:5]) or not parts[4].isdecimal():
            raise _no_address(place)
        file = parts[5] if parts[5:] and parts[5] else MODEL_FILE
        path = f"api/v1/models/{'/'.join(parts[:5])}/download/{file}"
    else:
        raise _no_address(place)
    variable, usual = HUBS[scheme]
    return f"{os.environ.get(variable, usual).rstrip('/')}/{urllib.parse.quote(path)}"


def hugging_face(place: str) -> Repository:
    """Return what hf://USER/NAME[@REVISION][/FILE] names.

    Raises:
        UserError: it is no such address.
    """
    scheme, _, rest = place.partition("://")
    user, _, rest = rest.partition("/")
    named, _, file = rest.partition("/")
    name, _, revision = named.partition("@")
    words = f"{user}{name}".replace("-", "").replace("_", "").replace(".", "")
    if scheme != "hf" or not user or not name or not words.isalnum():
        raise _no_address(place)
    return Repository(f"{user}/{name}", revision or "main", file or MODEL_FILE)


def _stated_hash(fragment: str, address: str) -> str:
    digits = fragment.removeprefix(HASH).lower()
    if not fragment:
        return ""
    if not fragment.startswith(HASH) or len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise UserError(
            f"Expected #sha256= and 64 hex digits at the end of an address. Received: {address}. "
            "Correct or remove what follows #."
        )
    return digits


def _no_address(address: str) -> UserError:
    return UserError(f"Expected an address of a model: {FORMS}. Received: {address}.")
