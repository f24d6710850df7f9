"""Pascal VOC: `Annotations/<id>.xml`, `JPEGImages/<id>.jpg`, `ImageSets/Main/<split>.txt`."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_retinanet.data.records import Dataset, Record
from keras_retinanet.data.writers import lost
from keras_retinanet.data.writers.shared import (
    PictureNames,
    WriteOptions,
    check_class_names,
    copied_pictures,
    decimal,
    split_words,
)
from keras_retinanet.errors import UserError, counted


def write(splits: Mapping[str, Dataset], folder: Path, options: WriteOptions) -> list[str]:
    """Write boxes from 0 with their fractions, and boxes to ignore as difficult objects.

    An image that several splits have is written once. Class names must be such as XML holds, and
    the folder's name not one that would say that boxes start at 1.
    """
    if re.fullmatch(r"VOC\d{4}", options.name):
        raise UserError(
            f"Expected a folder not called as a year of the devkit, whose boxes start at 1. "
            f"Received: {options.name}. Name it otherwise, such as voc."
        )
    class_names = next(iter(splits.values())).class_names
    check_class_names(class_names, "VOC")
    # Lists with "_" in their name are taken for those of one class.
    words = split_words(splits, r"A-Za-z0-9.-", "-")
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (folder / "Annotations").mkdir()
    names = PictureNames(flat=True, by_stem=True)
    ids: dict[lost.PictureKey, str] = {}
    for split, dataset in splits.items():
        listed = []
        for record, name in copied_pictures(dataset, folder / "JPEGImages", names, options):
            stem = name.rpartition(".")[0]
            ids[record.image, record.image_id] = stem
            listed.append(stem)
            tree = _annotation(record, name, class_names)
            tree.write(folder / "Annotations" / f"{stem}.xml", encoding="utf-8")
        text = "".join(f"{stem}\n" for stem in listed)
        (lists / f"{words[split]}.txt").write_text(text, encoding="utf-8")
    return [
        *lost.ignored(splits, "written as difficult ones"),
        *lost.areas(splits),
        *lost.image_ids(splits, ids),
        *_classes_lost(splits, class_names),
        *lost.names([names]),
    ]


def _annotation(record: Record, name: str, class_names: Sequence[str]) -> ET.ElementTree:
    root = ET.Element("annotation")
    _add(root, folder="JPEGImages", filename=name)
    size = ET.SubElement(root, "size")
    _add(size, width=record.width, height=record.height, depth=3)
    _add(root, segmented=0)
    for box, class_index, ignore in zip(record.boxes, record.classes, record.ignore, strict=True):
        node = ET.SubElement(root, "object")
        _add(node, name=class_names[class_index], pose="Unspecified", truncated=0)
        _add(node, difficult=int(ignore))
        sides = ET.SubElement(node, "bndbox")
        x1, y1, x2, y2 = map(decimal, box)
        _add(sides, xmin=x1, ymin=y1, xmax=x2, ymax=y2)
    ET.indent(root)
    return ET.ElementTree(root)


def _add(node: ET.Element, **fields: object) -> None:
    for key, value in fields.items():
        ET.SubElement(node, key).text = str(value)


def _classes_lost(splits: Mapping[str, Dataset], class_names: Sequence[str]) -> list[str]:
    used = {
        index for data in splits.values() for record in data.records for index in record.classes
    }
    sentences = lost.class_ids(next(iter(splits.values())), 1)
    if list(class_names) != sorted(class_names):
        sentences.append("The order of the classes becomes that of the alphabet.")
    if unused := len(class_names) - len(used):
        sentences.append(f"{counted(unused, 'class')} without a box, in no file.")
    return sentences
