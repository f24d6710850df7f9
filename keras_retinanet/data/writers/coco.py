"""COCO JSON: `annotations/instances_<split>.json` and `<split>/<picture>`."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from keras_retinanet.data.records import Dataset, Record
from keras_retinanet.data.writers import lost
from keras_retinanet.data.writers.shared import (
    PictureNames,
    WriteOptions,
    copied_pictures,
    decimal,
    split_words,
)

Row = tuple[Record, str]


def write(splits: Mapping[str, Dataset], folder: Path, options: WriteOptions) -> list[str]:
    """Write boxes, classes with their ids, areas, and boxes to ignore as crowd regions.

    Detected boxes have their `score` besides.

    Image ids stay where all of a split are different integers; else they count from 1.
    """
    words = split_words(splits, r"\w.-", "_")
    all_names = []
    ids: dict[lost.PictureKey, Any] = {}
    for split, dataset in splits.items():
        names = PictureNames()
        rows = list(copied_pictures(dataset, folder / words[split], names, options))
        kept = [record.image_id for record, _ in rows]
        if not all(isinstance(key, int) for key in kept) or len(set(kept)) < len(kept):
            kept = list(range(1, len(rows) + 1))
        ids |= zip(((row.image, row.image_id) for row, _ in rows), kept, strict=True)
        prefix = "instances_" if dataset.has_annotations else "image_info_"
        path = folder / "annotations" / f"{prefix}{words[split]}.json"
        path.parent.mkdir(exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            _write_json(stream, dataset, rows, kept)
        all_names.append(names)
    return lost.image_ids(splits, ids) + lost.names(all_names)


def _write_json(stream: IO[str], dataset: Dataset, rows: list[Row], ids: list[Any]) -> None:
    """Write row by row: a large set is never in memory as text."""
    stream.write('{"info": ' + json.dumps({"description": dataset.name}, ensure_ascii=False))
    classes = zip(dataset.class_ids, dataset.class_names, strict=True)
    categories = ({"id": class_id, "name": name} for class_id, name in classes)
    _write_list(stream, "categories", categories)
    images = (
        {"id": key, "file_name": name, "height": record.height, "width": record.width}
        for (record, name), key in zip(rows, ids, strict=True)
    )
    _write_list(stream, "images", images)
    if dataset.has_annotations:
        _write_list(stream, "annotations", _annotations(dataset, rows, ids))
    stream.write("}\n")


def _write_list(stream: IO[str], key: str, rows: Iterable[dict]) -> None:
    stream.write(f',\n"{key}": [')
    for number, row in enumerate(rows):
        stream.write((",\n" if number else "\n") + json.dumps(row, ensure_ascii=False))
    stream.write("]")


def _annotations(dataset: Dataset, rows: list[Row], ids: list[Any]) -> Iterator[dict]:
    annotation_ids = itertools.count(1)
    for (record, _), image_id in zip(rows, ids, strict=True):
        scores = record.scores if record.scores is not None else [None] * len(record.boxes)
        columns = (record.boxes, record.classes, record.ignore, record.areas, scores)
        for box, class_index, ignore, area, score in zip(*columns, strict=True):
            x1, y1, x2, y2 = (float(decimal(side)) for side in box)
            yield {
                "id": next(annotation_ids),
                "image_id": image_id,
                "category_id": dataset.class_ids[class_index],
                # The difference of two decimals has no more digits than they: no 0.30000000000004.
                "bbox": [x1, y1, round(x2 - x1, 9), round(y2 - y1, 9)],
                "area": float(decimal(area)),
                "iscrowd": int(ignore),
                **({} if score is None else {"score": float(decimal(score))}),
            }
