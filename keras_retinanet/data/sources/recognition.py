"""Which source a folder or a file is for, told by the names that lie in it, and why.

Only names are looked at, but for the name in a dataset_info.json: reading is the source's work.
"""

import json
import re
from fnmatch import fnmatch
from pathlib import Path

from keras_retinanet.data.regular_files import is_pattern, matching
from keras_retinanet.data.sources.csv_files import NO_ANNOTATIONS, is_yolo3_list
from keras_retinanet.data.sources.kitti import is_label_file
from keras_retinanet.data.sources.source_files import first_line, pictures_by_stem
from keras_retinanet.data.sources.voc_files import ANNOTATIONS
from keras_retinanet.data.sources.yolo_layout import (
    CLASS_FILES,
    DARKNET_FILE,
    OTHER_CLASS_FILES,
    OTHER_YAML_FILES,
    YAML_FILES,
)
from keras_retinanet.errors import UserError
from keras_retinanet.files import read_regular

CVAT_FILE = "annotations.xml"
# Told by what is in the folder beside the names: one COCO .json, a list of keras-yolo3.
JSON, YOLO3 = "json", "keras-yolo3"
# What each source is told by, below the folder. Its first pattern is what a message shows.
PATTERNS = {
    "coco": (
        "annotations/instances_*.json",
        "*/_annotations.coco.json",
        "_annotations.coco.json",
        "annotations/image_info_*.json",
    ),
    "voc": (
        *(f"{name}/*.xml" for name in ANNOTATIONS),
        *(f"{name}/*/*.xml" for name in ANNOTATIONS),
        "VOC[0-9]*/Annotations",
        "VOCdevkit/VOC[0-9]*/Annotations",
    ),
    "csv": ("train.csv", "annotations.csv", "val.csv", "test.csv", "*/_annotations.csv"),
    "yolo": YAML_FILES,
    "openimages": ("*-annotations-bbox.csv", "[alm]*/*-annotations-bbox.csv"),
    "kitti": ("training/label_2", "label_2"),
    "tfds": ("dataset_info.json", "*/dataset_info.json", "*/*/dataset_info.json"),
    "tfrecord": (
        "*.tfrecord",
        "*.tfrecord-*-of-*",
        "*.record",
        "*.record-*-of-*",
        "*.tfrecords",
        "*/*.tfrecord",
    ),
}
# Files of such names lie in folders of any form: where nothing else is found, the first counts.
WEAK = (
    (YOLO3, ("*train*.txt", "*annotation*.txt", "*val*.txt")),
    ("voc", ("*.xml", "*/*.xml", "*/*/*.xml")),
    ("yolo", (DARKNET_FILE, *CLASS_FILES)),
    ("coco", ("*/labels.json", "annotations/*train*.json", "*train*.json")),
    (JSON, ("*.json",)),
    ("csv", ("_annotations.csv", "*.csv", "*.tsv", "*/*.csv")),
    ("yolo", (*OTHER_YAML_FILES, *OTHER_CLASS_FILES)),
    ("kitti", ("labels/*.txt",)),
)
# A prepared TFDS folder holds TFRecord files too, and says more of them.
CONTAINED = {"tfds": "tfrecord"}
# Of a single file: its suffix.
SUFFIXES = {".json": "coco", ".csv": "csv", ".tsv": "csv", ".yaml": "yolo", ".yml": "yolo"}
SHOWN_NAMES = 3
TFDS_INFO = "dataset_info.json"
MAX_INFO_BYTES = 16 << 20

# Without a file that names the classes no source reads them.
YOLO_LABELS = ("labels/*.txt", "*/labels/*.txt", "labels/*/*.txt", "*.txt", "*/*.txt")
_YOLO_ROW = re.compile(r"\d+(?:\s+-?[\d.]+(?:[eE]-?\d+)?){4,}")
# Those of images without objects are empty.
TRIED_LABELS = 20

# Keys of DataConfig -> values, and one line for the user.
Recognised = tuple[dict[str, str], str]


def recognise(place: str | Path) -> Recognised:
    """Return the keys of `DataConfig` that read `place`, and a sentence that says what it is.

    Args:
        place: a folder, one annotation file, or a pattern of TFRecord files.

    Raises:
        UserError: nothing is there, it is of no known form, or of several.
    """
    place = Path(place)
    if place.is_file():
        return _recognise_file(place)
    if is_pattern(place):
        return _recognise_pattern(place)
    if not place.is_dir():
        raise UserError(f"Expected a folder or a file of a data set. Received: {place}, not there.")
    matches = {source: _paths(place, patterns) for source, patterns in PATTERNS.items()}
    found = {source: paths for source, paths in matches.items() if paths}
    for outer, inner in CONTAINED.items():
        if outer in found:
            found.pop(inner, None)
    # Shards with the Object Detection API's keys, which TFDS reads too.
    if "tfds" in found and (place / "label_map.pbtxt").is_file():
        found["tfrecord"] = found.pop("tfds")
    if len(found) > 1:
        shown = "; ".join(f"{source}: {_shown(place, paths)}" for source, paths in found.items())
        raise UserError(
            f"Expected a folder of one form. Received: {place}, with {shown}. Name the source "
            f"before --data_dir, as in: train {next(iter(found))} --data_dir {place}"
        )
    if not found:
        return _recognise_weak(place)
    source, paths = next(iter(found.items()))
    keys = {"source": source, "data_dir": str(place)}
    if source == "tfds":
        keys |= _tfds_keys(paths[0])
    return keys, _sentence(place, source, _shown(place, paths))


def _recognise_pattern(place: Path) -> Recognised:
    paths = matching(place.parent, place.name)
    if not any(fnmatch(path.name, name) for path in paths for name in PATTERNS["tfrecord"]):
        raise UserError(
            f"Expected a folder, a file or a pattern of TFRecord files. Received: {place}, which "
            f"matches {_shown(place.parent, paths) or 'nothing'}. Name the folder."
        )
    keys = {"source": "tfrecord", "data_dir": str(place)}
    return keys, _sentence(place, "tfrecord", _shown(place.parent, paths))


def _paths(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Return what the first pattern that finds something finds, sorted."""
    return next(filter(None, (matching(folder, pattern) for pattern in patterns)), [])


def _shown(folder: Path, paths: list[Path]) -> str:
    names = [path.relative_to(folder).as_posix() for path in paths[:SHOWN_NAMES]]
    rest = len(paths) - SHOWN_NAMES
    return ", ".join([*names, f"{rest} more"] if rest > 0 else names)


def _sentence(place: Path, source: str, why: str) -> str:
    return f"{place} is recognized as {source}: {why}."


def _recognise_weak(folder: Path) -> Recognised:
    """Return the keys of the first of `WEAK` that is found."""
    for source, patterns in WEAK:
        paths = [path for path in _paths(folder, patterns) if path.name not in NO_ANNOTATIONS]
        if source == YOLO3 and (paths := [path for path in paths if is_yolo3_list(path)]):
            source = "csv"
        if source == "kitti" and not any(is_label_file(path) for path in paths):
            continue
        if [path.name for path in paths] == [CVAT_FILE]:
            continue
        if source == JSON and len(paths) == 1:
            return _recognise_file(paths[0])
        if source in PATTERNS and paths:
            keys = {"source": source, "data_dir": str(folder)}
            return keys, _sentence(folder, source, _shown(folder, paths))
    inner = matching(folder, "*")
    if len(inner) == 1 and inner[0].is_dir():  # an archive unpacked into a folder of its name
        return recognise(inner[0])
    forms = "; ".join(f"{source}: {names[0]}" for source, names in PATTERNS.items())
    hint = "Name another folder, or the source before it."
    if (folder / CVAT_FILE).is_file():
        hint = f"{CVAT_FILE} is CVAT's own form: export COCO, Pascal VOC or YOLO from it."
    elif {path.stem for path in matching(folder, "*.json")} & pictures_by_stem(folder).keys():
        hint = "An image a .json is labelme's form: convert it with labelme2coco."
    elif label := _yolo_label(folder):
        hint = (
            f"{label} looks like YOLO's: write the names of the classes into "
            f"{folder / CLASS_FILES[0]}, one a line in the order of their numbers."
        )
    raise UserError(
        f"Expected the files of one of these: {forms}; or one COCO .json. "
        f"Received: {folder}, without them. {hint}"
    )


def _yolo_label(folder: Path) -> Path | None:
    """Return a label file of YOLO's below a folder that does not name the classes."""
    paths = (path for pattern in YOLO_LABELS for path in matching(folder, pattern)[:TRIED_LABELS])
    return next((path for path in paths if _YOLO_ROW.fullmatch(first_line(path).strip())), None)


def _recognise_file(file: Path) -> Recognised:
    """Return the keys for one file: what it lies beside are its images or other shards."""
    folder = file.parent
    if file.name == TFDS_INFO:
        keys = _tfds_keys(file)
        return {"source": "tfds", **keys}, _sentence(file, "tfds", keys["name"])
    if any(file.match(pattern) for pattern in PATTERNS["tfrecord"]):
        keys = {"source": "tfrecord", "data_dir": str(folder)}
        return keys, _sentence(file, "tfrecord", "its folder's shards")
    if file.match(PATTERNS["openimages"][0]):
        source, why = "openimages", PATTERNS["openimages"][0]
    elif file.suffix.lower() in SUFFIXES:
        source, why = SUFFIXES[file.suffix.lower()], f"a {file.suffix.lower()} file"
    elif file.suffix.lower() == ".txt" and is_yolo3_list(file):
        source, why = "csv", "images with x1,y1,x2,y2,class, as keras-yolo3 lists them"
    else:
        raise UserError(
            f"Expected a folder, or an annotation file {', '.join(SUFFIXES)} or .tfrecord. "
            f"Received: {file}. Name the folder of the data set."
        )
    keys = {"source": source, "annotations": str(file)}
    return keys, _sentence(file, source, why)


def _tfds_keys(info: Path) -> dict[str, str]:
    """Return `name` and `data_dir` for a file <data_dir>/<name>[/<config>]/<version>/<info>."""
    parts = info.resolve().parent.parts
    try:
        name = json.loads(read_regular(info, max_bytes=MAX_INFO_BYTES))["name"]
        start = len(parts) - 1 - parts[::-1].index(name)
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise UserError(
            f"Expected <data set>/<version>/{TFDS_INFO}, as TFDS writes it. "
            f"Received: {info} ({error!r}). Prepare the data set again, or move it back."
        ) from error
    words = parts[start:]
    if len(words) < 2:
        raise UserError(
            f"Expected a version below {name}/. Received: {info}. Prepare the data set again."
        )
    return {"name": f"{'/'.join(words[:-1])}:{words[-1]}", "data_dir": str(Path(*parts[:start]))}
