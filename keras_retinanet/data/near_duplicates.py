"""Which images of a data set are the same, or nearly: by their bytes, and by how they look.

Shape letter: M different files.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from multiprocessing.pool import ThreadPool
from typing import NamedTuple

import numpy as np
from PIL import Image

from keras_retinanet.data.images.windows import decode_window
from keras_retinanet.data.records import Dataset
from keras_retinanet.files.images.headers import PictureError, read_header
from keras_retinanet.terminal import progress

# Side of the reduced gray image that near duplicates are compared by: 256 bytes an image.
GREY_SIDE = 16
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
# An image is decoded no larger than it needs to be for its reduced one.
SEEN_SIDE = 4 * GREY_SIDE
# Images that `alike_groups` decodes in some seconds; of more it compares the bytes alone.
MANY_IMAGES = 5_000


def reduced_grey(image: np.ndarray) -> np.ndarray:
    """Return a uint8 RGB image (H, W, 3) as gray, reduced to (GREY_SIDE**2,) uint8."""
    small = Image.fromarray(image).convert("L").resize((GREY_SIDE,) * 2, Image.Resampling.BOX)
    return np.asarray(small, np.uint8).ravel()


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


class _Look(NamedTuple):
    digest: bytes  # of the file's bytes; b"" where they cannot be read
    size: tuple[int, int] = (0, 0)
    grey: np.ndarray | None = None  # None: not decoded


def alike_groups(dataset: Dataset) -> list[list[int]]:
    """Return the groups of two or more records whose images are the same, or nearly.

    Reads every file, in threads. Beyond `MANY_IMAGES` files, only those of equal bytes are found.
    """
    count = len(dataset.records)
    decode = count <= MANY_IMAGES

    def look(index: int) -> _Look:
        try:
            return _look(dataset.read_bytes(index), decode=decode)
        except OSError:
            return _Look(b"")

    with ThreadPool(os.cpu_count() or 1) as pool:
        looks = []
        with progress(total=count, desc="compare images", unit="image", leave=False) as bar:
            for found in pool.imap(look, range(count), chunksize=16):
                looks.append(found)
                bar.update(1)
    first: dict[bytes, int] = {}
    pairs = [
        (first.setdefault(each.digest, index), index)
        for index, each in enumerate(looks)
        if each.digest
    ]
    seen = [index for index in first.values() if looks[index].grey is not None]
    if len(seen) > 1:
        grey = np.array([looks[index].grey for index in seen])
        sizes = np.array([looks[index].size for index in seen])
        pairs += [(seen[one], seen[other]) for one, other in near_pairs(grey, sizes)]
    return joined_groups((one, other) for one, other in pairs if one != other)


def _look(encoded: bytes, *, decode: bool) -> _Look:
    digest = hashlib.sha256(encoded).digest()
    if not decode:
        return _Look(digest)
    try:
        header = read_header(encoded)
        length = np.array([header.height, header.width], np.int32)
        wanted = np.array([SEEN_SIDE, SEEN_SIDE], np.int32)
        window = decode_window(
            encoded, header, start=np.zeros(2, np.int32), length=length, size=wanted
        )
    except PictureError:
        return _Look(digest)
    return _Look(digest, (header.height, header.width), reduced_grey(window.pixels))
