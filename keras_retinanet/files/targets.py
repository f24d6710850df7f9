"""What a command may replace: files that it wrote itself, and no one else's.

Each kind is told by its first bytes, or by the mark of this package that its writer leaves in it.
"""

import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from keras_retinanet.errors import UserError

# In images, pages and state dicts that this package writes.
MARK = "keras_retinanet"
HEAD = 4096  # bytes
# Of a member of an archive; that of a real model takes some hundred kilobytes.
MAX_MEMBER = 16 << 20


def _begins(pattern: str) -> Callable[[Path], bool]:
    compiled = re.compile(pattern.encode("latin-1"), re.DOTALL)

    def is_ours(path: Path) -> bool:
        with open(path, "rb") as stream:
            return compiled.match(stream.read(HEAD)) is not None

    return is_ours


def _archive(member: str, content: str) -> Callable[[Path], bool]:
    def is_ours(path: Path) -> bool:
        try:
            with zipfile.ZipFile(path) as archive:
                is_small = archive.getinfo(member).file_size <= MAX_MEMBER
                return is_small and content.encode() in archive.read(member)
        except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError):
            return False

    return is_ours


def _state_dict(path: Path) -> bool:
    return _archive(f"archive/{MARK}", "")(path) or SAFETENSORS(path)


SAFETENSORS = _begins(r'.{8}\{"__metadata__":\{"format":"pt","writer":"' + MARK)
# Kind of file -> whether a file is one.
KINDS: Mapping[str, Callable[[Path], bool]] = {
    "results": _begins(r'\s*\[\s*(\]|\{"image_id": )'),
    "shard": _begins(r'\{"format": \d+, "key": '),
    "benchmark": _begins(r'\{\s*"what": '),
    "figures": _begins(r'\{\s*"pictures": \d+,\s*"boxes": '),
    "class table": _begins("class,boxes,pictures,detections,"),
    "rows": _begins("path,x1,y1,x2,y2,class,score\n"),
    "video rows": _begins("frame,seconds,x1,y1,x2,y2,class,score(,track)?\n"),
    # Of MOTChallenge.
    "tracks": _begins(r"(\d+,){2}([-\d.]+,){5}-1,-1,-1\n"),
    "counts": _begins(r'\{\s*"lines": \['),
    "page": _begins(f'.*<meta name="generator" content="{MARK}">'),
    "recipe": _begins("# Anchors fitted to [^\n]* by `keras_retinanet anchors fit`"),
    "picture": _begins(rf"(\x89PNG|\xff\xd8).*{MARK}"),
    "model": _archive("config.json", f'"{MARK}>'),
    "tflite": _archive("model.json", f'"{MARK}":'),
    # Fields 1 and 2 of onnx.proto's ModelProto: `ir_version` and `producer_name`.
    "onnx": _begins(rf"\x08.\x12\x0f{MARK}"),
    "torchvision": _state_dict,
}


def is_free(path: Path, kind: str) -> bool:
    """Return whether a file of `kind` may be written to `path`: nothing of anyone else is lost."""
    if not path.exists():
        return True
    return path.is_file() and (not path.stat().st_size or KINDS[kind](path))


def check_new_folder(path: str | Path) -> None:
    """Raise UserError unless `path` is free, or an empty folder."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(
            f"Expected a new or an empty folder to write to. Received: {path}, which is there. "
            "Name another one, or remove it."
        )


def check_target(path: str | Path, kind: str, *, flag: str) -> None:
    """Refuse to replace what this package did not write.

    Args:
        kind: one of `KINDS`.
        flag: that named the file.

    Raises:
        UserError: a folder is there, or a file that is not empty and none of `kind`.
    """
    if not is_free(Path(path), kind):
        raise UserError(
            "Expected a new file, or one of the same kind that this package wrote. "
            f"Received: {flag} {path}, which holds something else. Name another one."
        )
