"""CSV as the older keras-retinanet had it: `<split>.csv`, `classes.csv` and `images/`."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from keras_retinanet.data.records import Dataset
from keras_retinanet.data.writers import lost
from keras_retinanet.data.writers.shared import (
    USUAL_SPLITS,
    PictureNames,
    WriteOptions,
    check_class_names,
    copied_pictures,
    decimal,
    usual_splits,
)
from keras_retinanet.files.csv_cells import quoted

PICTURES = "images"
CLASS_FILE = "classes.csv"
# A set of one part that is no training part.
SINGLE_FILE = "annotations"


def write(splits: Mapping[str, Dataset], folder: Path, options: WriteOptions) -> list[str]:
    """Write rows `path,x1,y1,x2,y2,class` and `name,id`; a path alone is an image without boxes.

    An image that several splits have is copied once. Each class name must be read back.
    """
    first = next(iter(splits.values()))
    check_class_names(first.class_names, "CSV")
    cells = [quoted(name) for name in first.class_names]
    words = usual_splits(splits, SINGLE_FILE)
    names = PictureNames()
    ids: dict[lost.PictureKey, str] = {}
    for split, dataset in splits.items():
        with open(folder / f"{words[split]}.csv", "w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            for record, name in copied_pictures(dataset, folder / PICTURES, names, options):
                path = f"{PICTURES}/{name}"
                ids[record.image, record.image_id] = path
                kept = ~record.ignore
                for box, class_index in zip(record.boxes[kept], record.classes[kept], strict=True):
                    writer.writerow([path, *map(decimal, box), cells[class_index]])
                if not kept.any():
                    writer.writerow([path, "", "", "", "", ""])
    with open(folder / CLASS_FILE, "w", encoding="utf-8", newline="") as stream:
        ids_kept = min(first.class_ids, default=0) >= 0  # a class file has none below 0
        class_ids = first.class_ids if ids_kept else range(1, len(first.class_ids) + 1)
        rows = zip(cells, class_ids, strict=True)
        csv.writer(stream, lineterminator="\n").writerows(rows)
    others = [word for word in words.values() if word not in (*USUAL_SPLITS, SINGLE_FILE)]
    return [
        *(f"{word}.csv is no usual split: read it with --annotations." for word in others),
        *_quoted_names(first.class_names),
        *lost.ignored(splits, "skipped: CSV has none"),
        *lost.areas(splits),
        *lost.image_ids(splits, ids),
        *([] if ids_kept else lost.class_ids(first, 1)),
        *lost.names([names]),
    ]


def _quoted_names(class_names: Sequence[str]) -> list[str]:
    names = ", ".join(name for name in class_names if quoted(name) != name)
    sentence = (
        f"Class names that begin as a formula stand behind an apostrophe ({names}): "
        "spreadsheets take them as text, and reading the file here takes it away."
    )
    return [sentence] if names else []
