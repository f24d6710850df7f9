"""One VOC XML file -> its objects, each with its line. Built on expat, which counts lines.

Nothing of a file can run away: a DOCTYPE, which entity bombs and outside files need, is refused,
and so is what is nested deeper than VOC's own files are. No tree is built.
"""

import math
import os
import re
from typing import NamedTuple
from xml.parsers import expat

from keras_retinanet.data.sources.outlines import outline_bounds, turned_bounds
from keras_retinanet.files import read_regular

SIDES = ("xmin", "ymin", "xmax", "ymax")
ROOT = "annotation"
# annotation/object/part/bndbox/xmin is the deepest that VOC writes; tools add a few.
MAX_DEPTH = 32
# Those of the largest images, with thousands of objects, have a megabyte.
MAX_BYTES = 16 << 20
# Of an <object>: the paths to its fields. Its <part>s have names and boxes of their own.
_FIELDS: dict[tuple[str, ...], str] = {("name",): "name", ("difficult",): "difficult"}
for _side in SIDES:
    _FIELDS["bndbox", _side] = _side
# roLabelImg's turned box: center, sides, and an angle in radians.
CENTERED = ("cx", "cy", "w", "h", "angle")
for _side in CENTERED:
    _FIELDS["robndbox", _side] = _side
# CVAT's attributes, of which one is an angle in degrees. The last one counts, until it is taken.
_ATTRIBUTE = ("attributes", "attribute")
_ATTRIBUTE_FIELDS: dict[tuple[str, ...], str] = {
    (*_ATTRIBUTE, "name"): "attribute",
    (*_ATTRIBUTE, "value"): "value",
}
# A corner of a polygon: LabelMe's <pt> has x and y, Roboflow's x1, y1, x2, ...
_POLYGON = "polygon"
_CORNER = re.compile(r"([xy])\d*")
_OBJECT_DEPTH = 2
# Expat knows one byte a letter and Unicode; these are the others that labeling tools write.
_MULTIBYTE = frozenset(
    "gb2312 gbk gb18030 cp936 big5 cp950 shift_jis shift-jis sjis cp932 euc-jp euc-kr cp949".split()
)
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")


class VocFileError(ValueError):
    """The file is no whole, plain XML; says why and in which line."""


class VocObject(NamedTuple):
    """An <object> as its file has it: every field is a text, "" where it is missing."""

    line: int
    name: str
    difficult: str
    sides: tuple[str, ...]
    rotation: str = ""
    centered: tuple[str, ...] = ()
    polygon: tuple[tuple[str, str], ...] = ()  # x and y of each corner

    def is_outlined(self) -> bool:
        """Return whether a polygon stands for a box that is missing or all zero."""
        has_box = any(side and float(side) for side in self.sides) or bool(self.centered)
        return not has_box and bool(self.polygon)

    def is_turned(self) -> bool:
        return bool(self.centered) or float(self.rotation or 0) % 180 != 0

    def box(self) -> list[float]:
        """Return xmin, ymin, xmax, ymax around the box as it is turned; ValueError if malformed."""
        if self.centered:
            x, y, width, height, radians = map(float, self.centered)
            corner, degrees = (x - width / 2, y - height / 2), math.degrees(radians)
            return [*turned_bounds(*corner, width, height, degrees=degrees)]
        if self.is_outlined():
            return [*(outline_bounds([text for corner in self.polygon for text in corner]) or ())]
        x1, y1, x2, y2 = (float(side) for side in self.sides)
        degrees = float(self.rotation or 0)
        if not degrees % 180:
            return [x1, y1, x2, y2]
        return [*turned_bounds(x1, y1, x2 - x1, y2 - y1, degrees=degrees)]


def read_objects(path: str | os.PathLike[str]) -> list[VocObject]:
    """Return the objects of an annotation file, in its order.

    Raises:
        VocFileError: it cannot be read, is cut off, or has what VOC's files do not have.
    """
    try:
        return parse_objects(read_regular(path, max_bytes=MAX_BYTES))
    except OSError as error:
        raise VocFileError(error.strerror or str(error)) from error


def parse_objects(content: bytes) -> list[VocObject]:
    """Return the objects of the bytes of an annotation file; raises as `read_objects`."""
    declared = _DECLARED.match(content[:200])
    encoding = declared[1].decode().lower() if declared else ""
    handlers = _Handlers()
    try:
        if encoding in _MULTIBYTE:
            content, encoding = content.decode(encoding).encode(), "utf-8"
        else:
            encoding = ""
        return handlers.parse(content, encoding or None)
    except (expat.ExpatError, ValueError, LookupError) as error:
        message = str(error)
        line = "" if "line " in message else f": line {handlers.line}"
        raise VocFileError(message + line) from error


class _Handlers:
    """What expat calls; keeps the path to where it is, and the objects so far."""

    def __init__(self) -> None:
        self.objects: list[VocObject] = []
        self._parser: expat.XMLParserType | None = None
        self._path: list[str] = []
        self._fields: dict[str, str] = {}
        self._current: str | None = None
        self._object_line = 0

    @property
    def line(self) -> int:
        return self._parser.CurrentLineNumber if self._parser is not None else 1

    def parse(self, content: bytes, encoding: str | None) -> list[VocObject]:
        self._parser = parser = expat.ParserCreate(encoding)
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype
        parser.Parse(content, True)
        return self.objects

    def _start(self, tag: str, _attributes: dict) -> None:
        self._path.append(tag)
        if len(self._path) == 1 and tag.lower() != ROOT:
            raise VocFileError(f"its root is <{tag}>, not <{ROOT}>: line {self.line}")
        if len(self._path) > MAX_DEPTH:
            raise VocFileError(f"nested deeper than {MAX_DEPTH} elements: line {self.line}")
        self._current = None
        if len(self._path) < _OBJECT_DEPTH or self._path[_OBJECT_DEPTH - 1] != "object":
            return
        if len(self._path) == _OBJECT_DEPTH:
            self._fields, self._object_line = {}, self.line
        place = tuple(self._path[_OBJECT_DEPTH:])
        field = _FIELDS.get(place)
        if field is not None and field in self._fields:  # the first one counts
            field = None
        field = field or _ATTRIBUTE_FIELDS.get(place)
        corner = _CORNER.fullmatch(place[-1]) if place and place[0] == _POLYGON else None
        if corner is not None:
            field = f"{_POLYGON} {corner[1]} {len(self._fields)}"  # one for each corner
        if field is not None:
            self._fields[field], self._current = "", field

    def _end(self, tag: str) -> None:
        self._current = None
        is_attribute = tuple(self._path[_OBJECT_DEPTH:]) == _ATTRIBUTE
        if is_attribute and self._fields.pop("attribute", "").strip() == "rotation":
            self._fields["rotation"] = self._fields.get("value", "")
        if len(self._path) == _OBJECT_DEPTH and tag == "object":
            texts = {key: text.strip() for key, text in self._fields.items()}
            sides = tuple(texts.get(side, "") for side in SIDES)
            centered = tuple(texts.get(side, "") for side in CENTERED)
            x, y = (
                [text for key, text in texts.items() if key.startswith(f"{_POLYGON} {axis}")]
                for axis in "xy"
            )
            self.objects.append(
                VocObject(
                    self._object_line,
                    texts.get("name", ""),
                    texts.get("difficult", ""),
                    sides,
                    texts.get("rotation", ""),
                    centered if any(centered) else (),
                    tuple(zip(x, y, strict=False)),
                )
            )
        self._path.pop()

    def _text(self, text: str) -> None:
        if self._current is not None:
            self._fields[self._current] += text

    def _doctype(self, *_: object) -> None:
        raise VocFileError(f"a DOCTYPE, which VOC files do not have: line {self.line}")
