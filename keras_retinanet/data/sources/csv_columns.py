"""What the columns of a CSV file mean: their separator, their header, the boxes of a row."""

import ast
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from keras_retinanet.data.sources.outlines import turned_bounds
from keras_retinanet.data.sources.source_files import excerpt, first_line, number
from keras_retinanet.errors import UserError
from keras_retinanet.files.images.image_formats import IMAGE_SUFFIXES

# The columns in the order they have without a header, and what a header may call each; the
# clearest name first.
COLUMNS = {
    "path": (
        "path", "filename", "file_name", "image_path", "img_path", "filepath", "file_path", "file",
        "image", "image_name", "image_filename", "img", "image_id", "imageid", "img_id",
    ),
    "x1": ("x1", "xmin", "x_min", "left", "bbox_x1", "x0"),
    "y1": ("y1", "ymin", "y_min", "top", "bbox_y1", "y0"),
    "x2": ("x2", "xmax", "x_max", "right", "bbox_x2"),
    "y2": ("y2", "ymax", "y_max", "bottom", "bbox_y2"),
    "class": (
        "class", "class_name", "classname", "label", "label_name", "category", "category_name",
        "tag", "name", "object", "class_id", "label_id", "category_id", "classid", "labelname",
    ),
}  # fmt: skip
# Instead of corners: a corner with width and height, or a cell with a list of such numbers.
SIZED = {
    "x": ("bbox_x", "x"),
    "y": ("bbox_y", "y"),
    "w": ("bbox_width", "bbox_w", "w", "width"),
    "h": ("bbox_height", "bbox_h", "h", "height"),
}
# Degrees by which a box is turned about its center.
ANGLES = ("rotation", "angle", "bbox_rotation")
CELLS = ("bbox", "bboxes", "box", "boxes", "bounding_box", "bounding_boxes", "annotations")
# Columns that are no class under another name: where none is left, there is one class.
NEUTRAL = frozenset(
    "width height depth source area id index fold split set image_width image_height video_id "
    "sequence video_frame sequence_frame confidence score difficult truncated occluded".split()
)
ONLY_CLASS = "object"
SEPARATORS = ",;\t|"
# A cell with a long list of boxes; longer ones are malformed.
MAX_CELL = 1 << 16
_QUOTED = re.compile(r'"[^"]*"|\[[^\]]*\]')
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


class Columns(NamedTuple):
    """Where a row of `width` cells has what.

    Attributes:
        sides: the columns of x1, y1, x2, y2, or, if `sized`, of x, y, width, height, or one column
            with a list of x, y, width, height.
        label: the column of the class; None: there is one class, `ONLY_CLASS`.
        comma: whether numbers have a decimal comma.
        angle: the column of the degrees by which a box is turned; None: there is none.
    """

    path: int = 0
    sides: tuple[int, ...] = (1, 2, 3, 4)
    label: int | None = 5
    width: int = len(COLUMNS)
    sized: bool = False
    comma: bool = False
    angle: int | None = None

    def degrees(self, cells: Sequence[str]) -> float:
        """Return by how much the box of a row is turned. Raises ValueError if malformed."""
        text = cells[self.angle].strip() if self.angle is not None else ""
        return self._number(text) if text else 0.0

    def _number(self, text: str) -> float:
        return number(text.replace(",", ".") if self.comma else text)

    def boxes(self, cells: Sequence[str]) -> list[tuple[float, ...]]:
        """Return the boxes xyxy of a row; none of an empty one. Raises ValueError if malformed."""
        texts = [cells[column].strip() for column in self.sides]
        if not any(texts):
            return []
        if len(texts) == 1:
            boxes = [_corners(box) for box in _listed_boxes(texts[0])]
        else:
            box = tuple(self._number(text) for text in texts)
            boxes = [_corners(box) if self.sized else box]
        degrees = self.degrees(cells)
        if not degrees % 180:
            return boxes
        return [
            turned_bounds(x1, y1, x2 - x1, y2 - y1, degrees=degrees) for x1, y1, x2, y2 in boxes
        ]


def separator(path: Path) -> str:
    """Return the character between the cells of a file, by its first line."""
    line = _QUOTED.sub("", first_line(path))
    return max(SEPARATORS, key=lambda letter: (line.count(letter), -SEPARATORS.index(letter)))


def is_header(cells: Sequence[str]) -> bool:
    """Return whether the cells are words: none is a number or an image."""
    names = [cell.strip().lower() for cell in cells]
    is_long = len(cells) >= len(COLUMNS) or any(name in COLUMNS["path"] for name in names)
    return is_long and any(names) and all(map(_is_word, names))


def has_image(cell: str) -> bool:
    return os.path.splitext(cell.strip())[1].lower() in IMAGE_SUFFIXES


def header_columns(cells: Sequence[str], where: str, *, comma: bool) -> Columns:
    """Return the columns that a header names.

    Raises:
        UserError: one is not there, or has no name that is known; names those that there are.
    """
    names = [cell.strip().lower() for cell in cells]
    path, label = _find(names, COLUMNS["path"]), _find(names, COLUMNS["class"])
    angle = _find(names, ANGLES)
    corners = [_find(names, COLUMNS[key]) for key in ("x1", "y1", "x2", "y2")]
    sized = [_find(names, called) for called in SIZED.values()]
    lists = [_find(names, CELLS)]
    is_sized = None in corners
    sides = next((found for found in (corners, sized, lists) if None not in found), None)
    if sides is not None and label is None:
        used = {path, angle, *sides}
        others = [name for index, name in enumerate(names) if index not in used]
        has_class = any(name and name not in NEUTRAL and "unnamed" not in name for name in others)
        sides = None if has_class else sides
    if path is None or sides is None:
        raise UserError(
            f"Expected columns {','.join(COLUMNS)}, with or without that header; or path,x,y,w,h,"
            f"class; or path,bbox,class. Received: {where}: {excerpt(','.join(cells))}. Rename or "
            "reorder the columns."
        )
    columns = tuple(side for side in sides if side is not None)
    return Columns(path, columns, label, len(cells), is_sized, comma, angle)


def _find(names: Sequence[str], called: Sequence[str]) -> int | None:
    return next((names.index(name) for name in called if name in names), None)


def _is_word(cell: str) -> bool:
    try:
        number(cell)
    except ValueError:
        return not has_image(cell)
    return False


def _corners(box: Sequence[float]) -> tuple[float, ...]:
    x, y, width, height = box
    return x, y, x + width, y + height


def _listed_boxes(text: str) -> list[tuple[float, ...]]:
    """Return the boxes x, y, width, height of a cell: [1, 2, 3, 4], 1 2 3 4 5 6 7 8 or dicts."""
    if len(text) > MAX_CELL:
        raise ValueError("too long")
    if "{" in text:
        return [_of_dict(item) for item in _literal(text)]
    values = [float(found) for found in _NUMBER.findall(text)]
    if len(values) % 4 or _NUMBER.sub("", text).strip("[](){},; \t\n"):
        raise ValueError("no boxes of four numbers")
    return [tuple(values[at : at + 4]) for at in range(0, len(values), 4)]


def _literal(text: str) -> list:
    try:
        found = ast.literal_eval(text)
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError("no list") from error
    return found if isinstance(found, list) else [found]


def _of_dict(item: object) -> tuple[float, ...]:
    if not isinstance(item, dict):
        raise TypeError("no box")
    names = {str(key).lower(): value for key, value in item.items()}
    found = [
        next((names[name] for name in called if name in names), None) for called in SIZED.values()
    ]
    return tuple(number(str(value)) for value in found)
