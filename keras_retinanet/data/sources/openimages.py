"""Open Images: its CSV files as they are downloaded, and the images of it that are there.

Layout: `train-annotations-bbox.csv` (any prefix, such as `oidv6-`; also `validation-`, `test-`),
`class-descriptions-boxable.csv`, images `train/<ImageID>.jpg`, and for `hierarchy`
`bbox_labels_600_hierarchy.json` (https://storage.googleapis.com/openimages/web/download_v7.html).
"""

from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from keras_retinanet.config import DataConfig
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset
from keras_retinanet.data.regular_files import is_regular, matching
from keras_retinanet.data.sources.openimages_classes import read_classes, read_hierarchy
from keras_retinanet.data.sources.source_files import (
    Object,
    Picture,
    csv_rows,
    excerpt,
    number,
    pictures_by_stem,
    read_records,
)
from keras_retinanet.data.splits import match_split
from keras_retinanet.errors import UserError
from keras_retinanet.files.names import name_key

DEFAULT_DIR = "data/openimages"
SPLITS = ("train", "validation", "test")
BOXES = "*{}-annotations-bbox.csv"
CLASSES = "*class-descriptions-boxable.csv"
HIERARCHY = "*hierarchy*.json"
LAYOUT = "train-annotations-bbox.csv, class-descriptions-boxable.csv and train/*.jpg"
COLUMNS = ("ImageID", "LabelName", "XMin", "YMin", "XMax", "YMax")
GROUP = "IsGroupOf"
# Folders below data_dir where the CSV files, or the folders of images, may lie too.
CSV_FOLDERS = ("", "annotations", "labels", "metadata")
PICTURE_FOLDERS = ("", "images", "data")


class _Boxes:
    """Boxes of many images in compact columns: 25 bytes a box, of which there are 15 million."""

    def __init__(self) -> None:
        self.picture, self.class_index = array("i"), array("i")
        self.box, self.group = array("f"), array("b")
        # Images with a row that could be read, be its class declared or not.
        self.annotated: set[int] = set()

    def add(self, picture: int, class_index: int, box: Sequence[float], *, group: bool) -> None:
        self.picture.append(picture)
        self.class_index.append(class_index)
        self.box.extend(box)
        self.group.append(group)

    def by_picture(self, count: int) -> Callable[[int], list[Object]]:
        """Return the function from an image's index below `count` to its objects."""
        pictures = np.array(self.picture, np.int32)
        # Stable: an image's boxes stay in the order of the file, and classes behind their own.
        order = np.argsort(pictures, kind="stable")
        starts = np.searchsorted(pictures[order], np.arange(count + 1))
        boxes = np.array(self.box, np.float32).reshape(-1, 4)

        def objects_of(picture: int) -> list[Object]:
            rows = order[starts[picture] : starts[picture + 1]]
            return [
                (boxes[row].tolist(), self.class_index[row], bool(self.group[row]), None)
                for row in rows
            ]

        return objects_of


def splits(config: DataConfig) -> list[str]:
    """Return the names of the splits there; none for a single annotation file.

    Raises:
        UserError: nothing of the kind lies in the folder.
    """
    return [] if config.annotations is not None else list(_find_files(config))


def load(config: DataConfig, split: str | None) -> Dataset:
    """Read one split: the rows of the images that are there, and the images' headers.

    Few have all of it, so rows of absent images are passed over and not counted. An image
    without rows was never searched for boxes: it is counted and skipped. Boxes around a group
    (`IsGroupOf`) become boxes to ignore; occluded, truncated, inside and depictions are objects.

    Args:
        config: `data_dir`, or `annotations` and `images`; `class_file`; and `hierarchy`: each box
            also counts for all classes above its own but the root, as in the official challenge's
            evaluation.
        split: a split's name; None: all of a single file.

    Returns:
        Classes in the order of the class descriptions; ids from 1.

    Raises:
        UserError: a file is missing, cut off or of another form; no such split; none of its
            images there.
    """
    path, images = _split_files(config, split)
    class_file = Path(config.class_file) if config.class_file else _beside(config, path, CLASSES)
    class_names, class_index = read_classes(class_file)
    above = read_hierarchy(_beside(config, path, HIERARCHY)) if config.hierarchy else {}
    problems = Problems(strict=config.strict)
    files = pictures_by_stem(images)
    if not files:
        raise UserError(
            f"Expected the images that {path} names in {images}. Received: none there. Download "
            "some, as <ImageID>.jpg."
        )
    # Of a label, its own class and those above that the class file has.
    classes = {
        label: _classes_of([label, *above.get(label, ())], class_index) for label in class_index
    }
    boxes = _read_boxes(path, {name: i for i, name in enumerate(files)}, classes, problems)
    objects_of = boxes.by_picture(len(files))
    annotated = sorted(boxes.annotated)
    pictures = [Picture(name, file, Path(file).name) for name, file in files.items()]
    for index in sorted(set(range(len(pictures))) - boxes.annotated):
        problems.note("missing annotation", pictures[index].file_name)
    units = config.units or "fractions"
    kept = [pictures[index] for index in annotated]
    records = read_records(kept, map(objects_of, annotated), problems, units=units)
    ids = list(range(1, len(class_names) + 1))
    return Dataset("openimages", split or "all", class_names, ids, records, problems, units=units)


def _classes_of(labels: list[str], class_index: dict[str, int]) -> list[int]:
    return list(dict.fromkeys(class_index[name] for name in labels if name in class_index))


def _folder(config: DataConfig) -> Path:
    return Path(config.data_dir or DEFAULT_DIR)


def _first(folder: Path, pattern: str) -> Path | None:
    """Return the first file of `pattern` in `folder` or its folders for CSV files."""
    for below in CSV_FOLDERS:
        found = sorted(path for path in matching(folder / below, pattern) if is_regular(path))
        if found:
            return found[0]
    return None


def _find_files(config: DataConfig) -> dict[str, Path]:
    folder = _folder(config)
    found = {name: _first(folder, BOXES.format(name)) for name in SPLITS}
    files = {name: path for name, path in found.items() if path is not None}
    if not files:
        raise UserError(
            f"Expected Open Images: {LAYOUT}. Received: data_dir={folder}, without them. Point "
            "--data_dir at them, or name the files with --annotations FILE --images DIR."
        )
    return files


def _split_files(config: DataConfig, split: str | None) -> tuple[Path, Path]:
    """Return the file of the boxes and the folder of the images."""
    if config.annotations is not None:
        path = Path(config.annotations)
        return path, Path(config.images or path.parent)
    files = _find_files(config)
    name = match_split(split or "train", list(files), str(_folder(config)))
    choices = [_folder(config) / below / name for below in PICTURE_FOLDERS]
    if config.images is not None:
        choices = [Path(config.images) / name, Path(config.images)]
    return files[name], next((folder for folder in choices if folder.is_dir()), choices[0])


def _beside(config: DataConfig, path: Path, pattern: str) -> Path:
    """Return the file of `pattern` in `data_dir`, or beside the boxes. Raises: it is not there."""
    folders = [path.parent] if config.annotations is not None else []
    if config.annotations is None or config.data_dir is not None:
        folders.append(_folder(config))
    found = next((file for folder in folders if (file := _first(folder, pattern))), None)
    if found is None:
        raise UserError(
            f"Expected a file {pattern} beside {path}. Received: none there. Download it from "
            "Open Images' page."
        )
    return found


def _read_boxes(
    path: Path, pictures: dict[str, int], classes: dict[str, list[int]], problems: Problems
) -> _Boxes:
    """Return the boxes of `pictures` (id -> index); `classes`: label -> what it counts for."""
    rows = csv_rows(path)
    header = next(rows, (1, []))[1]
    if not set(COLUMNS) <= set(header):
        raise UserError(
            f"Expected a header with {','.join(COLUMNS)}. Received: {path}, line 1: "
            f"{excerpt(','.join(header))}. Download it again."
        )
    id_at, label_at, *sides_at = (header.index(name) for name in COLUMNS)
    group_at = header.index(GROUP) if GROUP in header else None
    boxes = _Boxes()
    for line, cells in rows:
        picture = pictures.get(name_key(cells[id_at])) if id_at < len(cells) else -1
        if picture is None:
            continue
        where = f"{path.name}, line {line}"
        try:
            if len(cells) != len(header) or picture < 0:
                raise ValueError(f"{len(cells)} columns")
            box = [number(cells[at]) for at in sides_at]
        except ValueError:
            problems.note("malformed annotation", f"{where}: {excerpt(','.join(cells))}")
            continue
        boxes.annotated.add(picture)
        group = group_at is not None and cells[group_at] == "1"
        if cells[label_at] not in classes:
            problems.note("undeclared class", f"{where}: {excerpt(cells[label_at])}")
        for class_index in classes.get(cells[label_at], ()):
            boxes.add(picture, class_index, box, group=group)
    return boxes
