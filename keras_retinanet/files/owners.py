"""Which process a lock or a temporary file belongs to, and whether that process still lives."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from keras_retinanet.errors import UserError

# ------------------------------------------------------------------------------------ processes


def machine() -> str:
    """Return a mark of this machine; containers of one machine number processes each its own."""
    try:
        numbering = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbering = ""
    return hashlib.sha256(f"{socket.gethostname()} {numbering}".encode()).hexdigest()[:8]


def start_of(pid: int) -> int:
    """Return when process `pid` started, in ticks since the machine did; 0 where not known.

    A process number is given again to another process; with its start it is unique.
    """
    try:
        # The second field is a name in parentheses, which may hold blanks and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return int(fields[19])  # field 22 of proc(5), which counts from 1
    except (OSError, IndexError, ValueError):
        return 0


def is_alive(pid: int, start: int) -> bool:
    """Return whether the process of this machine lives that had number `pid` and `start`."""
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's; no number of a process
        pass
    return not start or start_of(pid) in (start, 0)


# ------------------------------------------------------------------------------ temporary files

# Nothing is written to a temporary file of another machine, where its process cannot be asked for,
# after this long.
ABANDONED_SECONDS = 7 * 24 * 3600
_TEMPORARY = re.compile(r"\.tmp-([0-9a-f]{8})-([0-9]+)-([0-9]+)-[0-9a-f]+(\..*)?", re.DOTALL)


def temporary_name(suffix: str = "") -> str:
    """Return a free hidden name that tells its process and machine, for `remove_leftovers`."""
    pid = os.getpid()
    return f".tmp-{machine()}-{pid}-{start_of(pid)}-{secrets.token_hex(4)}{suffix}"


def remove_leftovers(folder: Path) -> None:
    """Remove from `folder` what processes left under a `temporary_name` when they were killed."""
    with contextlib.suppress(OSError):
        for entry in [*os.scandir(folder)]:
            found = _TEMPORARY.fullmatch(entry.name)
            if found is not None and _is_abandoned(Path(entry.path), found):
                remove(Path(entry.path))


def remove(path: Path) -> None:
    """Remove a file or a folder with what is in it, as far as it can be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _is_abandoned(path: Path, name: re.Match[str]) -> bool:
    if name[1] == machine():
        return not is_alive(int(name[2]), int(name[3]))
    with contextlib.suppress(OSError):
        parts = [path, *path.rglob("*")]
        return time.time() - max(part.lstat().st_mtime for part in parts) > ABANDONED_SECONDS
    return False


# ---------------------------------------------------------------------------------------- locks


@contextlib.contextmanager
def folder_lock(folder: str | Path, *, purpose: str) -> Iterator[None]:
    """Hold a folder for one purpose within the block; a process that dies lets it go.

    Args:
        folder: is made if there is none.
        purpose: a word; locks of one folder for two purposes are two locks.

    Raises:
        UserError: another process holds it, or this one already does.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(folder / f".{purpose}.lock", shown=folder):
        yield


@contextlib.contextmanager
def file_lock(path: Path, *, shown: Path) -> Iterator[None]:
    """Hold the lock that file `path` is within the block; in messages it stands for `shown`.

    The system's lock on the file counts, which ends with its process, not that the file is there.
    On a file system without such locks it is the file that counts, and its process is looked for.

    Raises:
        UserError: another process holds it, or this one already does.
    """
    descriptor = _take(path, shown)
    try:
        os.write(descriptor, json.dumps(_owner()).encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # before the lock goes: another process may have made it again after
        os.close(descriptor)


def _owner() -> dict[str, object]:
    pid = os.getpid()
    return {
        "pid": pid,
        "start": start_of(pid),
        "machine": machine(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _take(path: Path, shown: Path) -> int:
    """Return the descriptor of `path`, locked and empty."""
    while True:
        descriptor, is_new = _open(path)
        if descriptor is None:
            continue  # its owner removed it meanwhile
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file(descriptor, path):
                os.ftruncate(descriptor, 0)
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise UserError(_refusal(path, shown)) from None
        except OSError:  # no such locks here: whoever made the file has it
            if is_new:
                return descriptor
            _remove_if_dead(path, shown)
        os.close(descriptor)


def _open(path: Path) -> tuple[int | None, bool]:
    """Return a descriptor of `path`, and whether the file is new."""
    with contextlib.suppress(FileExistsError):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW), False
    return None, False


def _is_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _remove_if_dead(path: Path, shown: Path) -> None:
    owner = _read(path)
    if owner is None or owner["machine"] != machine() or is_alive(owner["pid"], owner["start"]):
        raise UserError(f"{_refusal(path, shown)} If it has ended, delete {path}.")
    path.unlink(missing_ok=True)


def _read(path: Path) -> dict | None:
    """Return the owner that a lock tells; None: none yet, or the file is no lock."""
    try:
        owner = json.loads(path.read_text("utf-8"))
        return owner if isinstance(owner, dict) and {*_owner()} <= {*owner} else None
    except (OSError, ValueError):
        return None


def _refusal(path: Path, shown: Path) -> str:
    owner, who = _read(path), "another process is using"
    if owner is not None:
        who = f"process {owner['pid']} on {owner['host']} is using since {owner['since']}"
    return (
        f"Expected a place that no other process is using. Received: {shown}, which {who}. "
        "Wait until it ends, or end it."
    )
