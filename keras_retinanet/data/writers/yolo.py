"""YOLO: `data.yaml`, `images/<split>/<picture>` and `labels/<split>/<picture>.txt`."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from keras_retinanet.data.records import Dataset, Record
from keras_retinanet.data.writers import lost
from keras_retinanet.data.writers.shared import (
    PictureNames,
    WriteOptions,
    copied_pictures,
    usual_splits,
)
from keras_retinanet.errors import counted

# Of the long side of any image in use far less than a thousandth of a pixel.
DIGITS = 10


def write(splits: Mapping[str, Dataset], folder: Path, options: WriteOptions) -> list[str]:
    """Write rows `class cx cy w h` in fractions of the sides, and the class names in order."""
    words = usual_splits(splits, "train")
    first = next(iter(splits.values()))
    all_names = []
    ids: dict[lost.PictureKey, str] = {}
    cut = 0
    for split, dataset in splits.items():
        names = PictureNames(flat=True, by_stem=True)
        images = folder / "images" / words[split]
        labels = folder / "labels" / words[split]
        for directory in (images, labels):
            directory.mkdir(parents=True)
        for record, name in copied_pictures(dataset, images, names, options):
            ids[record.image, record.image_id] = name
            rows, cut_here = _rows(record)
            cut += cut_here
            path = labels / f"{PurePosixPath(name).stem}.txt"
            path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        all_names.append(names)
    content = {
        **{words[split]: f"images/{words[split]}" for split in splits},
        "names": dict(enumerate(first.class_names)),
    }
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    return [
        *lost.ignored(splits, "skipped: YOLO has none"),
        *([f"{counted(cut, 'box')} too far outside, cut at the border."] if cut else []),
        *lost.areas(splits),
        *lost.image_ids(splits, ids),
        *lost.class_ids(first, 0),
        *lost.names(all_names),
    ]


def _rows(record: Record) -> tuple[list[str], int]:
    """Return the rows of an image, and how many boxes had to be cut."""
    sides = np.array([record.width, record.height] * 2, np.float64)
    rows, cut = [], 0
    for box, class_index in zip(
        record.boxes[~record.ignore], record.classes[~record.ignore], strict=True
    ):
        numbers = _center_and_size(box / sides)
        # Readers of YOLO refuse the whole image if one number is outside 0..1.
        if numbers.min() < 0 or numbers.max() > 1:
            numbers = _center_and_size(np.clip(box / sides, 0, 1))
            cut += 1
        shown = " ".join(f"{number:.{DIGITS}g}" for number in numbers)
        rows.append(f"{class_index} {shown}")
    return rows, cut


def _center_and_size(corners: np.ndarray) -> np.ndarray:
    """Return (4,) cx, cy, w, h of (4,) xyxy."""
    return np.concatenate([(corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]])
