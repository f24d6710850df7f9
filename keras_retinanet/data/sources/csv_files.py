"""CSV as the older keras-retinanet had it: `path,x1,y1,x2,y2,class`, a box a row.

Layouts under `data_dir`: `train.csv`, `val.csv`, `test.csv` (splits), or `annotations.csv` (one
set), or `<split>/_annotations.csv` beside the images (Roboflow). Boxes are pixels, from 0.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from keras_retinanet.config.schema import DataConfig
from keras_retinanet.data.images.image_formats import IMAGE_SUFFIXES
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset
from keras_retinanet.data.regular_files import matching
from keras_retinanet.data.sources.folders import PictureFolder
from keras_retinanet.data.sources.source_files import (
    Object,
    Picture,
    csv_rows,
    excerpt,
    number,
    read_records,
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
# The columns in the order they have without a header, and what a header may call each.
COLUMNS = {
    "path": ("path", "filename", "file_name", "file", "image", "image_path", "img_path"),
    "x1": ("x1", "xmin", "x_min", "left"),
    "y1": ("y1", "ymin", "y_min", "top"),
    "x2": ("x2", "xmax", "x_max", "right"),
    "y2": ("y2", "ymax", "y_max", "bottom"),
    "class": ("class", "class_name", "label", "category"),
}


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
        config.images or path.parent, problems, allow_outside=config.allow_outside
    )
    pictures, objects = _read(path, folder, class_names, problems)
    records = read_records(pictures, objects.__getitem__, problems)
    return Dataset("csv", split or ONE_SET, class_names, class_ids, records, problems)


def _folder(config: DataConfig) -> str:
    return config.data_dir or DEFAULT_DIR


def _find_files(config: DataConfig) -> dict[str, Path]:
    """Return split -> file; `ONE_SET` -> file where there are no splits."""
    if config.annotations is not None:
        return {ONE_SET: Path(config.annotations)}
    folder = Path(_folder(config))
    found = {name: folder / f"{name}.csv" for name in SPLITS if (folder / f"{name}.csv").is_file()}
    if not found:
        found = {path.parent.name: path for path in matching(folder, f"*/{ROBOFLOW_FILE}")}
    if not found and (folder / SINGLE_FILE).is_file():
        found = {ONE_SET: folder / SINGLE_FILE}
    if not found:
        raise UserError(
            f"Expected CSV files: {LAYOUT}. Received: data_dir={folder}, without them. Point "
            "--data_dir at their folder, or name one with --annotations FILE --images DIR."
        )
    return found


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
    return list(pictures.values()), list(objects.values())


def _rows(path: Path, problems: Problems) -> Iterator[_Row]:
    """Yield the rows that can be read; the others are counted."""
    columns, width = tuple(range(len(COLUMNS))), len(COLUMNS)
    for index, (line, cells) in enumerate(csv_rows(path)):
        where = f"{path.name}, line {line}"
        if index == 0 and _is_header(cells):
            columns, width = _header_columns(cells, f"{path}, line {line}"), len(cells)
            continue
        if len(cells) == 1 and os.path.splitext(cells[0])[1].lower() in IMAGE_SUFFIXES:
            yield _Row(where, cells[0], (), "")
            continue
        row = _row([cells[column] for column in columns], where) if len(cells) == width else None
        if row is None:
            problems.note("malformed annotation", f"{where}: {excerpt(','.join(cells))}")
        else:
            yield row


def _row(cells: list[str], where: str) -> _Row | None:
    file_name, *sides, class_name = cells
    class_name = unquoted(class_name.strip())
    if file_name and not class_name and not any(side.strip() for side in sides):
        return _Row(where, file_name, (), "")
    try:
        box = tuple(number(side) for side in sides)
    except ValueError:
        return None
    return _Row(where, file_name, box, class_name) if file_name and class_name else None


def _is_header(cells: list[str]) -> bool:
    """Return whether every cell is a word: no number, nothing empty and no image."""
    return len(cells) >= len(COLUMNS) and all(_is_word(cell.strip()) for cell in cells)


def _is_word(cell: str) -> bool:
    try:
        number(cell)
    except ValueError:
        return bool(cell) and os.path.splitext(cell)[1].lower() not in IMAGE_SUFFIXES
    return False


def _header_columns(cells: list[str], where: str) -> tuple[int, ...]:
    names = [cell.strip().lower() for cell in cells]
    places = [
        next((index for index, name in enumerate(names) if name in called), None)
        for called in COLUMNS.values()
    ]
    columns = tuple(place for place in places if place is not None)
    if len(columns) < len(COLUMNS):
        raise UserError(
            f"Expected columns {','.join(COLUMNS)}, with or without that header. "
            f"Received: {where}: {excerpt(','.join(cells))}. Rename or reorder the columns."
        )
    return columns


def _classes(config: DataConfig, files: list[Path]) -> tuple[list[str], list[int]]:
    beside = files[0].parent / CLASS_FILE
    if config.class_file is not None:
        return _read_class_file(Path(config.class_file))
    if beside.is_file():
        return _read_class_file(beside)
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
