"""Images that are there twice: within a split, and across splits, which spoils the score.

Shape letter: M different files.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_retinanet.data.records import Dataset, ImageRef
from keras_retinanet.doctor.findings import Example, Finding, counted
from keras_retinanet.doctor.scanning import GREY_SIDE, Fingerprint

# Two images are near duplicates when at most this many of the 64 bits of their difference hash
# differ: one of its four parts is then equal, which finds the pairs without trying them all ...
HASH_BITS, MAX_HASH_DISTANCE, HASH_PARTS = 64, 3, 4
# ... and when their reduced gray images agree: mean difference in gray levels, correlation, and
# aspect. Different images of one scene or of one kind of slide do not come so close.
MAX_GREY_DIFFERENCE, MIN_CORRELATION, MAX_ASPECT_CHANGE = 4.0, 0.98, 0.02
# A flatter image (standard deviation in gray levels) resembles every other flat one.
MIN_CONTRAST = 6.0
# With more images than this of one code (a fixed camera's), one that has found its like does not
# look for more: all pairs of them would be too many.
MANY_ALIKE = 1000
CHUNK = 4096
SHOWN_GROUPS = 3


@dataclass(frozen=True)
class Group:
    """Places (split, index of the record) of images that are the same, or nearly."""

    places: tuple[Example, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(sorted({place.split for place in self.places}))


def difference_hash(grey: np.ndarray) -> np.ndarray:
    """Return (M, 64) bool of gray images (M, GREY_SIDE**2): is the right neighbor brighter?

    The difference hash of 8 x 8 bits (N. Krawetz 2013), of the image reduced to 8 x 9 cells.
    """
    rows = grey.reshape(-1, 8, 2, GREY_SIDE).astype(np.float32).mean(axis=2)  # (M, 8, 16)
    # Nine columns out of sixteen, by linear interpolation.
    at = np.linspace(0, GREY_SIDE - 1, 9)
    left = np.minimum(at.astype(int), GREY_SIDE - 2)
    share = (at - left).astype(np.float32)
    columns = rows[:, :, left] * (1 - share) + rows[:, :, left + 1] * share
    return (columns[:, :, 1:] > columns[:, :, :-1]).reshape(-1, HASH_BITS)


def near_pairs(grey: np.ndarray, sizes: np.ndarray) -> list[tuple[int, int]]:
    """Return (i, j), i < j, of the near duplicates among M images.

    Args:
        grey: (M, GREY_SIDE**2) uint8, as `Fingerprint.grey`.
        sizes: (M, 2) (height, width) in pixels.
    """
    usable = np.flatnonzero(grey.std(axis=1) >= MIN_CONTRAST)
    bits = difference_hash(grey[usable])
    aspects = sizes[usable, 1] / sizes[usable, 0]
    parts = np.packbits(bits, axis=1).view(np.uint16)  # (M, 4)
    codes = np.packbits(bits, axis=1).view(np.uint64).ravel()
    pairs: set[tuple[int, int]] = set()
    for part in range(HASH_PARTS):
        order = np.argsort(parts[:, part], kind="stable")
        bounds = np.flatnonzero(np.diff(parts[order, part])) + 1
        for bucket in np.split(order, bounds):
            is_paired = np.zeros(len(bucket), bool)
            for place, first in enumerate(bucket[:-1]):
                if is_paired[place] and len(bucket) > MANY_ALIKE:
                    continue
                others = bucket[place + 1 :]
                close = np.bitwise_count(codes[others] ^ codes[first]) <= MAX_HASH_DISTANCE
                close &= np.abs(aspects[others] / aspects[first] - 1) <= MAX_ASPECT_CHANGE
                close[close] = _alike(grey[usable[first]], grey[usable[others[close]]])
                is_paired[place + 1 :] |= close
                here = int(usable[first])
                there = usable[others[close]].tolist()
                pairs.update((min(here, other), max(here, other)) for other in there)
    return sorted(pairs)


def _alike(grey: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return (M,) bool: which of `others` (M, GREY_SIDE**2) agree with `grey`."""
    alike = np.zeros(len(others), bool)
    centred = grey - grey.mean(dtype=np.float32)
    for start in range(0, len(others), CHUNK):
        part = others[start : start + CHUNK].astype(np.float32)
        difference = np.abs(part - grey).mean(axis=1)
        part -= part.mean(axis=1, keepdims=True)
        correlation = part @ centred / (np.linalg.norm(part, axis=1) * np.linalg.norm(centred))
        alike[start : start + CHUNK] = (difference <= MAX_GREY_DIFFERENCE) & (
            correlation >= MIN_CORRELATION
        )
    return alike


def joined_groups(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the numbers that `pairs` connect, directly or through others."""
    root: dict[int, int] = {}

    def find(number: int) -> int:
        while root.setdefault(number, number) != number:
            root[number] = root[root[number]]
            number = root[number]
        return number

    for first, second in pairs:
        root[find(second)] = find(first)
    groups = defaultdict(list)
    for number in sorted(root):
        groups[find(number)].append(number)
    return list(groups.values())


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
