"""The images of a review: each once whatever splits it lies in, and parted into folds."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from keras_retinanet.data.near_duplicates import alike_groups
from keras_retinanet.data.records import Dataset, Record, align_classes
from keras_retinanet.errors import UserError


def reviewed_images(splits: Mapping[str, Dataset]) -> tuple[Dataset, list[tuple[str, str]]]:
    """Join the labeled images of all splits, each image once.

    Returns:
        The data set, its images numbered from 1, and of each image the split and the id by which
        its labels are found again.

    Raises:
        UserError: no split has labels.
    """
    labeled = {name: dataset for name, dataset in splits.items() if dataset.has_annotations}
    if not labeled:
        raise UserError(
            f"Expected a split with labels to review. Received: {', '.join(splits) or 'none'}, "
            "without."
        )
    first = next(iter(labeled.values()))
    records: list[Record] = []
    places, seen = [], set()
    for name, dataset in labeled.items():
        for record in align_classes(dataset, first).records:
            if record.image not in seen:
                seen.add(record.image)
                places.append((name, str(record.image_id)))
                records.append(replace(record, image_id=len(records) + 1))
    return replace(first, split=", ".join(labeled), records=records), places


def folds(dataset: Dataset, count: int, *, seed: int) -> Iterator[tuple[Dataset, list[int]]]:
    """Yield for each of `count` folds what to train on, and the indices of the images to judge.

    Each image is judged once. Images that are the same, or nearly (`alike_groups`), are in one
    fold, or the model would have been trained on what it judges.

    Raises:
        UserError: there are fewer than two images for a fold.
    """
    total = len(dataset.records)
    if not 2 <= count <= total // 2:
        raise UserError(
            f"Expected 2 to {max(total // 2, 2)} folds of {total} images. "
            f"Received: --folds {count}."
        )
    groups = alike_groups(dataset)
    alone = set(range(total)).difference(*groups)
    units = [*groups, *([index] for index in sorted(alone))]
    order = np.random.default_rng(seed).permutation(len(units)).tolist()
    parts: list[list[int]] = [[] for _ in range(count)]
    for place in sorted(order, key=lambda place: -len(units[place])):
        min(parts, key=len).extend(units[place])
    for part in parts:
        judged = set(part)
        others = [record for index, record in enumerate(dataset.records) if index not in judged]
        yield replace(dataset, records=others), sorted(part)
