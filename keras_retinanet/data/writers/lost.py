"""Sentences on what a form cannot hold, each with how many it concerns; none where it holds all."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_retinanet.data.records import Dataset, ImageRef
from keras_retinanet.data.writers.shared import PictureNames
from keras_retinanet.errors import counted

# A file may be listed twice, under two ids.
PictureKey = tuple[ImageRef, int | str]


def ignored(splits: Mapping[str, Dataset], what_becomes: str) -> list[str]:
    """Return the sentence on boxes to ignore."""
    count = sum(int(record.ignore.sum()) for data in splits.values() for record in data.records)
    return [f"{counted(count, 'box')} to ignore (crowds), {what_becomes}."] if count else []


def names(given: Sequence[PictureNames]) -> list[str]:
    """Return the sentence on images that carry another name than before."""
    count = sum(each.renamed for each in given)
    return [f"{counted(count, 'image')} with another name."] if count else []


def areas(splits: Mapping[str, Dataset]) -> list[str]:
    """Return the sentence on areas that are not their boxes' (COCO's are of masks)."""
    count = 0
    for dataset in splits.values():
        for record in dataset.records:
            sides = record.boxes[:, 2:] - record.boxes[:, :2]
            count += int((~np.isclose(sides[:, 0] * sides[:, 1], record.areas, 1e-3)).sum())
    return (
        [f"{counted(count, 'box')} with an area that is lost: the box's counts."] if count else []
    )


def scores(splits: Mapping[str, Dataset]) -> list[str]:
    """Return the sentence on the scores of detected boxes."""
    count = sum(
        len(record.scores)
        for dataset in splits.values()
        for record in dataset.records
        if record.scores is not None
    )
    return [f"{counted(count, 'box')} with a score that is lost."] if count else []


def image_ids(splits: Mapping[str, Dataset], ids: Mapping[PictureKey, int | str]) -> list[str]:
    """Return the sentence on images whose id is not what `ids` now gives them.

    Those that a model labeled have none of their own: they were numbered for the occasion.
    """
    records = [record for dataset in splits.values() for record in dataset.records]
    count = sum(
        ids.get((each.image, each.image_id), each.image_id) != each.image_id
        for each in records
        if each.scores is None
    )
    return [f"{counted(count, 'image')} with an id that is lost."] if count else []


def class_ids(dataset: Dataset, start: int) -> list[str]:
    """Return the sentence on class ids that do not count up from `start`."""
    if dataset.class_ids == list(range(start, start + len(dataset.class_ids))):
        return []
    return [
        f"The ids of {counted(len(dataset.class_ids), 'class')} become {start}, {start + 1}, ..."
    ]
