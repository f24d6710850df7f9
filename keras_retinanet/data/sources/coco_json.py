"""A COCO file -> its three lists, and each of its values as what it should be.

The whole file is a `UserError` naming the line if it is no JSON of that form; one bad value makes
one entry malformed, which the caller counts.
"""

import io
import json
import math
import os
import re
from typing import Any

from keras_retinanet.errors import UserError, listed, shown
from keras_retinanet.files import open_regular
from keras_retinanet.files.text_files import MAX_JSON_BYTES, parse_json

LISTS = ("images", "categories", "annotations")
# A field that only another tool's file has -> what to do about it.
OTHER_TOOLS = {
    "shapes": ": labelme's, an image a file; convert them with labelme2coco",
    "_via_img_metadata": ": VIA's project; export it as COCO",
    "tags": ": Supervisely's; convert its project to COCO",
    "assets": ": VoTT's; export CSV or Pascal VOC from it",
}
# COCO's own files nest 5 deep (segmentations); Python's parser gives up at about a thousand.
_MAX_DEPTH = 900
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)


class TextNumberError(ValueError):
    """A value that is no number, nor a text of one."""


def read_coco(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a COCO file: an object with the lists that `LISTS` names.

    "annotations" may be missing. The file is UTF-8, with or without a byte order mark, or UTF-16.

    Raises:
        UserError: not there, cut off, nested too deep, not of that form; names file and line.
    """
    try:
        content = _parse(_text(path), path)
    except FileNotFoundError as error:
        raise UserError(
            f"Expected an annotation file. Received: {path}, which is not there."
        ) from error
    except OSError as error:
        raise UserError(f"Expected an annotation file. Received: {path} ({error}).") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _not_whole(path, line, f"not in {error.encoding}: {error.reason}") from error
    if (
        not isinstance(content, dict)
        or "images" not in content
        or "categories" not in content
        or not all(isinstance(content.get(name, []), list) for name in LISTS)
    ):
        raise UserError(
            "Expected COCO's form: an object with the lists images, categories and annotations. "
            f"Received: {path}, {_described(content)}. See https://cocodataset.org, Data format."
        )
    return content


def _described(content: Any) -> str:
    """Return what a JSON file has that is not COCO's: its fields, and whose they are."""
    if isinstance(content, list):
        return f"a list of {len(content)} entries"
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    fields = listed([str(key) for key in content], limit=8) or "none"
    tool = next((tool for key, tool in OTHER_TOOLS.items() if key in content), "")
    return f"with the fields {fields}{tool}"


def as_id(value: object) -> int | str | None:
    """Return an id: an integer or a text as it is; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def as_number(value: object) -> tuple[float, bool]:
    """Return (a number, whether it was a text); an integer too long for a float is infinite.

    Raises:
        TextNumberError: it is neither.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value), False
        except OverflowError:
            return (math.inf if value > 0 else -math.inf), False
    if not isinstance(value, str):
        raise TextNumberError(shown(value))
    try:
        return float(value), True
    except ValueError as error:
        raise TextNumberError(shown(value)) from error


def _text(path: str | os.PathLike[str]) -> str:
    with open_regular(path, max_bytes=MAX_JSON_BYTES) as stream:
        encoding = json.detect_encoding(stream.read(4))
        stream.seek(0)
        with io.TextIOWrapper(stream, encoding=encoding) as text:
            return text.read()


def _parse(text: str, path: str | os.PathLike[str], **options: Any) -> Any:
    try:
        return parse_json(text, **options)
    except json.JSONDecodeError as error:
        raise _not_whole(path, error.lineno, f"column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise _not_whole(path, _deep_line(text), "nested too deep") from error
    except ValueError:  # Python reads no integer of more than 4300 digits.
        return _parse(text, path, parse_int=_any_int)


def _any_int(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def _deep_line(text: str) -> int:
    """Return the line in which `text` is nested deeper than any file should be."""
    depth = 0
    for match in _BRACKETS.finditer(text):
        depth += bool(match[1]) - bool(match[2])
        if depth > _MAX_DEPTH:
            return text.count("\n", 0, match.start()) + 1
    return 1


def _not_whole(path: str | os.PathLike[str], line: int, why: str) -> UserError:
    return UserError(
        f"Expected a whole JSON file in UTF-8. Received: {path}, line {line} ({why}). "
        "Write or download it again."
    )
