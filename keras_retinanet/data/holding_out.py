"""Which images of a set to hold out for validation: copies stay together, classes are on each side.

A unit is what moves as one: an image, or a group of images that are nearly the same.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class _Unit:
    images: tuple[int, ...]
    classes: frozenset[int]


def hold_out(
    order: Sequence[int],
    groups: Sequence[Sequence[int]],
    classes: Sequence[set[int]],
    *,
    wanted: int,
) -> set[int]:
    """Return the images to hold out: the first of `order`, but for what follows.

    A group is held out whole or not at all. Then, the rarest class first, a unit moves to the side
    that lacks a class of two units or more, and others move back to keep the number.

    Args:
        order: all images, shuffled.
        groups: images that stay together; none is in two of them. If they leave one unit alone,
            they are not kept together: nothing could be held out.
        classes: of each image, those of its boxes.
        wanted: how many images to hold out, at least 1.
    """
    units = _units(order, groups, classes)
    if len(units) < 2:
        units = _units(order, [], classes)
    held: list[_Unit] = []
    kept: list[_Unit] = []
    left = wanted
    for unit in units:
        fits = len(unit.images) <= left
        (held if fits else kept).append(unit)
        left -= len(unit.images) * fits
    if not held:
        held.append(min(kept, key=lambda unit: len(unit.images)))
        kept.remove(held[0])
    _balance(kept, held, wanted)
    return {image for unit in held for image in unit.images}


def _units(
    order: Sequence[int], groups: Sequence[Sequence[int]], classes: Sequence[set[int]]
) -> list[_Unit]:
    """Return the units in `order`, a group at the place of its first image there."""
    group_of = {image: tuple(group) for group in groups for image in group}
    members = dict.fromkeys(group_of.get(image, (image,)) for image in order)
    return [
        _Unit(images, frozenset().union(*(classes[image] for image in images)))
        for images in members
    ]


def _balance(kept: list[_Unit], held: list[_Unit], wanted: int) -> None:
    """Move units between both lists until each has all classes that it can have."""
    totals = Counter(name for unit in (*kept, *held) for name in unit.classes)
    for name, total in sorted(totals.items(), key=lambda item: (item[1], item[0])):
        for source, target in ((kept, held), (held, kept)):
            if total > 1 and not any(name in unit.classes for unit in target):
                _move(source, target, [unit for unit in source if name in unit.classes])
    # What moved to be held out makes room for others, the last of the order first.
    size = sum(len(unit.images) for unit in held)
    for unit in held[::-1]:
        if size - len(unit.images) >= wanted and _move(held, kept, [unit]):
            size -= len(unit.images)


def _move(source: list[_Unit], target: list[_Unit], choices: list[_Unit]) -> bool:
    """Move the first of `choices` without which `source` still has all its classes, if any has."""
    counts = Counter(name for unit in source for name in unit.classes)
    for unit in choices:
        if len(source) > 1 and all(counts[name] > 1 for name in unit.classes):
            source.remove(unit)
            target.append(unit)
            return True
    return False
