"""The rows of a COCO file -> classes, images and boxes; what is wrong with a row is counted."""

import math
from collections import defaultdict
from collections.abc import Container
from pathlib import Path
from typing import Any

from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import FLOAT32_MAX
from keras_retinanet.data.sources.coco_json import TextNumberError, as_id, as_number
from keras_retinanet.data.sources.folders import PictureFolder
from keras_retinanet.data.sources.outlines import outline_bounds, turned_bounds
from keras_retinanet.data.sources.source_files import Object, Picture
from keras_retinanet.data.units import Units
from keras_retinanet.errors import UserError, shown
from keras_retinanet.files.images.headers import MAX_PIXELS

ANGLE_KEYS = ("rotation", "angle")
# How Azure Machine Learning names images in its exports.
AZURE_KEYS, AZURE_URL = ("coco_url", "absolute_url"), "AmlDatastore://"


def read_classes(content: dict, path: Path) -> tuple[list[str], list[int], dict[int | str, int]]:
    """Return names, original ids and id -> contiguous index, in the order of the ids.

    Two ids of one name are one class: Roboflow adds a parent, which may be called as its child.
    """
    names: dict[int, str] = {}
    for row in content["categories"]:
        class_id, name = _class_of(row)
        if class_id is None or not name or names.setdefault(class_id, name) != name:
            raise UserError(
                "Expected categories with an integer as id, each once, and a name. "
                f"Received: {path}, category {shown(row)}."
            )
    class_names = list(dict.fromkeys(names[key] for key in sorted(names)))
    annotations = content.get("annotations", [])
    used = {as_id(row.get("category_id")) for row in annotations if isinstance(row, dict)}
    class_ids = [
        min((key for key in names if names[key] == name), key=lambda key: (key not in used, key))
        for name in class_names
    ]
    index = {name: place for place, name in enumerate(class_names)}
    return class_names, class_ids, {key: index[name] for key, name in names.items()}


def _class_of(row: Any) -> tuple[int | None, str]:
    """Return (id, name) of a category; None or "" for what is not sound."""
    if not isinstance(row, dict):
        return None, ""
    class_id, name = as_id(row.get("id")), row.get("name")
    if isinstance(class_id, str):
        class_id = int(class_id) if class_id.isdecimal() and len(class_id) < 19 else None
    name = str(as_id(name)) if as_id(name) is not None else ""
    # JSON can hold half a pair of UTF-16, which no file of results could.
    return class_id, "" if any("\ud800" <= letter <= "\udfff" for letter in name) else name


def id_of(row: Any) -> int | str | None:
    return as_id(row.get("id")) if isinstance(row, dict) else None


def own_units(images: list) -> Units:
    """Return the unit of a file's boxes: Azure ML's, told by its addresses, are fractions."""
    addresses = (row.get(key) for row in images for key in AZURE_KEYS if isinstance(row, dict))
    is_azure = any(isinstance(text, str) and text.startswith(AZURE_URL) for text in addresses)
    return "fractions" if is_azure else "pixels"


def _angle(row: dict) -> float:
    """Return the degrees by which a box is turned about its center: CVAT's, or an angle field."""
    attributes = row.get("attributes")
    for place in (attributes if isinstance(attributes, dict) else {}, row):
        for angle in (place.get(key) for key in ANGLE_KEYS):
            if isinstance(angle, int | float) and not isinstance(angle, bool):
                return float(angle) if math.isfinite(angle) else 0.0
    return 0.0


class RowReader:
    """Reads the rows of one file; what is wrong with one of them is counted under its place."""

    def __init__(self, name: str, class_index: dict[int | str, int], problems: Problems):
        self._name = name
        self._class_index = class_index
        self._problems = problems

    def objects(self, rows: list, known: set[int | str]) -> dict[int | str, list[Object]]:
        """Return image id -> its objects.

        Args:
            rows: the file's "annotations".
            known: the ids of its images.
        """
        objects: dict[int | str, list[Object]] = defaultdict(list)
        seen: set[int | str] = set()
        unlisted: set[int | str] = set()
        for number, row in enumerate(rows):
            where = f"{self._name}, annotations[{number}]"
            try:
                image_id = self._known_id(row["image_id"], known, where)
                category = self._known_id(row["category_id"], self._class_index, where)
                box = self._box(row, where)
                ignore = self._is_crowd(row.get("iscrowd"), where)
            except (KeyError, TypeError, ValueError, AttributeError):
                self._problems.note("malformed annotation", f"{where}: {shown(row)}")
                continue
            annotation_id = as_id(row.get("id"))
            if annotation_id is not None:
                if annotation_id in seen:
                    self._problems.note("annotation id twice", f"{where}: id {annotation_id}")
                seen.add(annotation_id)
            if image_id in unlisted:
                continue
            if image_id not in known:
                note = f"{where}: image_id {image_id}"
                self._problems.note("annotations of an unlisted picture", note)
                unlisted.add(image_id)
            elif category not in self._class_index:
                self._problems.note("undeclared class", f"{where}: category_id {category}")
            else:
                area = self._area(row.get("area"), where)
                objects[image_id].append((box, self._class_index[category], ignore, area))
        return objects

    def _box(self, row: dict, where: str) -> tuple[float, ...]:
        """Return x1, y1, x2, y2: of the bbox, turned as the row says, or else of its outline."""
        outline, box = row.get("segmentation"), row.get("bbox")
        is_empty = box in (None, []) or (
            isinstance(box, list) and len(box) == 4 and all(side in (0, None) for side in box)
        )
        bounds = outline_bounds(outline) if is_empty and outline else None
        if bounds is not None:
            self._problems.note("outline without a box", where)
            return bounds
        x, y, width, height = self._numbers(row["bbox"], where)
        angle = _angle(row)
        if angle % 180:
            self._problems.note("rotated box", f"{where}: by {angle:g} degrees")
        return turned_bounds(x, y, width, height, degrees=angle)

    def pictures(self, rows: list, folder: PictureFolder) -> list[Picture]:
        """Return each image that is there, once."""
        seen, present = set(), []
        for number, row in enumerate(rows):
            where = f"{self._name}, images[{number}]"
            image_id = id_of(row)
            if image_id is None or not isinstance(row.get("file_name"), str):
                self._problems.note("malformed picture entry", f"{where}: {shown(row)}")
                continue
            if image_id in seen:
                self._problems.note("picture id twice", f"{where}: {row['file_name']}")
                continue
            path = folder.find(row["file_name"], where=where)
            if path is not None:
                seen.add(image_id)
                size = self._size(row.get("height"), row.get("width"), where)
                present.append(Picture(image_id, path, row["file_name"], size))
        return present

    def _known_id(self, value: object, known: Container, where: str) -> int | str:
        """Return the id; one that is known as the number that it is the text of is that."""
        found = as_id(value)
        if found is None:
            raise TypeError("no id")
        if isinstance(found, str) and found not in known:
            number = int(found) if found.isdecimal() and len(found) < 19 else found
            if number in known:
                self._problems.note("number as text", f"{where}: {shown(value)}")
                return number
        return found

    def _numbers(self, values: object, where: str) -> list[float]:
        if not isinstance(values, list) or len(values) != 4:
            raise TextNumberError("not four numbers")
        if all(type(value) is float for value in values):  # nearly always; sooner told
            return values
        numbers, texts = zip(*map(as_number, values), strict=True)
        if any(texts):
            self._problems.note("number as text", f"{where}: bbox {shown(values)}")
        return list(numbers)

    def _is_crowd(self, value: object, where: str) -> bool:
        if value is None:
            return False
        number, is_text = (float(value), False) if isinstance(value, bool) else as_number(value)
        if number not in (0, 1):
            raise ValueError("neither 0 nor 1")
        if is_text:
            self._problems.note("number as text", f"{where}: iscrowd {shown(value)}")
        return bool(number)

    def _area(self, value: object, where: str) -> float | None:
        """Return the annotation's own area; None where it has none, or 0."""
        try:
            number, is_text = as_number(0 if value is None else value)
        except TextNumberError:
            number, is_text = math.nan, False
        if not 0 <= number <= FLOAT32_MAX:  # also of NaN
            self._problems.note("area not sound", f"{where}: area {shown(value)}")
            return None
        if is_text:
            self._problems.note("number as text", f"{where}: area {shown(value)}")
        return number or None

    def _size(self, height: object, width: object, where: str) -> tuple[int, int] | None:
        """Return the size in whole pixels, or None: the image's header tells it then."""
        try:
            (rows, rows_text), (columns, columns_text) = as_number(height), as_number(width)
        except TextNumberError:
            return None
        # Also false for NaN. What claims to be larger than any image may be is a mistake.
        if not (rows >= 1 and columns >= 1 and rows * columns <= MAX_PIXELS):
            return None
        if rows % 1 or columns % 1:
            return None
        if rows_text or columns_text:
            self._problems.note("number as text", f"{where}: {shown(height)} x {shown(width)}")
        return int(rows), int(columns)
