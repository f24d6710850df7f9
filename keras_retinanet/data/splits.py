"""Which split is meant by a name, which to train and select on, and a seeded one where none is."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from keras_retinanet.data.holding_out import hold_out
from keras_retinanet.data.names import SPLIT_WORDS, fold
from keras_retinanet.data.near_duplicates import alike_groups
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import UserError

# One image in ten is held out where a dataset brings no validation part.
VAL_FRACTION = 0.1
SYNONYMS = {
    name: tuple(other for other in SPLIT_WORDS if other != name and SPLIT_WORDS[other] == usual)
    for name, usual in SPLIT_WORDS.items()
}


def find_split(wanted: str, available: Sequence[str]) -> str | None:
    """Return the one of `available` that `wanted` means, or None.

    The name itself comes first, then the name in any case, then with a year ("val" is val2017; the
    newest year), then the same for the other words for that split.
    """
    if wanted in available:
        return wanted
    for name in (wanted, *SYNONYMS.get(wanted.lower(), ())):
        same = [split for split in available if fold(split) == fold(name)]
        dated = [
            split
            for split in available
            if re.fullmatch(re.escape(name) + r"\d{4}", split, re.IGNORECASE)
        ]
        if same or dated:
            return same[0] if same else max(dated)
    return None


def match_split(wanted: str, available: Sequence[str], where: str) -> str:
    """Return what `find_split` finds.

    Args:
        where: what has these splits, for the message.

    Raises:
        UserError: there is no such split.
    """
    found = find_split(wanted, available)
    if found is None:
        raise UserError(
            f"Expected one of the splits of {where}: {', '.join(available) or 'none there'}. "
            f"Received: split={wanted}. Choose one with --split (validation: --val_split)."
        )
    return found


def training_splits(
    available: Sequence[str], split: str | None, val_split: str | None, where: str
) -> tuple[str, str | None]:
    """Return (the split to train on, the one to validate on or None).

    Training: `split`, else "train", else "trainval", else the only split there. Validation:
    `val_split`, else "val" unless it is, or is part of ("trainval"), what is trained on.

    Raises:
        UserError: a named split does not exist, or nothing says which one to train on.
    """
    if split is None:
        found = find_split("train", available) or find_split("trainval", available)
        if found is None and len(available) != 1:
            match_split("train", available, where)
        train = found or available[0]
    else:
        train = match_split(split, available, where)
    if val_split is not None:
        return train, match_split(val_split, available, where)
    val = find_split("val", available)
    return train, None if val == train or train.startswith("trainval") else val


def random_split(dataset: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Return `dataset` parted into nine tenths to train on and one tenth, at least one image.

    A pure function of the records, their images and `seed`; both parts keep the records' order.
    Images that are the same, or nearly (`alike_groups`), stay in one part, or the score would be
    of what was trained on. A class with two images or more has one in each part if that can be.

    Raises:
        UserError: there are fewer than two images.
    """
    count = len(dataset.records)
    if count < 2:
        raise UserError(
            "Expected at least 2 images to hold out a validation split. "
            f"Received: {count} in {dataset.name}. Add images."
        )
    order = np.random.default_rng(seed).permutation(count).tolist()
    held_out = hold_out(
        order,
        alike_groups(dataset),
        [set(record.classes[~record.ignore].tolist()) for record in dataset.records],
        wanted=max(1, round(VAL_FRACTION * count)),
    )

    def part(indices: Iterable[int], name: str, problems: Problems) -> Dataset:
        records = [dataset.records[index] for index in sorted(indices)]
        return replace(dataset, split=name, records=records, problems=problems)

    # What was found while loading is told once, with the training part.
    train = part(set(order) - held_out, "train", dataset.problems)
    return train, part(held_out, "val", Problems(strict=dataset.problems.strict))
