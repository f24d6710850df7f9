"""What the annotations hold: repairs, empty images, boxes twice. Shape letters: N boxes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from keras_retinanet.data.problems import KINDS
from keras_retinanet.data.records import Dataset
from keras_retinanet.doctor.box_table import BoxTable
from keras_retinanet.doctor.findings import Example, Finding, Severity, counted, percent

# What is taken as it was meant: nothing is lost.
HARMLESS = {
    "box partly outside",
    "number as text",
    "annotation id twice",
    "picture name with backslashes",
    "picture name in another case",
    "picture path of another place",
    "picture name with another prefix or suffix",
    "label file of another name",
    "outline without a box",
    "rotated box",
}
# What a whole image is lost to.
PICTURE_LOST = {kind for kind, done in KINDS.items() if done in ("skipped", "picture skipped")}
# More than this share lost is no accident of a few files.
MUCH_LOST = 0.1
SHOWN_EXAMPLES = 6


def problem_findings(datasets: Sequence[Dataset]) -> list[Finding]:
    """Return one finding for each kind of repair or loss, with all its files."""
    boxes = sum(len(record.boxes) for dataset in datasets for record in dataset.records)
    pictures = sum(len(dataset.records) for dataset in datasets)
    found = []
    for kind in KINDS:
        items = tuple(
            f"{dataset.split}: {what}"
            for dataset in datasets
            for what in dataset.problems.get(kind, ())
        )
        if items:
            whole = (pictures if kind in PICTURE_LOST else boxes) + len(items)
            finding = Finding(
                kind,
                _severity(kind, len(items) / whole),
                f"{kind.capitalize()}: {len(items):,}",
                f"What is done about it whenever this data set is read: {KINDS[kind]}.",
                "Fix the files, or leave them as they are; --strict refuses them.",
                items,
                _examples(datasets, kind),
            )
            found.append(finding)
    return found


def _severity(kind: str, share: float) -> Severity:
    if kind in HARMLESS:
        return "note"
    return "error" if share > MUCH_LOST else "warning"


def _examples(datasets: Sequence[Dataset], kind: str) -> tuple[Example, ...]:
    """Return the first images whose name opens what was noted under `kind`."""
    examples = []
    for dataset in datasets:
        noted = dataset.problems.get(kind, ())[:SHOWN_EXAMPLES]
        if not noted:
            continue
        for index, record in enumerate(dataset.records):
            if any(what == record.file_name or what.startswith(f"{record.file_name} ")
                   for what in noted):  # fmt: skip
                examples.append(Example(dataset.split, index))
    return tuple(examples[:SHOWN_EXAMPLES])


def content_findings(datasets: Sequence[Dataset], tables: Sequence[BoxTable]) -> list[Finding]:
    """Return what the splits lack, and boxes that are there twice."""
    return [
        *_without_boxes(datasets, tables),
        *_empty_pictures(datasets, tables),
        *_double_boxes(datasets, tables),
    ]


def _without_boxes(datasets, tables) -> Iterator[Finding]:
    for dataset, table in zip(datasets, tables, strict=True):
        if not dataset.has_annotations:
            yield Finding(
                "no annotations",
                "note",
                f"{dataset.split} has no annotations",
                "It can be predicted on, but neither trained nor scored on.",
                "Nothing, if its boxes are kept secret by its makers.",
            )
        elif not len(table.boxes):
            yield Finding(
                "negatives only",
                "error",
                f"None of the {counted(len(dataset.records), 'picture')} of "
                f"{dataset.split} has a box",
                "Training on it learns that there is nothing; scoring on it gives no AP.",
                "If it should have boxes, see that the annotations lie where they are read.",
            )


def _empty_pictures(datasets, tables) -> Iterator[Finding]:
    items, examples = [], []
    for dataset, table in zip(datasets, tables, strict=True):
        if len(table.boxes):
            items += [f"{dataset.split}: {dataset.records[at].file_name}" for at in table.empty]
            examples += [Example(dataset.split, int(at)) for at in table.empty[:SHOWN_EXAMPLES]]
    if items:
        pictures = sum(len(dataset.records) for dataset in datasets)
        yield Finding(
            "empty pictures",
            "note",
            f"Images without boxes: {len(items):,} ({percent(len(items), pictures)})",
            "They are trained on as background: right, if there really is nothing in them.",
            "Look at some; annotate or remove those that show an object.",
            tuple(items),
            tuple(examples[:SHOWN_EXAMPLES]),
        )


def _double_boxes(datasets, tables) -> Iterator[Finding]:
    found: dict[str, list[tuple[str, Example]]] = {"double boxes": [], "two classes": []}
    for dataset, table in zip(datasets, tables, strict=True):
        for group in _equal_rows(np.column_stack([table.pictures, table.boxes])):
            picture = int(table.pictures[group[0]])
            classes = sorted({dataset.class_names[table.classes[index]] for index in group})
            sides = [round(float(side), 1) for side in table.boxes[group[0]]]
            name = dataset.records[picture].file_name
            item = f"{dataset.split}: {name} {sides} {' and '.join(classes)}, {len(group)} times"
            marked = group - np.searchsorted(table.pictures, picture)
            code = "double boxes" if len(classes) < len(group) else "two classes"
            found[code].append((item, Example(dataset.split, picture, tuple(marked.tolist()))))
    same = Finding(
        "double boxes",
        "warning",
        "The same box with the same class twice",
        "The object counts twice in the loss, and one of the two is always missed in scoring.",
        "Remove the copies.",
    )
    other = Finding(
        "two classes",
        "note",
        "The same box with two classes",
        "Each anchor learns one of the two, whichever comes first.",
        "Decide for one class, or keep it if both are meant.",
    )
    for finding in (same, other):
        if rows := found[finding.code]:
            yield replace(
                finding,
                title=f"{finding.title}: {len(rows):,}",
                items=tuple(item for item, _ in rows),
                examples=tuple(example for _, example in rows[:SHOWN_EXAMPLES]),
            )


def _equal_rows(rows: np.ndarray) -> list[np.ndarray]:
    """Return the numbers of the rows (N, 5) that are there more than once, by group."""
    order = np.lexsort(rows.T[::-1])
    is_new = np.ones(len(rows), bool)
    is_new[1:] = (rows[order][1:] != rows[order][:-1]).any(axis=1)
    groups = np.split(order, np.flatnonzero(is_new)[1:])
    return [np.sort(group) for group in groups if len(group) > 1]
