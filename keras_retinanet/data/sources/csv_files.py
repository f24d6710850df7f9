"""CSV as the older keras-retinanet had it: `path,x1,y1,x2,y2,class`, a box a row.

Layouts under `data_dir`: `train.csv`, `val.csv`, `test.csv` (splits; also `x_train_labels.csv`), or
`annotations.csv` or one file of another name (one set), or `<split>/_annotations.csv` beside the
images (Roboflow). Boxes are pixels, from 0. Lists of keras-yolo3 are read as well: a .txt with an
image and its boxes `x1,y1,x2,y2,class` a line.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from keras_retinanet.config import DataConfig
from keras_retinanet.data.names import split_in
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset
from keras_retinanet.data.regular_files import matching
from keras_retinanet.data.sources.csv_columns import (
    ONLY_CLASS,
    Columns,
    has_image,
    header_columns,
    is_header,
    separator,
)
from keras_retinanet.data.sources.folders import PictureFolder
from keras_retinanet.data.sources.source_files import (
    Object,
    Picture,
    csv_rows,
    excerpt,
    first_line,
    read_records,
    text_lines,
)
from keras_retinanet.data.splits import match_split
from keras_retinanet.errors import UserError
from keras_retinanet.files.csv_cells import unquoted
from keras_retinanet.files.names import name_key

DEFAULT_DIR = "data/csv"
SPLITS = ("train", "val", "valid", "validation", "test")
SINGLE_FILE = "annotations.csv"
ROBOFLOW_FILE = "_annotations.csv"
# Taken if it lies beside the annotations and no other class file is named.
CLASS_FILE = "classes.csv"
ONE_SET = "all"
LAYOUT = f"train.csv, val.csv (rows path,x1,y1,x2,y2,class); {SINGLE_FILE}; */{ROBOFLOW_FILE}"
# Files that Kaggle packs with a set.
NO_ANNOTATIONS = (CLASS_FILE, "sample_submission.csv")
# A line of keras-yolo3: an image, and boxes with the number of their class.
_YOLO3_LINE = re.compile(r"(?P<path>\S.*?)(?P<boxes>(?:\s+-?[\d.]+(?:,-?[\d.]+){3},\d+)*)\s*")


class _Row(NamedTuple):
    """One row; a negative image has no box and no class."""

    where: str
    file_name: str
    box: tuple[float, ...]
    class_name: str


def splits(config: DataConfig) -> list[str]:
    """Return the names of the splits there; none for a single file.

    Raises:
        UserError: nothing of the kind lies in the folder.
    """
    return [name for name in _find_files(config) if name != ONE_SET]


def load(config: DataConfig, split: str | None) -> Dataset:
    """Read one split: its rows, and the size of each image from its header.

    Rows of one image may lie apart. A row with a path alone makes an image without boxes; so it
    does not where the image has boxes in other rows.

    Args:
        config: `data_dir`, or `annotations` and `images`; and `class_file` are used. Images are
            relative to `images`, else to the file that names them.
        split: a split's name; None: all of a set without splits.

    Returns:
        Classes are those of the class file, by their ids; without one all names in the files of
        the folder, sorted, with ids from 1.

    Raises:
        UserError: a file is missing, cut off or not UTF-8, or there is no such split.
    """
    files = _find_files(config)
    if ONE_SET not in files:
        split = match_split(split or "train", list(files), _folder(config))
    path = files[ONE_SET if ONE_SET in files else str(split)]
    class_names, class_ids = _classes(config, list(files.values()))
    problems = Problems(strict=config.strict)
    folder = PictureFolder(
        config.images or path.parent,
        problems,
        also=[path.parent],
        split=split,
        allow_outside=config.allow_outside,
    )
    pictures, objects = _read(path, folder, class_names, problems)
    units = config.units or "pixels"
    records = read_records(pictures, objects, problems, units=units)
    return Dataset("csv", split or ONE_SET, class_names, class_ids, records, problems, units=units)


def _folder(config: DataConfig) -> str:
    return config.data_dir or DEFAULT_DIR


def _find_files(config: DataConfig) -> dict[str, Path]:
    """Return split -> file; `ONE_SET` -> file where there are no splits."""
    if config.annotations is not None:
        return {ONE_SET: Path(config.annotations)}
    folder = Path(_folder(config))
    found = {path.stem: path for name in SPLITS for path in matching(folder, f"{name}.csv")}
    if not found:
        found = {path.parent.name: path for path in matching(folder, f"*/{ROBOFLOW_FILE}")}
    if not found:
        singles = matching(folder, SINGLE_FILE) + matching(folder, ROBOFLOW_FILE)
        found = {ONE_SET: singles[0]} if singles else _by_name(folder)
    if not found:
        raise UserError(
            f"Expected CSV files: {LAYOUT}. Received: data_dir={folder}, without them. Point "
            "--data_dir at their folder, or name one with --annotations FILE --images DIR."
        )
    return found


def _by_name(folder: Path) -> dict[str, Path]:
    """Return the files whose names have the word for a split, or the only one there is."""
    for pattern in ("*.csv", "*.tsv", "*/*.csv", "*.txt"):
        files = [path for path in matching(folder, pattern) if path.name not in NO_ANNOTATIONS]
        if pattern == "*.txt":
            files = [path for path in files if is_yolo3_list(path)]
        named = {name: path for path in files if (name := split_in(path.stem))}
        if named or len(files) == 1:
            return named or {ONE_SET: files[0]}
    return {}


def is_yolo3_list(path: Path) -> bool:
    """Return whether the first line of a text is one of keras-yolo3's lists, with a box."""
    match = _YOLO3_LINE.fullmatch(first_line(path))
    return match is not None and bool(match["boxes"])


def _read(
    path: Path, folder: PictureFolder, class_names: list[str], problems: Problems
) -> tuple[list[Picture], list[list[Object]]]:
    """Return the images that are there, in the order they are named first, and their objects."""
    class_index = {name_key(name): index for index, name in enumerate(class_names)}
    # An image may be named in several spellings, such as ./a.jpg and A.JPG.
    known: dict[str, str | None] = {}
    pictures: dict[str, Picture] = {}
    objects: dict[str, list[Object]] = {}
    for row in _rows(path, problems):
        if row.file_name not in known:
            found = folder.find(row.file_name, where=row.where)
            known[row.file_name] = found and os.path.normpath(found)
        key = known[row.file_name]
        if key is None:
            continue
        pictures.setdefault(key, Picture(row.file_name, key, row.file_name))
        of_picture = objects.setdefault(key, [])
        class_key = name_key(row.class_name)
        if class_key in class_index:
            of_picture.append((row.box, class_index[class_key], False, None))
        elif row.class_name:
            problems.note("undeclared class", f"{row.where}: {excerpt(row.class_name)}")
    if not known and "malformed annotation" in problems:
        raise UserError(
            f"Expected rows path,x1,y1,x2,y2,class, or a header that names the columns. Received: "
            f"{path.parent}, {problems['malformed annotation'][0]}. Rename or reorder the columns."
        )
    if known and not pictures:
        raise UserError(
            f"Expected the images that {path} names. Received: none of {len(known)} there "
            f"({folder.tried(next(iter(known)))}). Point --images at their folder."
        )
    return list(pictures.values()), list(objects.values())


def _rows(path: Path, problems: Problems) -> Iterator[_Row]:
    """Yield the rows that can be read; the others are counted."""
    if path.suffix.lower() == ".txt":
        yield from _yolo3_rows(path, problems)
        return
    delimiter = separator(path)
    columns = Columns(comma=delimiter == ";")
    for index, (line, cells) in enumerate(csv_rows(path, delimiter)):
        where = f"{path.name}, line {line}"
        if index == 0 and is_header(cells):
            columns = header_columns(cells, f"{path}, line {line}", comma=columns.comma)
            continue
        if len(cells) == 1 and has_image(cells[0]):
            yield _Row(where, cells[0], (), "")
            continue
        # An index that pandas wrote, without a header.
        if len(cells) == columns.width + 1 and cells[0].isdecimal() and has_image(cells[1]):
            cells = cells[1:]
        rows = _row(cells, columns, where)
        if rows is None:
            problems.note("malformed annotation", f"{where}: {excerpt(','.join(cells))}")
        else:
            if rows[0].box and (degrees := columns.degrees(cells)) % 180:
                problems.note("rotated box", f"{where}: by {degrees:g} degrees")
            yield from rows


def _row(cells: list[str], columns: Columns, where: str) -> list[_Row] | None:
    """Return a row for each box, one without a box for an image without; None if malformed."""
    if len(cells) != columns.width:
        return None
    file_name = cells[columns.path]
    label = ONLY_CLASS if columns.label is None else unquoted(cells[columns.label].strip())
    try:
        boxes = columns.boxes(cells)
    except (ValueError, TypeError):
        return None
    is_list = len(columns.sides) == 1
    if not file_name or (not boxes and label and not is_list) or (boxes and not label):
        return None
    return [_Row(where, file_name, box, label) for box in boxes] or [_Row(where, file_name, (), "")]


def _yolo3_rows(path: Path, problems: Problems) -> Iterator[_Row]:
    class_files = matching(path.parent, "*classes.txt")
    expected = "a list of images and boxes"
    texts = text_lines(class_files[0], expected) if class_files else []
    names = {str(number): text.strip() for number, (_, text) in enumerate(texts)}
    for line, text in text_lines(path, expected):
        where = f"{path.name}, line {line}"
        match = _YOLO3_LINE.fullmatch(text)
        if match is None:
            problems.note("malformed annotation", f"{where}: {excerpt(text)}")
            continue
        boxes = [box.split(",") for box in match["boxes"].split()]
        for *sides, label in boxes:
            yield _Row(where, match["path"], tuple(map(float, sides)), names.get(label, label))
        if not boxes:
            yield _Row(where, match["path"], (), "")


def _classes(config: DataConfig, files: list[Path]) -> tuple[list[str], list[int]]:
    class_file = Path(config.class_file or files[0].parent / CLASS_FILE)
    if config.class_file or class_file.is_file():
        return _read_class_file(class_file)
    # What is wrong in these rows is counted when their own split is read.
    names = {row.class_name for path in files for row in _rows(path, Problems())}
    class_names = sorted(names - {""})
    return class_names, list(range(1, len(class_names) + 1))


def _read_class_file(path: Path) -> tuple[list[str], list[int]]:
    """Return the names in the order of their ids, and the ids: from 1 where the file has none."""
    ids: dict[str, int] = {}
    used: set[int] = set()
    for line, cells in csv_rows(path):
        name = unquoted(cells[0].strip())
        try:
            class_id = int(cells[1]) if len(cells) > 1 else len(ids) + 1
        except ValueError:
            class_id = -1
        if not name or len(cells) > 2 or class_id < 0 or name in ids or class_id in used:
            raise UserError(
                "Expected a class a line, as name,id or name alone, each once, ids from 0 or 1. "
                f"Received: {path}, line {line}: {excerpt(','.join(cells))}. Fix that line."
            )
        ids[name] = class_id
        used.add(class_id)
    if not ids:
        raise UserError(
            f"Expected class names. Received: {path}, which is empty. Write them there."
        )
    class_names = sorted(ids, key=lambda name: ids[name])
    return class_names, [ids[name] for name in class_names]
