"""Datasets written as files: `WRITERS` by name, and one call that leaves nothing half-written."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from keras_retinanet.data.records import Dataset, align_classes
from keras_retinanet.data.writers import (
    coco,
    csv_files,
    cvat,
    label_studio,
    lost,
    tfrecord,
    voc,
    yolo,
)
from keras_retinanet.data.writers.shared import WriteOptions
from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_folder
from keras_retinanet.files.targets import check_new_folder

# Each has `write(splits, folder, options) -> what its form cannot hold, in sentences`, for an
# empty folder and splits of the same classes; it raises `UserError` for what it cannot write.
WRITERS: dict[str, ModuleType] = {
    "coco": coco,
    "voc": voc,
    "csv": csv_files,
    "yolo": yolo,
    "tfrecord": tfrecord,
    "labelstudio": label_studio,
    "cvat": cvat,
}
# Forms that hold the score of a detected box.
WITH_SCORES = ("coco", "labelstudio")


def write_dataset(
    splits: Mapping[str, Dataset],
    folder: str | os.PathLike[str],
    form: str,
    options: WriteOptions | None = None,
) -> list[str]:
    """Write a dataset in another form, with its images, whole or not at all.

    Images are copied byte for byte. One that cannot be read is skipped, and noted in the
    `problems` of its split.

    Args:
        splits: by name; their classes are joined by name.
        folder: gets the files; made, or there and empty.
        form: one of `WRITERS`.

    Returns:
        What the form cannot hold and what was changed for it, one sentence each.

    Raises:
        UserError: `folder` is not empty, or the form cannot hold the dataset at all.
    """
    if form not in WRITERS:
        raise UserError(f"Expected one of the forms {', '.join(WRITERS)}. Received: {form}.")
    folder = Path(folder)
    options = replace(options or WriteOptions(), name=folder.resolve().name)
    sentences = [] if form in WITH_SCORES else lost.scores(splits)
    hidden = [name for name, dataset in splits.items() if not dataset.has_annotations]
    if hidden and form != "coco":
        sentences += [f"Split {name} has no public boxes and is not written." for name in hidden]
        splits = {name: dataset for name, dataset in splits.items() if name not in hidden}
    if not splits:
        raise UserError(f"Expected a split with boxes to write as {form}. Received: none.")
    check_new_folder(folder)
    with atomic_folder(folder.resolve()) as temporary:
        written = WRITERS[form].write(_with_common_classes(splits), temporary, options)
    return sentences + written


def _with_common_classes(splits: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Return the splits with the classes of all, in the first one's order, then of the others."""
    class_ids: dict[str, int] = {}
    for dataset in splits.values():
        for name, class_id in zip(dataset.class_names, dataset.class_ids, strict=True):
            class_ids.setdefault(name, class_id)
    names, ids = list(class_ids), list(class_ids.values())
    if len(set(ids)) < len(ids):
        ids = list(range(1, len(ids) + 1))
    first = next(iter(splits.values()))
    reference = replace(first, class_names=names, class_ids=ids, records=[])
    return {
        name: replace(align_classes(dataset, reference), class_ids=ids)
        for name, dataset in splits.items()
    }
