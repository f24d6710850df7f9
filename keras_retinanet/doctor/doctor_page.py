"""A diagnosis as one HTML page that holds all it shows: no file or network beside it is needed."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_retinanet.data.images.exif import turn_image
from keras_retinanet.data.records import Dataset
from keras_retinanet.doctor import svg_charts
from keras_retinanet.doctor.diagnosis import Diagnosis
from keras_retinanet.doctor.findings import Example
from keras_retinanet.doctor.sizes import size_bins
from keras_retinanet.drawing.marks import IGNORED_COLOR, Mark, class_color, draw_marks
from keras_retinanet.drawing.pages import picture_uri, render_page
from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_write
from keras_retinanet.files.images.decoding import decode_image

THUMBNAIL_SIDE = 400
JPEG_QUALITY = 80
SAMPLES = 8
MARKED_COLOR = (214, 40, 40)


def write_report(diagnosis: Diagnosis, path: str | os.PathLike[str]) -> None:
    """Write the page of `diagnosis` to `path`."""
    page = render_page("doctor.html", page_values(diagnosis))
    with atomic_write(os.fspath(path)) as stream:
        stream.write(page)


def page_values(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return what the template shows."""
    own = [diagnosis.datasets[index] for index in diagnosis.own]
    by_split = {dataset.split: dataset for dataset in own}
    findings = [
        {"finding": one, "pictures": [_picture(by_split[at.split], at) for at in one.examples]}
        for one in diagnosis.findings
    ]
    sample = max(own, key=lambda dataset: (dataset.has_annotations, len(dataset.records)))
    chosen = np.unique(np.linspace(0, len(sample.records) - 1, SAMPLES).astype(int))
    return {
        "diagnosis": diagnosis,
        "title": Path(diagnosis.name.split(" ", 1)[-1]).name,
        "totals": _totals(diagnosis),
        "splits": _splits(diagnosis),
        "classes": _classes(diagnosis),
        "bins": size_bins(diagnosis.inputs),
        "charts": _charts(diagnosis),
        "findings": findings,
        "sample_split": sample.split,
        "samples": [_picture(sample, Example(sample.split, int(index))) for index in chosen],
    }


def _totals(diagnosis: Diagnosis) -> dict[str, int]:
    tables = [diagnosis.tables[index] for index in diagnosis.own]
    return {
        "pictures": sum(len(table.picture_sizes) for table in tables),
        "boxes": sum(int((~table.ignore).sum()) for table in tables),
        "classes": len(diagnosis.datasets[0].class_names),
        **{f"{name}s": count for name, count in diagnosis.severities.items()},
    }


def _splits(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    rows = []
    pairs = zip(diagnosis.datasets, diagnosis.tables, strict=True)
    for index, (dataset, table) in enumerate(pairs):
        low, high = table.picture_sizes.min(axis=0), table.picture_sizes.max(axis=0)
        rows.append(
            {
                "name": dataset.split,
                "pictures": len(dataset.records),
                "boxes": int((~table.ignore).sum()),
                "ignored": int(table.ignore.sum()),
                "empty": len(table.empty),
                "problems": sum(len(what) for what in dataset.problems.values()),
                "low": f"{low[1]} x {low[0]}",
                "high": f"{high[1]} x {high[0]}",
                "is_own": index in diagnosis.own,
            }
        )
    return rows


def _classes(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Return the classes, most boxes first, with their counts per split and their shares."""
    counts = diagnosis.class_counts
    totals = counts[diagnosis.own].sum(axis=0)
    most = max(1, int(totals.max(initial=0)))
    return [
        {
            "name": diagnosis.datasets[0].class_names[index],
            "color": "#{:02x}{:02x}{:02x}".format(*class_color(int(index))),
            "counts": counts[:, index].tolist(),
            "total": int(totals[index]),
            "width": 100 * int(totals[index]) / most,
        }
        for index in np.argsort(-totals, kind="stable")
    ]


def _charts(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    tables = [diagnosis.tables[index] for index in diagnosis.own]
    sizes = np.concatenate([table.picture_sizes for table in tables])
    per_picture = np.concatenate([table.per_picture for table in tables])
    drawn = [
        ("Image sizes", svg_charts.picture_sizes(sizes)),
        ("Boxes per image", svg_charts.histogram(per_picture, "boxes in an image", "pictures")),
    ]
    if any(len(part.sides) for part in diagnosis.inputs):
        boxes = np.concatenate([table.boxes for table in tables])
        box_sizes = np.concatenate([table.sizes for table in tables])
        ratios = np.concatenate([part.ratios for part in diagnosis.inputs])
        bins = size_bins(diagnosis.inputs)
        drawn += [
            ("Box sizes", svg_charts.reached_by_size(bins, diagnosis.input_name)),
            ("Box shapes", svg_charts.aspect_ratios(ratios)),
            ("Where the boxes' centers lie", svg_charts.centres(boxes, box_sizes)),
        ]
    return [{"title": title, "svg": svg} for title, svg in drawn]


def _picture(dataset: Dataset, example: Example) -> dict[str, str]:
    """Return the caption and the data URI of a small image with its boxes; "" if broken."""
    record = dataset.records[example.index]
    caption = f"{dataset.split}: {record.file_name}"
    try:
        image = turn_image(decode_image(dataset.read_bytes(example.index)), record.orientation)
    except (UserError, OSError):
        return {"caption": caption, "uri": ""}
    small = Image.fromarray(image)
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    scale = np.array([small.width / record.width, small.height / record.height] * 2)
    boxes = np.clip(record.boxes * scale, 0, [small.width, small.height] * 2)
    marks = []
    for index, box in enumerate(boxes.tolist()):
        color = class_color(int(record.classes[index]))
        if index in example.marked:
            color = MARKED_COLOR
        elif example.marked or record.ignore[index]:
            color = IGNORED_COLOR
        x1, y1, x2, y2 = box
        # Two lines: one alone hardly shows in so small an image.
        marks.append(Mark((x1, y1, x2, y2), "", color))
        marks.append(Mark((x1 - 1, y1 - 1, x2 + 1, y2 + 1), "", color))
    # Those that are meant are drawn last, above the others.
    marks.sort(key=lambda mark: mark.color == MARKED_COLOR)
    drawn = draw_marks(np.array(small), marks)
    uri = picture_uri(drawn, side=THUMBNAIL_SIDE, quality=JPEG_QUALITY)
    return {"caption": caption, "uri": uri}
