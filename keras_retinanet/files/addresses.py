"""Cameras and addresses of streams as words; nothing here needs OpenCV."""

import os
from pathlib import Path
from urllib.parse import urlsplit

# How often in a row a live source that breaks off is opened again.
RETRIES = 5


def is_address(source: object) -> bool:
    """Return whether `source` is the address of a stream, as rtsp:// and http://."""
    return isinstance(source, str) and "://" in source


def video_name(source: str | os.PathLike[str] | int) -> str:
    """Return a name for files of a source: camera_0, or the end of a path or an address."""
    if isinstance(source, int):
        return f"camera_{source}"
    if not is_address(source):
        return Path(source).stem
    parts = urlsplit(str(source))
    stem = Path(parts.path).stem or parts.hostname or "stream"
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in stem).strip(".") or "stream"
