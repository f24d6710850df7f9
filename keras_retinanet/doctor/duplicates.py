"""Images that are there twice: within a split, and across splits, which spoils the score."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_retinanet.data.near_duplicates import joined_groups, near_pairs
from keras_retinanet.data.records import Dataset, ImageRef
from keras_retinanet.doctor.findings import Example, Finding, counted
from keras_retinanet.doctor.scanning import Fingerprint

SHOWN_GROUPS = 3


@dataclass(frozen=True)
class Group:
    """Places (split, index of the record) of images that are the same, or nearly."""

    places: tuple[Example, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(sorted({place.split for place in self.places}))


def find_groups(
    datasets: Sequence[Dataset], prints: Mapping[ImageRef, Fingerprint]
) -> tuple[list[Group], list[Group]]:
    """Return (groups of equal files, groups of near duplicates) of two places or more.

    Near duplicates are looked for among images that `prints` has decoded.
    """
    places: dict[bytes, list[Example]] = defaultdict(list)
    kept: dict[bytes, Fingerprint] = {}
    for dataset in datasets:
        for index, record in enumerate(dataset.records):
            print_ = prints[record.image]
            if print_.digest:
                places[print_.digest].append(Example(dataset.split, index))
                kept[print_.digest] = print_
    exact = [Group(tuple(found)) for found in places.values() if len(found) > 1]
    digests = [digest for digest, print_ in kept.items() if print_.grey is not None]
    if len(digests) < 2:
        return exact, []
    grey = np.array([kept[digest].grey for digest in digests])
    sizes = np.array([kept[digest].size for digest in digests])
    near = [
        Group(tuple(place for number in group for place in places[digests[number]]))
        for group in joined_groups(near_pairs(grey, sizes))
    ]
    return exact, near


def duplicate_findings(
    datasets: Sequence[Dataset], exact: Sequence[Group], near: Sequence[Group]
) -> list[Finding]:
    """Return the findings on leaks between splits and on duplicates within one."""
    texts = {
        "leak": ("error", exact, True, "The same image in more than one split",
                 "The score is computed on images that were trained on: it is too good.",
                 "Remove them from one of the splits."),
        "near leak": ("warning", near, True, "Nearly the same image in more than one split",
                      "Frames of one video or copies in another size make the score too good.",
                      "Look at them; keep all copies of an image in one split."),
        "duplicates": ("warning", exact, False, "The same image twice in a split",
                       "It counts more than the others, and its boxes may contradict each other.",
                       "Remove the copies."),
        "near duplicates": ("note", near, False, "Nearly the same image twice in a split",
                            "They teach less than their number suggests.",
                            "Nothing, if it is meant so, as with frames of a video."),
    }  # fmt: skip
    found = []
    for code, (severity, groups, across, title, meaning, action) in texts.items():
        chosen = [group for group in groups if (len(group.splits) > 1) == across]
        if chosen:
            places = tuple(place for group in chosen[:SHOWN_GROUPS] for place in group.places[:2])
            title = f"{title}: {counted(len(chosen), 'group')}"
            items = tuple(_named(datasets, group) for group in chosen)
            found.append(Finding(code, severity, title, meaning, action, items, places))  # type: ignore[arg-type]
    return found


def _named(datasets: Sequence[Dataset], group: Group) -> str:
    by_split = {dataset.split: dataset for dataset in datasets}
    return " = ".join(
        f"{place.split}: {by_split[place.split].records[place.index].file_name}"
        for place in group.places
    )
