"""Every image decoded once: which are broken, and what each looks like, in a few bytes.

Nothing but the fingerprints is kept, so memory is bounded whatever the number of images.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool

import numpy as np

from keras_retinanet.data.images.exif import orientation
from keras_retinanet.data.near_duplicates import reduced_grey
from keras_retinanet.data.records import Dataset, ImageRef, Record
from keras_retinanet.data.regular_files import is_hidden
from keras_retinanet.doctor.findings import Example, Finding, counted
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import PictureError
from keras_retinanet.files.images.image_formats import IMAGE_SUFFIXES
from keras_retinanet.terminal import progress

# EXIF orientations from here on swap height and width.
SIDEWAYS = 5
SHOWN_EXAMPLES = 6


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What is remembered of one image.

    Attributes:
        digest: sha256 of the file's bytes; b"" if they cannot be read.
        size: (height, width) in pixels as decoded; None: not decoded, or not to be decoded.
        grey: as `reduced_grey` gives it; None without `size`.
        orientation: as its EXIF states it, 1..8; 1: not turned.
        problem: of `KINDS`, if it cannot be read or decoded, or is cut off or damaged; else "".
    """

    digest: bytes
    size: tuple[int, int] | None = None
    grey: np.ndarray | None = None
    orientation: int = 1
    problem: str = ""


def fingerprint(encoded: bytes, *, decode: bool = True) -> Fingerprint:
    """Return the fingerprint of an image file's bytes.

    Args:
        decode: False: the hash of the bytes alone.
    """
    digest = hashlib.sha256(encoded).digest()
    if not decode:
        return Fingerprint(digest)
    damage: list[str] = []
    try:
        image = decode_image(encoded, on_damage=damage.append)
    except PictureError as error:
        return Fingerprint(digest, problem=error.kind)
    size = image.shape[0], image.shape[1]
    grey = reduced_grey(image)
    return Fingerprint(digest, size, grey, orientation(encoded), problem="".join(damage))


def scan(datasets: Sequence[Dataset], *, decode: bool = True) -> dict[ImageRef, Fingerprint]:
    """Read every image of all splits once, in threads, with a bar on standard error.

    An image that cannot be read, or has another size than its record, is noted in the problems
    of its split.

    Raises:
        UserError: such an image, where the dataset is strict.
    """
    places = [(dataset, index) for dataset in datasets for index in range(len(dataset.records))]
    seen: dict[ImageRef, Fingerprint] = {}
    with progress(total=len(places), desc="check", unit="image", leave=False) as bar:
        for (dataset, index), print_ in zip(places, _read_all(places, decode), strict=True):
            record = dataset.records[index]
            seen[record.image] = print_ or seen[record.image]
            _note(dataset, record, seen[record.image])
            bar.update()
    return seen


def _read_all(places: Iterable[tuple], decode: bool) -> Iterator[Fingerprint | None]:
    """Yield the fingerprint of each place in order; None where its image came before."""

    def first_only() -> Iterator[tuple | None]:
        known: set[ImageRef] = set()
        for dataset, index in places:
            image = dataset.records[index].image
            yield None if image in known else (dataset, index)
            known.add(image)

    def read(place: tuple | None) -> Fingerprint | None:
        if place is None:
            return None
        dataset, index = place
        try:
            return fingerprint(dataset.read_bytes(index), decode=decode)
        except OSError:
            return Fingerprint(b"", problem="unreadable picture")

    with ThreadPool(os.cpu_count() or 1) as pool:
        yield from pool.imap(read, first_only(), chunksize=4)


def _note(dataset: Dataset, record: Record, print_: Fingerprint) -> None:
    if print_.problem:
        dataset.problems.note(print_.problem, record.file_name)
    stored = (record.height, record.width)
    if print_.size not in (None, stored[::-1] if record.orientation >= SIDEWAYS else stored):
        dataset.problems.note("picture of another size than annotated", record.file_name)


def turned_findings(
    datasets: Sequence[Dataset], prints: Mapping[ImageRef, Fingerprint]
) -> Iterator[Finding]:
    """Yield the images that viewers turn by their EXIF tag, but training does not."""
    items, examples, annotated_turned = [], [], 0
    for dataset in datasets:
        for index, record in enumerate(dataset.records):
            print_ = prints[record.image]
            if print_.orientation == 1 or record.orientation != 1:
                continue
            items.append(f"{dataset.split}: {record.file_name} (orientation {print_.orientation})")
            examples.append(Example(dataset.split, index))
            annotated_turned += (
                print_.orientation >= SIDEWAYS
                and print_.size != (record.height, record.width)
                and print_.size == (record.width, record.height)
            )
    if not items:
        return
    meaning = "Boxes are taken to lie on the stored pixels, as COCO's do; viewers turn the image."
    if annotated_turned:
        meaning += f" The annotated size of {annotated_turned:,} is that of the turned image."
    yield Finding(
        "turned pictures",
        "error" if annotated_turned else "warning",
        f"Images that their EXIF tag turns: {len(items):,}",
        meaning,
        "See below whether the boxes fit; if they fit the turned image, give --exif apply.",
        tuple(items),
        tuple(examples[:SHOWN_EXAMPLES]),
    )


def unlisted_findings(datasets: Sequence[Dataset]) -> Iterator[Finding]:
    """Yield the images beside the listed ones that no split names.

    Images within larger files (TFRecord) are not looked for.
    """
    listed = {
        os.path.normpath(record.image.path)
        for dataset in datasets
        for record in dataset.records
        if record.image.length < 0
    }
    unlisted: list[str] = []
    for folder in sorted(set(map(os.path.dirname, listed))):
        try:
            names = sorted(name for name in os.listdir(folder) if not is_hidden(name))
        except OSError:  # drawn images have no file
            continue
        paths = (
            os.path.join(folder, name)
            for name in names
            if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
        )
        unlisted += [path for path in paths if path not in listed]
    if unlisted:
        yield Finding(
            "unlisted pictures",
            "note",
            f"{counted(len(unlisted), 'picture')} in the folders that no split uses",
            "They are neither trained nor scored on.",
            "List them in a split if they are annotated, or as background; else leave them.",
            tuple(unlisted),
        )
