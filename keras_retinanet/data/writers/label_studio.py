"""Label Studio: `tasks_<split>.json`, `labels.xml` (the labeling interface) and `images/<split>/`.

Source: https://labelstud.io/guide/predictions, https://labelstud.io/guide/storage#Local-storage
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

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

PICTURES = "images"
INTERFACE = "labels.xml"
# Of the controls in the interface, to which results refer.
LABELS, IMAGE = "label", "image"


def write(splits: Mapping[str, Dataset], folder: Path, options: WriteOptions) -> list[str]:
    """Write a task an image: ground truth as its annotation, detected boxes as its prediction.

    An image is named by its path below the folder that holds this one, which Label Studio must be
    told as LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
    """
    first = next(iter(splits.values()))
    check_class_names(first.class_names, "Label Studio")
    (folder / INTERFACE).write_text(_interface(first.class_names), encoding="utf-8")
    words = split_words(splits, r"\w.-", "_")
    all_names = []
    ids: dict[lost.PictureKey, str] = {}
    for split, dataset in splits.items():
        names = PictureNames()
        place = f"{PICTURES}/{words[split]}"
        with open(folder / f"tasks_{words[split]}.json", "w", encoding="utf-8") as stream:
            start = "[\n"
            for record, name in copied_pictures(dataset, folder / place, names, options):
                ids[record.image, record.image_id] = name
                url = f"/data/local-files/?d={quote(f'{options.name}/{place}/{name}')}"
                task = _task(record, url, class_names=first.class_names, model=options.model)
                stream.write(start + json.dumps(task, ensure_ascii=False))
                start = ",\n"
            stream.write("[]\n" if start == "[\n" else "\n]\n")
        all_names.append(names)
    return [
        *lost.ignored(splits, "skipped: Label Studio has none"),
        *lost.areas(splits),
        *lost.image_ids(splits, ids),
        *lost.class_ids(first, 1),
        *lost.names(all_names),
    ]


def _interface(class_names: Sequence[str]) -> str:
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in class_names)
    return (
        f'<View>\n  <Image name="{IMAGE}" value="$image" zoom="true"/>\n'
        f'  <RectangleLabels name="{LABELS}" toName="{IMAGE}">\n{labels}  </RectangleLabels>\n'
        "</View>\n"
    )


def _task(record: Record, url: str, *, class_names: Sequence[str], model: str) -> dict[str, Any]:
    results = list(_results(record, class_names))
    if record.scores is None:
        return {"data": {"image": url}, "annotations": [{"result": results}]}
    # Label Studio sorts tasks by the score of their prediction: the most doubtful come first.
    scores = [row["score"] for row in results]
    score = {"score": min(scores)} if scores else {}
    prediction = {"model_version": model, **score, "result": results}
    return {"data": {"image": url}, "predictions": [prediction]}


def _results(record: Record, class_names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield a region a box; sides are in percent of the image's."""
    for number in range(len(record.boxes)):
        if record.ignore[number]:
            continue
        x1, y1, x2, y2 = (float(decimal(corner)) for corner in record.boxes[number])
        score = None if record.scores is None else float(decimal(record.scores[number]))
        yield {
            "id": str(number + 1),
            "type": "rectanglelabels",
            "from_name": LABELS,
            "to_name": IMAGE,
            "original_width": record.width,
            "original_height": record.height,
            "image_rotation": 0,
            "value": {
                "x": 100 * x1 / record.width,
                "y": 100 * y1 / record.height,
                "width": 100 * (x2 - x1) / record.width,
                "height": 100 * (y2 - y1) / record.height,
                "rotation": 0,
                "rectanglelabels": [class_names[record.classes[number]]],
            },
            **({} if score is None else {"score": score}),
        }
