"""COCO JSON: COCO's own layout, Roboflow's export, or one annotation file with its pictures.

Layouts under `data_dir`: `annotations/instances_<split>.json` with `<split>/` (or `images/`), as
https://cocodataset.org packs them, or `<split>/_annotations.coco.json` beside the pictures.
"""

import json
import os
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keras_retinanet.config import DataConfig
from keras_retinanet.data import tfds
from keras_retinanet.data.images import image_sizes
from keras_retinanet.data.records import (
    Dataset,
    ImageRef,
    Problems,
    Record,
    make_record,
    note_problem,
    picture_path,
)
from keras_retinanet.data.splits import match_split
from keras_retinanet.errors import UserError

DEFAULT_DIR = "data/coco"
ROBOFLOW_FILE = "_annotations.coco.json"
# COCO's file for the splits whose boxes are not public; their pictures lie in test<year>/.
INFO_PREFIX = "image_info_"
LAYOUT = (
    "annotations/instances_train2017.json, annotations/instances_val2017.json, train2017/*.jpg "
    "and val2017/*.jpg"
)


@dataclass(frozen=True)
class _Files:
    annotations: Path
    images: Path


def splits(config: DataConfig) -> list[str]:
    """Returns the names of the splits there; none for a single annotation file.

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
    """Reads one split: its annotations, not its pictures, of which only the presence is checked.

    Crowd regions become boxes to ignore. Classes are contiguous in the order of their ids.

    Args:
        config: `data_dir`, or `annotations` and `images`, are used.
        split: a split's name, with or without the year; None: all of a set without splits.

    Raises:
        UserError: a file is missing, cut off or not COCO's, or there is no such split.
    """
    available = splits(config)
    if config.annotations is not None or not available:
        return _read(_given_files(config), split or "all")
    name = match_split(split or "train", available, str(_folder(config)))
    found = _find_files(_folder(config))
    if not found:
        return tfds.load(_as_tfds(config), name)
    return _read(found[name], name)


def _folder(config: DataConfig) -> Path:
    return Path(config.data_dir or DEFAULT_DIR)


def _in_tfds(config: DataConfig) -> bool:
    return config.data_dir is None and tfds.is_prepared("coco/2017")


def _as_tfds(config: DataConfig) -> DataConfig:
    return replace(config, source="tfds", name="coco/2017")


def _find_files(folder: Path) -> dict[str, _Files]:
    """Returns split -> files, for the two layouts that have splits."""
    found: dict[str, _Files] = {}
    for prefix in ("instances_", INFO_PREFIX):
        for path in sorted((folder / "annotations").glob(f"{prefix}*.json")):
            name = path.stem.removeprefix(prefix)
            # test-dev2017 is a part of the pictures of test2017.
            pictures = name.replace("-dev", "") if prefix == INFO_PREFIX else name
            choices = [folder / pictures, folder / "images" / pictures, folder / "images"]
            images = next((choice for choice in choices if choice.is_dir()), choices[0])
            found.setdefault(name, _Files(path, images))
    if not found:
        for path in sorted(folder.glob(f"*/{ROBOFLOW_FILE}")):
            found[path.parent.name] = _Files(path, path.parent)
    return found


def _given_files(config: DataConfig) -> _Files:
    if config.annotations is None:
        return _Files(_folder(config) / ROBOFLOW_FILE, _folder(config))
    annotations = Path(config.annotations)
    return _Files(annotations, Path(config.images) if config.images else annotations.parent)


def _read(files: _Files, split: str) -> Dataset:
    content = _read_json(files.annotations)
    has_annotations = "annotations" in content
    class_names, class_ids, class_index = _classes(content, files.annotations)
    problems: Problems = {}
    objects = _objects_by_image(content.get("annotations") or [], class_index, problems)
    rows = _present_pictures(content["images"], files.images, problems)
    if not rows:
        raise UserError(
            f"Expected the pictures that {files.annotations} names in {files.images}. Received: "
            f"none of {len(content['images'])} there. Point --images at their folder."
        )
    records = _records(rows, objects, problems)
    known = {image.get("id") for image in content["images"] if _has_plain(image, "id")}
    for image_id in objects.keys() - known:
        note_problem(problems, "annotations of an unlisted picture", f"image_id {image_id}")
    return Dataset(
        "coco", split, class_names, class_ids, records, problems, has_annotations=has_annotations
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
    except FileNotFoundError as error:
        raise UserError(
            f"Expected an annotation file. Received: {path}, which is not there."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"Expected a whole JSON file. Received: {path} ({error}).") from error
    lists = ("images", "categories", "annotations")
    if (
        not isinstance(content, dict)
        or "images" not in content
        or "categories" not in content
        or not all(isinstance(content.get(name, []), list) for name in lists)
    ):
        raise UserError(
            "Expected COCO's form: an object with the lists images, categories and annotations. "
            f"Received: {path}, which has another one. See https://cocodataset.org, Data format."
        )
    return content


def _classes(content: dict, path: Path) -> tuple[list[str], list[int], dict[int, int]]:
    """Returns names, original ids and id -> contiguous index, in the order of the ids.

    Two ids of one name are one class: Roboflow adds a parent, which may be called as its child.
    """
    try:
        names = {int(row["id"]): str(row["name"]) for row in content["categories"]}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"Expected categories with an id and a name. Received: {path} ({error!r})."
        ) from error
    class_names = list(dict.fromkeys(names[key] for key in sorted(names)))
    annotations = content.get("annotations") or []
    used = {row.get("category_id") for row in annotations if _has_plain(row, "category_id")}
    class_ids = [
        min((key for key in names if names[key] == name), key=lambda key: (key not in used, key))
        for name in class_names
    ]
    return class_names, class_ids, {key: class_names.index(names[key]) for key in names}


def _has_plain(row: Any, key: str) -> bool:
    """Returns whether `row` is an object whose `key` is a number or a text, as an id must be."""
    return isinstance(row, dict) and isinstance(row.get(key), int | str)


def _objects_by_image(rows: list, class_index: dict[int, int], problems: Problems) -> dict:
    """Returns image id -> [(box xyxy, class, ignore, area), ...]."""
    objects = defaultdict(list)
    for row in rows:
        try:
            x, y, width, height = (float(value) for value in row["bbox"])
            image_id, category = row["image_id"], row["category_id"]
            if category not in class_index:
                note_problem(problems, "undeclared class", f"annotation {row.get('id')}")
                continue
            area = float(row.get("area") or width * height)
            box = (x, y, x + width, y + height)
            objects[image_id].append((box, class_index[category], bool(row.get("iscrowd")), area))
        except (KeyError, TypeError, ValueError, AttributeError):
            shown = row.get("id") if isinstance(row, dict) else row
            note_problem(problems, "malformed annotation", f"annotation {shown}")
    return objects


def _present_pictures(rows: list, folder: Path, problems: Problems) -> list[tuple]:
    """Returns (id, file name, path, (h, w) or None) of each picture that is there, once."""
    listings: dict[str, set[str]] = {}
    seen, present = set(), []
    for row in rows:
        if (
            not isinstance(row, dict)
            or not isinstance(row.get("file_name"), str)
            or "id" not in row
        ):
            note_problem(problems, "malformed picture entry", str(row)[:80])
            continue
        path = picture_path(folder, row["file_name"])
        if path is None:
            note_problem(problems, "picture outside the data folder", row["file_name"])
        elif row["id"] in seen:
            note_problem(problems, "picture id twice", row["file_name"])
        elif not _is_there(path, listings):
            note_problem(problems, "missing picture", row["file_name"])
        else:
            seen.add(row["id"])
            size = (row.get("height"), row.get("width"))
            valid = all(isinstance(side, int) and side > 0 for side in size)
            present.append((row["id"], row["file_name"], path, size if valid else None))
    return present


def _is_there(path: str, listings: dict[str, set[str]]) -> bool:
    """Looks `path` up in its folder's listing: one system call for a folder, not for a file."""
    folder, name = os.path.split(path)
    if folder not in listings:
        try:
            listings[folder] = {entry.name for entry in os.scandir(folder) if entry.is_file()}
        except OSError:
            listings[folder] = set()
    return name in listings[folder]


def _records(rows: list[tuple], objects: dict, problems: Problems) -> list[Record]:
    unsized = [path for _, _, path, size in rows if size is None]
    read_sizes = dict(zip(unsized, image_sizes(unsized), strict=True)) if unsized else {}
    records = []
    for image_id, file_name, path, size in rows:
        size = size or read_sizes[path]
        if size is None:
            note_problem(problems, "unreadable picture", file_name)
            continue
        image, found = ImageRef(path), objects.get(image_id, [])
        records.append(
            make_record(
                image_id, image, size, file_name=file_name, objects=found, problems=problems
            )
        )
    return records
