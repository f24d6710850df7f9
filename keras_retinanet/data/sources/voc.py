"""Pascal VOC: a devkit with its years, one folder of the same kind, or XML beside the images.

The layouts are in `voc_files`.
"""

from pathlib import Path

from keras_retinanet.config import DataConfig
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset
from keras_retinanet.data.regular_files import walk
from keras_retinanet.data.sources.source_files import Object, read_records
from keras_retinanet.data.sources.voc_files import (
    DEFAULT_DIR,
    Root,
    find_entries,
    find_roots,
    is_devkit_year,
    split_lists,
)
from keras_retinanet.data.sources.voc_xml import VocFileError, read_objects
from keras_retinanet.data.splits import match_split

# fmt: off
VOC_CLASSES = [
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
]
# fmt: on
_DIFFICULT = {"": False, "0": False, "1": True, "false": False, "true": True}


def splits(config: DataConfig) -> list[str]:
    """Return the splits that `ImageSets/Main` lists in any year, or the folders that are splits.

    None where there are none.

    Raises:
        UserError: the folder is not laid out as VOC.
    """
    roots = find_roots(config)
    listed = {name for root in roots for name in split_lists(root)}
    return sorted(listed | {root.split for root in roots if root.split is not None})


def load(config: DataConfig, split: str | None) -> Dataset:
    """Read one split: its XML files, and the size of each image from its header.

    An image is found by its id; what an XML file says of file names and sizes is not used.
    Difficult objects become boxes to ignore. Classes are VOC's 20 for a devkit that has no
    others, else all names in the folder; both sorted.

    Args:
        config: `data_dir`, `name` (a year of a devkit), `one_based` and `strict` are used.
        split: a split's name; None: every annotated image.

    Raises:
        UserError: the folder is not laid out as VOC, or there is no such split.
    """
    roots = find_roots(config)
    available = splits(config)
    if split is not None and available:
        split = match_split(split, available, str(config.data_dir or DEFAULT_DIR))
    problems = Problems(strict=config.strict)
    entries = [
        entry
        for root in roots
        if split is None or root.split in (None, split)
        for entry in find_entries(root, split, problems, config)
    ]
    parsed = {entry.annotation: _parse(entry.annotation, problems) for entry in entries}
    class_names = _class_names(roots, parsed)
    class_index = {name: index for index, name in enumerate(class_names)}
    units = config.units or "pixels"
    shift = 1.0 if _is_one_based(config, roots) else 0.0
    kept = [(entry, found) for entry in entries if (found := parsed[entry.annotation]) is not None]
    objects = [_objects(found, class_index, shift) for _, found in kept]
    pictures = [entry.picture for entry, _ in kept]
    records = read_records(pictures, objects, problems, units=units)
    ids = list(range(1, len(class_names) + 1))
    return Dataset("voc", split or "all", class_names, ids, records, problems, units=units)


def _is_one_based(config: DataConfig, roots: list[Root]) -> bool:
    if config.one_based is not None:
        return config.one_based
    return all(is_devkit_year(root) for root in roots)


def _parse(path: Path, problems: Problems) -> list[tuple[str, list[float], bool]] | None:
    """Return [(class name, [xmin, ymin, xmax, ymax], difficult), ...], or None if unreadable."""
    try:
        found = read_objects(path)
    except VocFileError as error:
        problems.note("unreadable annotation", f"{path.name} ({error})")
        return None
    objects = []
    for item in found:
        difficult = _DIFFICULT.get(item.difficult.lower())
        try:
            box = item.box()
        except ValueError:
            box = []
        if not item.name or not box or difficult is None:
            problems.note("malformed annotation", f"{path.name}, line {item.line}: {item[1:]}")
        else:
            if item.is_outlined():
                problems.note("outline without a box", f"{path.name}, line {item.line}")
            if item.is_turned():
                problems.note("rotated box", f"{path.name}, line {item.line}")
            objects.append((item.name, box, difficult))
    return objects


def _class_names(roots: list[Root], parsed: dict[Path, list | None]) -> list[str]:
    names = {name for objects in parsed.values() for name, *_ in objects or []}
    if all(is_devkit_year(root) for root in roots) and names <= set(VOC_CLASSES):
        return VOC_CLASSES
    # Every split must number the classes alike, so the names of all files count.
    for root in roots:
        for path in walk(root.annotations):
            if path.suffix.lower() == ".xml" and path not in parsed:
                names |= {name for name, *_ in _parse(path, Problems()) or []}
    return sorted(names)


def _objects(parsed: list[tuple], class_index: dict[str, int], shift: float) -> list[Object]:
    return [
        ((x1 - shift, y1 - shift, x2, y2), class_index[name], difficult, None)
        for name, (x1, y1, x2, y2), difficult in parsed
    ]
