"""Are the classes those that the boxes mean? Shape letters: K classes, S splits."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from keras_retinanet.data.records import Dataset
from keras_retinanet.doctor.findings import Finding, counted, percent

# A class with fewer training boxes is hardly learned.
FEW_BOXES = 20
# Fewer boxes say too little about their distribution.
MIN_BOXES = 50
# Two distributions of classes differ when this share of the boxes would have to change class,
# and by this many times what chance does; shifted, at most a quarter of it must be left.
MIN_DISTANCE, CHANCES, LEFT_WHEN_SHIFTED = 0.2, 3.0, 0.25
BACKGROUND_NAMES = {"background", "bg", "none", "no object"}


def class_findings(
    datasets: Sequence[Dataset], counts: np.ndarray, train: int | None
) -> list[Finding]:
    """Return what looks wrong with the classes.

    Args:
        datasets: the S splits; all have the same classes.
        counts: (S, K) boxes of each class.
        train: which split is trained on; None: not known.
    """
    names = datasets[0].class_names if datasets else []
    if not names:
        return []
    return [
        *_undeclared(datasets, names, counts.sum(axis=0)),
        *_end_unused(names, counts.sum(axis=0)),
        *_shifted_split(datasets, counts, train),
        *_background(names),
        *_same_names(names),
        *_unused_or_few(datasets, names, counts, train),
    ]


def _undeclared(datasets, names, totals) -> Iterator[Finding]:
    boxes = sum(len(dataset.problems.get("undeclared class", ())) for dataset in datasets)
    unused = [names[end] for end in (0, -1) if totals[end] == 0]
    if boxes and unused and totals.any():
        yield Finding(
            "shifted classes",
            "error",
            f"Class ids seem off by one: {counted(boxes, 'box')} of ids that nobody declared, "
            f"while `{unused[0]}`, at the end of the list, has none",
            "All classes would be learned under their neighbor's name.",
            "Compare the ids of the boxes with the list of classes: do both start at 0, or at 1?",
        )


def _end_unused(names, totals) -> Iterator[Finding]:
    for end, inner in ((0, totals[1:]), (-1, totals[:-1])):
        if len(names) > 2 and totals[end] == 0 and (inner >= FEW_BOXES).all():
            yield Finding(
                "shifted classes",
                "warning",
                f"`{names[end]}`, the {'first' if end == 0 else 'last'} class, has no boxes "
                "while all others have many",
                "That is what ids shifted by one look like: each box named as its neighbor.",
                "Look at a few images with `dataset view`; fix the ids if names are wrong.",
            )
            return


def distance(counts: np.ndarray, others: np.ndarray) -> float:
    """Return the share of boxes that would have to change class to make both alike, 0..1."""
    return float(np.abs(counts / counts.sum() - others / others.sum()).sum() / 2)


def _shifted_split(datasets, counts, train) -> Iterator[Finding]:
    """Compare each split's classes with those of the training split, as they are and shifted."""
    if train is None or counts[train].sum() < MIN_BOXES:
        return
    for index, dataset in enumerate(datasets):
        if index == train or counts[index].sum() < MIN_BOXES:
            continue
        shares = counts[train] / counts[train].sum()
        chance = np.sqrt(shares * (1 - shares) / counts[index].sum()).sum() / 2
        plain = distance(counts[train], counts[index])
        shifts = {step: distance(counts[train], np.roll(counts[index], step)) for step in (-1, 1)}
        step = min(shifts, key=lambda step: shifts[step])
        is_other = plain >= max(MIN_DISTANCE, CHANCES * chance)
        if is_other and shifts[step] <= LEFT_WHEN_SHIFTED * plain:
            yield Finding(
                "shifted classes",
                "error",
                f"The classes of {dataset.split} seem one too "
                f"{'high' if step == -1 else 'low'} against those of {datasets[train].split}",
                f"{percent(plain, 1)} of its boxes would have to change class to be spread "
                f"as in {datasets[train].split}; shifted by one, {percent(shifts[step], 1)}.",
                "Compare the lists of classes of both files, and what number each starts at.",
            )


def _background(names) -> Iterator[Finding]:
    found = tuple(name for name in names if _plain(name) in BACKGROUND_NAMES)
    if found:
        yield Finding(
            "background class",
            "warning",
            f"`{found[0]}` is declared as a class",
            "Background is what no box covers; as a class it is an output that learns nothing.",
            "Leave it out with --classes, which names those to keep.",
            found,
        )


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]+", " ", name.strip().casefold())


def _same_names(names) -> Iterator[Finding]:
    groups = defaultdict(list)
    for name in names:
        groups[_plain(name)].append(f"`{name}`")
    same = tuple(", ".join(group) for group in groups.values() if len(group) > 1)
    if same:
        yield Finding(
            "similar class names",
            "warning",
            f"Class names that differ only in case or spaces: {same[0]}",
            "One class is learned as two, and each has too few boxes.",
            "Give them one spelling in the annotation files.",
            same,
        )


def _unused_or_few(datasets, names, counts, train) -> Iterator[Finding]:
    reference = counts.sum(axis=0) if train is None else counts[train]
    where = "all splits" if train is None else datasets[train].split
    if not reference.any():
        return
    rows = list(zip(names, reference.tolist(), counts.sum(axis=0).tolist(), strict=True))
    of_all = f"of {counted(len(names), 'class')}"
    unused = tuple(name for name, count, _ in rows if not count)
    unlearned = tuple(
        f"{name}: {total} elsewhere, 0 in {where}"
        for name, count, total in rows
        if total and not count
    )
    if unlearned:
        yield Finding(
            "class not in training",
            "warning",
            f"{len(unlearned)} {of_all} in other splits have no box in {where}",
            "They are scored but never learned: their AP will be 0.",
            "Split the images again, or choose classes with --classes.",
            unlearned,
        )
    if len(unused) > len(unlearned):
        yield Finding(
            "unused class",
            "note",
            f"{len(unused)} {of_all} have no box in {where}",
            "Their outputs learn only that there is nothing.",
            "Leave them out with --classes if they are not to come.",
            unused,
        )
    yield from _few(rows, of_all, where)


def _few(rows: list[tuple[str, int, int]], of_all: str, where: str) -> Iterator[Finding]:
    few = tuple(f"{name}: {count}" for name, count, _ in rows if 0 < count < FEW_BOXES)
    if few:
        yield Finding(
            "few boxes",
            "note",
            f"{len(few)} {of_all} have fewer than {FEW_BOXES} boxes in {where}",
            "So few examples are hardly learned; their AP says little.",
            "Annotate more, join classes, or leave them out with --classes.",
            few,
        )
