"""COCO JSON: COCO's own layout, other tools' exports, or one annotation file with its images.

Layouts under `data_dir`: `annotations/instances_<split>.json` with `<split>/`, `images/<split>/` or
`images/`, as https://cocodataset.org and CVAT pack them; `<split>/_annotations.coco.json` or
`<split>/labels.json` beside the images (Roboflow, FiftyOne); `train.json`, `val.json`, here or in
`annotations/`.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from keras_retinanet.config import DataConfig
from keras_retinanet.data.names import split_in, split_word
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset
from keras_retinanet.data.regular_files import find_folder, matching
from keras_retinanet.data.sources import tfds
from keras_retinanet.data.sources.coco_json import read_coco
from keras_retinanet.data.sources.coco_rows import RowReader, id_of, own_units, read_classes
from keras_retinanet.data.sources.folders import PictureFolder
from keras_retinanet.data.sources.source_files import read_records
from keras_retinanet.data.splits import match_split
from keras_retinanet.errors import UserError

DEFAULT_DIR = "data/coco"
ROBOFLOW_FILE = "_annotations.coco.json"
# COCO's file for the splits whose boxes are not public; their images lie in test<year>/.
INFO_PREFIX = "image_info_"
LAYOUT = (
    "annotations/instances_train2017.json, annotations/instances_val2017.json, train2017/*.jpg "
    "and val2017/*.jpg"
)


# Below a split's folder, as FiftyOne, Label Studio and Datumaro call it.
LONE_FILES = ("labels.json", "annotations.json", "result.json")
PICTURE_FOLDERS = ("images", "data", "JPEGImages")


@dataclass(frozen=True)
class _Files:
    """An annotation file, its images, and further folders where their names may start."""

    annotations: Path
    images: Path
    also: tuple[Path, ...] = ()


def splits(config: DataConfig) -> list[str]:
    """Return the names of the splits there; none for a single annotation file.

    Raises:
        UserError: nothing of the kind lies in the folder.
    """
    if config.annotations is not None:
        return []
    found = _find_files(_folder(config))
    if found:
        return list(found)
    if _in_tfds(config):
        return tfds.splits(_as_tfds(config))
    if (_folder(config) / ROBOFLOW_FILE).is_file():
        return []
    raise UserError(
        f"Expected a COCO data set: {LAYOUT}; or <split>/{ROBOFLOW_FILE}. Received: "
        f"data_dir={_folder(config)}, without them. Make that layout, point --data_dir at it, or "
        "name the files with --annotations FILE --images DIR."
    )


def load(config: DataConfig, split: str | None) -> Dataset:
    """Read one split: its annotations, not its images, of which only the presence is checked.

    Crowd regions become boxes to ignore. Classes are contiguous in the order of their ids.

    Args:
        config: `data_dir`, or `annotations` and `images`, are used.
        split: a split's name, with or without the year; None: all of a set without splits.

    Raises:
        UserError: a file is missing, cut off or not COCO's, or there is no such split.
    """
    available = splits(config)
    if config.annotations is not None or not available:
        return _read(_given_files(config), split or "all", config)
    name = match_split(split or "train", available, str(_folder(config)))
    found = _find_files(_folder(config))
    if not found:
        return tfds.load(_as_tfds(config), name)
    return _read(found[name], name, config)


def _folder(config: DataConfig) -> Path:
    return Path(config.data_dir or DEFAULT_DIR)


def _in_tfds(config: DataConfig) -> bool:
    return config.data_dir is None and tfds.is_prepared("coco/2017")


def _as_tfds(config: DataConfig) -> DataConfig:
    return replace(config, source="tfds", name="coco/2017")


def _find_files(folder: Path) -> dict[str, _Files]:
    """Return split -> files, for the layouts that have splits."""
    found: dict[str, _Files] = {}
    for prefix in ("instances_", INFO_PREFIX):
        for path in matching(folder, f"annotations/{prefix}*.json"):
            name = path.stem[len(prefix) :]
            # test-dev2017 is a part of the images of test2017.
            pictures = name.replace("-dev", "") if prefix == INFO_PREFIX else name
            found.setdefault(name, _files_of_split(folder, path, pictures))
    if not found:
        for path in matching(folder, f"*/{ROBOFLOW_FILE}"):
            found[path.parent.name] = _Files(path, path.parent)
    if not found:
        for path in (p for name in LONE_FILES for p in matching(folder, f"*/{name}")):
            if split_word(path.parent.name):
                images = find_folder(path.parent, *PICTURE_FOLDERS) or path.parent
                found.setdefault(path.parent.name, _Files(path, images, (path.parent,)))
    if not found:
        for path in (*matching(folder, "*.json"), *matching(folder, "annotations/*.json")):
            if word := split_in(path.stem):
                found.setdefault(word, _files_of_split(folder, path, word))
    return found


def _files_of_split(folder: Path, path: Path, pictures: str) -> _Files:
    inner = find_folder(folder, *PICTURE_FOLDERS)
    choices = [find_folder(folder, pictures), inner and find_folder(inner, pictures), inner]
    images = next((choice for choice in choices if choice), folder / pictures)
    also = [choice for choice in (inner, folder) if choice is not None]
    return _Files(path, images, tuple(also))


def _given_files(config: DataConfig) -> _Files:
    if config.annotations is None:
        return _Files(_folder(config) / ROBOFLOW_FILE, _folder(config))
    annotations = Path(config.annotations)
    if config.images:
        return _Files(annotations, Path(config.images))
    beside = annotations.parent
    inner = find_folder(beside, *PICTURE_FOLDERS)
    return _Files(annotations, beside, (inner,) if inner else ())


def _read(files: _Files, split: str, config: DataConfig) -> Dataset:
    content = read_coco(files.annotations)
    class_names, class_ids, class_index = read_classes(content, files.annotations)
    problems = Problems(strict=config.strict)
    reader = RowReader(files.annotations.name, class_index, problems)
    images = content["images"]
    known = {image_id for row in images if (image_id := id_of(row)) is not None}
    objects = reader.objects(content.get("annotations", []), known)
    folder = PictureFolder(
        files.images, problems, also=files.also, split=split, allow_outside=config.allow_outside
    )
    pictures = reader.pictures(images, folder)
    if images and not pictures:
        names = (str(row.get("file_name")) for row in images if isinstance(row, dict))
        example = next(names, "nothing")
        raise UserError(
            f"Expected the images that {files.annotations} names in {files.images}. Received: "
            f"none of {len(images)} there ({folder.tried(example)}). Point --images at their "
            "folder."
        )
    units = config.units or own_units(images)
    found = [objects.get(picture.image_id, []) for picture in pictures]
    return Dataset(
        "coco",
        split,
        class_names,
        class_ids,
        read_records(pictures, found, problems, units=units),
        problems,
        has_annotations="annotations" in content,
    )
