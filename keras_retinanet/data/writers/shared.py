"""What all writers share: images and their names, numbers as text, sentences on what is lost."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, Record
from keras_retinanet.data.splits import find_split
from keras_retinanet.errors import UserError
from keras_retinanet.files.images.decoding import image_size
from keras_retinanet.files.images.image_formats import IMAGE_SUFFIXES, SUFFIXES, image_format

# What Windows refuses in names, beside control characters; a set travels between systems.
_RESERVED = set('<>:"|?*')
USUAL_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class WriteOptions:
    """How to write a dataset.

    Attributes:
        name: what the dataset is called: its folder's name.
        shards: `tfrecord`: files per split; None: one for each thousand images.
        workers: `tfrecord`: processes; None: one for each core, a single one for a small set.
        tick: called with the number of images that are done.
        model: `labelstudio`: the name of the model that detected boxes with scores.
    """

    name: str = "dataset"
    shards: int | None = None
    workers: int | None = None
    tick: Callable[[int], object] = lambda count: None
    model: str = "keras_retinanet"


class PictureNames:
    """Gives each image a relative name that no other has, with the suffix of its format.

    Two names that differ only by case are the same: they would be on many systems. The same
    image with the same boxes, in two splits, keeps one name; with other boxes it is another one,
    since its annotation file could hold only one of them.

    Args:
        flat: one folder for all: "a/1.jpg" becomes "a_1.jpg".
        by_stem: names must differ without their suffix too, as annotation files carry them.
    """

    def __init__(self, *, flat: bool = False, by_stem: bool = False):
        self._flat, self._by_stem = flat, by_stem
        self._names: dict[tuple, str] = {}
        self._taken: set[str] = set()
        self.renamed = 0

    def is_new(self, record: Record) -> bool:
        return _content(record) not in self._names

    def of(self, record: Record, encoded: bytes) -> str:
        """Return the name of an image, always the same."""
        key = _content(record)
        if key not in self._names:
            name = self._free(_safe_path(record.file_name, flat=self._flat), encoded)
            self._names[key] = name
            self.renamed += name != record.file_name
        return self._names[key]

    def _free(self, name: str, encoded: bytes) -> str:
        path = PurePosixPath(name)
        suffixes = SUFFIXES.get(image_format(encoded) or "", (path.suffix,))
        is_image = path.suffix.lower() in IMAGE_SUFFIXES
        stem = name.removesuffix(path.suffix) if is_image else name
        suffix = path.suffix if path.suffix.lower() in suffixes else suffixes[0]
        for number in range(1, len(self._taken) + 2):
            free = stem if number == 1 else f"{stem}_{number}"
            key = (free if self._by_stem else free + suffix).casefold()
            if key not in self._taken:
                break
        self._taken.add(key)
        return free + suffix


def _content(record: Record) -> tuple:
    boxes = record.boxes.tobytes(), record.classes.tobytes(), record.ignore.tobytes()
    return record.image, *boxes


def _safe_path(file_name: str, *, flat: bool) -> str:
    """Return a relative name: nothing leads out of the folder, every system can hold it."""
    parts = []
    for part in re.split(r"[/\\]", file_name):
        kept = [c if c.isprintable() and c not in _RESERVED else "_" for c in part]
        # Without dots in front: hidden files, "." and "..".
        part = "".join(kept).strip(" ").lstrip(".")
        if part:
            parts.append(part)
    return ("_" if flat else "/").join(parts or ["picture"])


def copied_pictures(
    dataset: Dataset, folder: Path, names: PictureNames, options: WriteOptions
) -> Iterator[tuple[Record, str]]:
    """Copy the images of a split into `folder`; yield each record with its image's name.

    Bytes are copied, not linked: a change to one set must not change the other. Sizes come from
    the images themselves; what cannot be read is skipped and noted.
    """
    for index, record in enumerate(dataset.records):
        read = readable_picture(record, lambda: dataset.read_bytes(index), dataset.problems)  # noqa: B023
        options.tick(1)
        if read is None:
            continue
        record, encoded = read
        is_new = names.is_new(record)
        name = names.of(record, encoded)
        if is_new:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded)
        yield record, name


def readable_picture(
    record: Record, read: Callable[[], bytes], problems: Problems
) -> tuple[Record, bytes] | None:
    """Return `record` with its image's true size, and the image; None, noted, if unreadable.

    Raises:
        UserError: its boxes are on the turned image, which no form can say.
    """
    if record.orientation != 1:
        raise UserError(
            "Expected boxes on the pixels as stored. Received: boxes on turned images. Write "
            "the data set as read with exif=stored."
        )
    try:
        encoded = read()
        height, width = image_size(encoded)
    except (OSError, UserError, IndexError) as error:
        problems.note("unreadable picture", f"{record.file_name} ({error})")
        return None
    if (height, width) != (record.height, record.width):
        problems.note("picture of another size than annotated", record.file_name)
        record = replace(record, height=height, width=width)
    return record, encoded


def decimal(value: float | np.floating) -> str:
    """Return the shortest decimal that is read back as the same float32."""
    return np.format_float_positional(np.float32(value), trim="-")


def split_words(splits: Iterable[str], allowed: str, substitute: str) -> dict[str, str]:
    """Return split -> its name in file names.

    Args:
        allowed: a regular expression's class of characters; each other one becomes `substitute`.

    Raises:
        UserError: two splits would have the same name.
    """
    words = {name: re.sub(f"[^{allowed}]", substitute, name) for name in splits}
    if len(set(words.values())) < len(words):
        raise UserError(
            f"Expected splits whose names differ by letters. Received: {', '.join(splits)}."
        )
    return words


def usual_splits(splits: Mapping[str, Dataset], single: str) -> dict[str, str]:
    """Return split -> "train", "val" or "test" where it is one of these by another name.

    Args:
        single: what the only part of a set without such parts is called.
    """
    usual = {
        name: next((word for word in USUAL_SPLITS if find_split(word, [name])), name)
        for name in splits
    }
    if len(set(usual.values())) < len(usual):  # train2014 and train2017
        return split_words(splits, r"\w.-", "_")
    if len(usual) == 1 and not set(usual.values()) & set(USUAL_SPLITS):
        return dict.fromkeys(usual, single)
    words = split_words(dict.fromkeys(usual.values()), r"\w.-", "_")
    return {name: words[word] for name, word in usual.items()}


def check_class_names(names: Sequence[str], form: str) -> None:
    """Raise UserError for a class name that a text form would not give back."""
    for name in names:
        if not name or name != name.strip() or not name.isprintable():
            raise UserError(
                f"Expected class names of printable letters to write {form}. Received: {name!r}. "
                "Rename the class, or leave it out with --classes."
            )
