"""TFRecord shards of `tf.train.Example` with the TF Object Detection API's keys.

Layout: `train.tfrecord`, `train-00000-of-00010.tfrecord`, `coco_train.record-00000-of-00010` or
`name-train.tfrecord-00000-of-00010`, and beside them `label_map.pbtxt` or `labels.txt`. The folder
may be a pattern of files, such as `shards/train-*`. Keys:
https://github.com/tensorflow/models, object_detection/g3doc/using_your_own_dataset.md.
"""

import functools
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_retinanet.config import DataConfig
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, Record, make_record, select_classes
from keras_retinanet.data.regular_files import is_pattern, is_regular, matching
from keras_retinanet.data.sources.label_map import LABEL_MAP_SUFFIX, LabelMap, read_label_map
from keras_retinanet.data.sources.shards import index_shards, picture_of
from keras_retinanet.data.splits import match_split
from keras_retinanet.data.units import Units
from keras_retinanet.errors import UserError
from keras_retinanet.files.images.decoding import image_size
from keras_retinanet.files.names import name_key

LAYOUT = "train-00000-of-00010.tfrecord (or .record), ... and label_map.pbtxt"
PICTURE_KEY = "image/encoded"
SIDES = ("xmin", "ymin", "xmax", "ymax")
VOTT_LABEL_MAP = "tf_label_map.pbtxt"
# From this number on, files without the name of a split are parts of one set.
MANY_FILES = 3
_IGNORE_FIELDS = ("is_crowd", "difficult", "group_of")
# The parts of a file's name; the number of the shard stands before or after the suffix.
_FILE = re.compile(
    r"(?P<stem>.+?)(?P<number>-\d+-of-\d+)?\.(tfrecords?|records?)(?P<late>-\d+-of-\d+)?"
)
_SPLIT = re.compile(
    r"(?:.*[-_.])?(?P<split>(?:train|trainval|val|valid|validation|minival|test|test[-_]?dev)\d*)"
)
_LABEL_FILES = (f"*label_map*{LABEL_MAP_SUFFIX}", f"*{LABEL_MAP_SUFFIX}", "*labels.txt")


def splits(config: DataConfig) -> list[str]:
    """Return the splits that the files' names tell; none for one group of no known split.

    Raises:
        UserError: there are no such files.
    """
    found = _files(config)
    return [] if len(found) == 1 and not _known_split(next(iter(found)).lower()) else sorted(found)


def load(config: DataConfig, split: str | None) -> Dataset:
    """Index one split: each record's place in its shard, its image's size and its boxes.

    Reads the shards once from end to end, in parallel. Crowd, difficult and group-of objects
    become boxes to ignore. An object's class is `class/text`, else `class/label` in the label
    map (in labels.txt the first line is 1). Without either file the classes are the texts (else
    the labels) in use in the split, sorted.

    Args:
        config: `data_dir` is used, a folder or a pattern of shards.
        split: a split's name; None: all shards of a set without splits.

    Raises:
        UserError: no shards, no such split, a shard is cut off, or a label map cannot be read.
    """
    found = _files(config)
    if split is None and len(found) == 1:
        split = next(iter(found))
    split = match_split(split or "train", list(found), str(config.data_dir))
    problems = Problems(strict=config.strict)
    paths = found[split]
    for name in _missing_shards(paths):
        problems.note("missing shard", name)
    classes = _Classes(_label_map(paths[0].parent))
    units: Units = config.units or "fractions"
    rows = index_shards(
        [str(path) for path in paths],
        functools.partial(_record, classes=classes, units=units),
        problems,
    )
    dataset = Dataset(
        "tfrecord",
        split,
        list(classes.names),
        classes.ids(),
        _with_ids(rows),
        problems,
        units=units,
        reader=read_picture,
    )
    if classes.is_open:
        # In the order of the names, whichever thread met them first.
        dataset = select_classes(dataset, sorted(dataset.class_names))
        return replace(dataset, class_ids=list(range(1, len(dataset.class_names) + 1)))
    return dataset


def read_picture(image: ImageRef) -> bytes:
    """Return the encoded image of the example that `image` points at."""
    return picture_of(image, PICTURE_KEY)


def _files(config: DataConfig) -> dict[str, list[Path]]:
    """Return split -> its shards in order."""
    folder, pattern = Path(config.data_dir or "."), "*record*"
    chosen = is_pattern(folder)
    if chosen:
        folder, pattern = folder.parent, folder.name
    groups: dict[str, list[Path]] = {}
    for path in _record_files(folder, pattern):
        groups.setdefault(_FILE.fullmatch(path.name)["stem"], []).append(path)  # type: ignore[index]
    if groups:
        return _named_groups(folder, groups)
    for path in () if chosen else _record_files(folder, "*/*record*"):  # as Roboflow packs them
        groups.setdefault(path.parent.name, []).append(path)
    if not groups:
        raise UserError(
            f"Expected TFRecord files: {LAYOUT}. Received: data_dir={config.data_dir}, without "
            "them. Point --data_dir at their folder."
        )
    return groups


def _named_groups(folder: Path, groups: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """Return split -> shards for groups of files by stem."""
    if not any(map(_known_split, groups)) and _is_one_set(folder, groups):
        return {"all": [path for paths in groups.values() for path in paths]}
    names = [_known_split(stem) or stem for stem in groups]
    # Two sets in one folder, as a_train and b_train: their whole names tell them apart.
    names = names if len(set(names)) == len(names) else list(groups)
    return dict(zip(names, groups.values(), strict=True))


def _record_files(folder: Path, pattern: str) -> list[Path]:
    return [p for p in matching(folder, pattern) if _FILE.fullmatch(p.name) and is_regular(p)]


def _is_one_set(folder: Path, groups: dict[str, list[Path]]) -> bool:
    """Return whether files of unknown names are one set: VoTT writes one for each image."""
    is_plain = all(len(paths) == 1 for paths in groups.values())
    return is_plain and (len(groups) >= MANY_FILES or (folder / VOTT_LABEL_MAP).is_file())


def _known_split(stem: str) -> str | None:
    match = _SPLIT.fullmatch(stem)
    return match["split"] if match else None


def _missing_shards(paths: Sequence[Path]) -> list[str]:
    """Return the names of the shards that "-of-N" promises and that are not there."""
    parts = re.fullmatch(r"(.*-)(\d+)(-of-)(\d{1,6})(\D.*|)", paths[0].name)
    if not parts:
        return []
    start, number, of, count, end = parts.groups()
    names = [f"{start}{i:0{len(number)}d}{of}{count}{end}" for i in range(int(count))]
    there = {path.name for path in paths}
    # A pattern may name some of them: the others lie there.
    return [name for name in names if name not in there and not paths[0].with_name(name).exists()]


def _label_map(folder: Path) -> LabelMap | None:
    for pattern in _LABEL_FILES:
        for path in filter(is_regular, matching(folder, pattern)):
            return read_label_map(path)
    return None


class _Classes:
    """Class text or label -> index; without a label map the names are collected."""

    def __init__(self, label_map: LabelMap | None):
        self.is_open = label_map is None
        self.names: list[str] = list(label_map.names) if label_map else []
        self._ids = list(label_map.ids) if label_map else []
        self._by_text: dict[str, int] = dict(label_map.by_text) if label_map else {}
        self._by_label = {label: index for index, label in enumerate(self._ids)}
        self._lock = threading.Lock()

    def index(self, text: str | None, label: int | None) -> int | None:
        if not self.is_open:
            by_text = None if text is None else self._by_text.get(name_key(text))
            return by_text if by_text is not None or label is None else self._by_label.get(label)
        name = text if text else str(label)
        with self._lock:
            if name not in self._by_text:
                self._by_text[name] = len(self.names)
                self.names.append(name)
            return self._by_text[name]

    def ids(self) -> list[int]:
        return self._ids or list(range(1, len(self.names) + 1))


def _record(
    image: ImageRef, example: bytes, problems: Problems, *, classes: _Classes, units: Units
) -> Record | None:
    where = f"{Path(image.path).name}@{image.offset}"
    try:
        features = tf.train.Example.FromString(example).features.feature
    except DecodeError as error:
        problems.note("unreadable annotation", f"{where} ({error})")
        return None
    file_name = _text(features, "image/filename") or where
    try:
        size = image_size(features[PICTURE_KEY].bytes_list.value[0])
    except (UserError, IndexError):
        problems.note("unreadable picture", f"{file_name} ({where})")
        return None
    objects = _objects(features, classes, problems, where=f"{file_name} ({where})")
    if objects is None:
        return None
    declared = [features[f"image/{side}"].int64_list.value for side in ("height", "width")]
    if all(declared) and (declared[0][0], declared[1][0]) != size:
        problems.note("picture of another size than annotated", f"{file_name} ({where})")
    source_id = _text(features, "image/source_id") or ""
    # Numbers were numbers: str(int(...)) leaves "007" a text.
    is_number = source_id.isdecimal() and str(int(source_id[:18])) == source_id
    return make_record(
        int(source_id) if is_number else source_id,
        image,
        size,
        file_name=file_name,
        objects=objects,
        problems=problems,
        units=units,
    )


def _objects(features: Any, classes: _Classes, problems: Problems, *, where: str) -> list | None:
    """Return [(box xyxy as written, class, ignore, area), ...]; None if the columns differ."""
    key = "image/object/"
    columns = [features[f"{key}bbox/{side}"].float_list.value for side in SIDES]
    count = len(columns[0])
    texts = features[f"{key}class/text"].bytes_list.value
    labels = features[f"{key}class/label"].int64_list.value
    if {len(column) for column in columns} != {count} or count not in (len(texts), len(labels)):
        problems.note("unreadable annotation", f"{where}: columns of different lengths")
        return None
    flags = [features[key + name].int64_list.value for name in _IGNORE_FIELDS]
    areas = features[f"{key}area"].float_list.value
    objects = []
    for i, box in enumerate(zip(*columns, strict=True)):
        text = texts[i].decode("utf-8", "replace") if len(texts) == count else None
        label = labels[i] if len(labels) == count else None
        class_index = classes.index(text, label)
        if class_index is None:
            problems.note("undeclared class", f"{where} {text or label}")
            continue
        ignore = any(flag[i] for flag in flags if len(flag) == count)
        area = areas[i] if len(areas) == count else None
        objects.append((box, class_index, ignore, area))
    return objects


def _text(features: Any, key: str) -> str | None:
    values = features[key].bytes_list.value
    return values[0].decode("utf-8", "replace") if values else None


def _with_ids(records: list[Record]) -> list[Record]:
    """Return `records`, with their places as ids where some have none or two have the same."""
    ids = {record.image_id for record in records}
    if len(ids) == len(records) and "" not in ids:
        return records
    return [
        replace(record, image_id=f"{Path(record.image.path).name}@{record.image.offset}")
        for record in records
    ]
