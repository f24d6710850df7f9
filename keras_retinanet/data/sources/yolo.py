"""YOLO's text files, as Ultralytics reads them: a data.yaml, images, and a txt beside each.

Layout: `data.yaml` (path, train, val, test, names), `images/<split>/x.jpg` and
`labels/<split>/x.txt` with rows `class cx cy w h` in fractions of the sides; or, without a YAML,
`classes.txt`, `images/` and `labels/` (https://docs.ultralytics.com/datasets/detect).
"""

import os
from collections.abc import Iterator
from pathlib import Path

from keras_retinanet.config import DataConfig
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset
from keras_retinanet.data.regular_files import find_folder, walk
from keras_retinanet.data.sources.folders import PictureFolder, is_inside
from keras_retinanet.data.sources.source_files import (
    Object,
    Picture,
    excerpt,
    label_lines,
    number,
    read_records,
    text_lines,
)
from keras_retinanet.data.sources.yolo_labels import PICTURES, find_labels
from keras_retinanet.data.sources.yolo_layout import Layout, find_layout, resolve
from keras_retinanet.data.splits import match_split
from keras_retinanet.files.images.image_formats import IMAGE_SUFFIXES

# class cx cy w h, and perhaps a confidence; from three points on it is an outline.
BOX_WORDS = (5, 6)
MIN_OUTLINE_WORDS = 7


def splits(config: DataConfig) -> list[str]:
    """Return the names of the splits; none where images lie in one folder without a YAML.

    A `test` whose place is not there is skipped: exports name it always.

    Raises:
        UserError: no data.yaml or classes.txt lies in the folder, or it cannot be read.
    """
    return list(find_layout(config).places)


def load(config: DataConfig, split: str | None) -> Dataset:
    """Read one split: the txt of each image, and the image's size from its header.

    An image without a txt, or with an empty one, is background. The sixth column of a row is a
    confidence, which is skipped; a row of three points or more is an outline, whose bounds count,
    or with `kpt_shape` in the YAML a box with key points.

    Args:
        config: `data_dir`, or `annotations` for the YAML; `allow_outside`.
        split: a split's name; None: all of a set without splits.

    Returns:
        Classes in the order of their numbers, which are their ids.

    Raises:
        UserError: the YAML is not there, cut off or of another form; no such split, or none of its
            images' folder there.
    """
    layout = find_layout(config)
    places = [str(find_folder(layout.folder, *PICTURES) or layout.folder)]
    if layout.places:
        split = match_split(split or "train", list(layout.places), str(layout.folder))
        places = [str(resolve(layout, text)) for text in layout.places[split]]
    problems = Problems(strict=config.strict)
    pictures: dict[str, Picture] = {}
    for place in map(Path, places):
        for picture in _pictures(layout, place, problems):
            if picture.path in pictures:
                problems.note("picture id twice", picture.file_name)
            pictures.setdefault(picture.path, picture)
    labels = find_labels(pictures.values(), places, layout.folder, config, problems)
    class_names, class_ids, class_index = _classes(layout.names)
    kept, objects = [], []
    for picture in pictures.values():
        label = labels.get(picture.path)
        found = [] if label is None else _read_label(label, class_index, layout, problems)
        if found is not None:
            kept.append(picture)
            objects.append(found)
    units = config.units or "fractions"
    records = read_records(kept, objects, problems, units=units)
    return Dataset(
        "yolo",
        split or "all",
        class_names,
        class_ids,
        records,
        problems,
        # A test part often comes without labels: its images are not all background.
        has_annotations=bool(labels),
        units=units,
    )


def _classes(names: dict[int, str]) -> tuple[list[str], list[int], dict[int, int]]:
    """Return names, original numbers, and number -> index. Two numbers of a name are one class."""
    first: dict[str, int] = {}
    for key, name in names.items():
        first.setdefault(name, key)
    place = {name: index for index, name in enumerate(first)}
    return list(first), list(first.values()), {key: place[name] for key, name in names.items()}


def _pictures(layout: Layout, place: Path, problems: Problems) -> Iterator[Picture]:
    """Yield the images of a folder and all below it, or those that a txt file lists."""
    if place.is_dir():
        for path in walk(place):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                name = os.path.relpath(path, layout.folder)
                yield Picture(name, os.path.normpath(path), name)
    else:
        yield from _listed(layout, place, problems)


def _listed(layout: Layout, file: Path, problems: Problems) -> Iterator[Picture]:
    """Yield the images that a txt file lists, relative to it or by their full names."""
    folder = PictureFolder(
        layout.folder, problems, split=file.stem, allow_outside=layout.allow_outside
    )
    for line, text in text_lines(file, "a list of images"):
        text = text.strip()
        path = os.path.abspath(os.path.join(file.parent, text))
        name = path if layout.allow_outside else text
        if is_inside(layout.folder, path):
            name = os.path.relpath(path, layout.folder)
        found = folder.find(name, where=f"{file.name}, line {line}")
        if found is not None:
            yield Picture(name, os.path.normpath(found), name)


def _read_label(
    path: str, class_index: dict[int, int], layout: Layout, problems: Problems
) -> list[Object] | None:
    """Return the objects of one txt, boxes in fractions of the sides; None if unreadable."""
    lines = label_lines(path, problems)
    if lines is None:
        return None
    name = os.path.relpath(path, layout.folder)
    objects: list[Object] = []
    for line, words in lines:
        try:
            class_id, box = _read_row(words, has_keypoints=layout.has_keypoints)
        except (ValueError, OverflowError):
            problems.note(
                "malformed annotation", f"{name}, line {line}: {excerpt(' '.join(words))}"
            )
            continue
        if class_id in class_index:
            objects.append((box, class_index[class_id], False, None))
        else:
            problems.note("undeclared class", f"{name}, line {line}: {excerpt(words[0])}")
    return objects


def _read_row(words: list[str], *, has_keypoints: bool) -> tuple[int, tuple[float, ...]]:
    """Return (class number, box xyxy). Raises ValueError if the row is of no known form."""
    class_number, *values = [number(word) for word in words]
    if not class_number.is_integer():
        raise ValueError(f"{words[0]} is no class")
    if len(words) in BOX_WORDS or (has_keypoints and len(words) > max(BOX_WORDS)):
        x, y, width, height = values[:4]
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    elif len(words) >= MIN_OUTLINE_WORDS and len(values) % 2 == 0:
        xs, ys = values[::2], values[1::2]
        box = (min(xs), min(ys), max(xs), max(ys))
    else:
        raise ValueError(f"{len(words)} columns")
    return int(class_number), box
