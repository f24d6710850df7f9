"""What several sources share: lines and CSV rows with their numbers, images of a folder, records.

Text is UTF-8, with or without a byte order mark, with any line ends but a bare CR.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from keras_retinanet.data.images.rasters import raster_size
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import ImageRef, Record, make_record
from keras_retinanet.data.regular_files import visible_files
from keras_retinanet.data.units import Units
from keras_retinanet.errors import UserError
from keras_retinanet.files import open_regular
from keras_retinanet.files.images.decoding import image_sizes
from keras_retinanet.files.images.headers import HUGE
from keras_retinanet.files.images.image_formats import IMAGE_SUFFIXES
from keras_retinanet.files.names import name_key

# More than this is no annotation but a broken file.
MAX_LINE_BYTES = 1 << 20
# Of the annotation file of one image: ten thousand outline points take 200 kB.
MAX_TEXT_BYTES = 16 << 20

# Box xyxy, contiguous class, whether to ignore it, area (None: the box's).
Object = tuple[Sequence[float], int, bool, float | None]


# How much of a faulty row a message shows.
SHOWN_CHARACTERS = 80


class Picture(NamedTuple):
    """An image file that is there: what messages call it, its id, and (height, width) if known."""

    image_id: int | str
    path: str
    file_name: str
    size: tuple[int, int] | None = None


def excerpt(text: str) -> str:
    """Return the beginning of `text` on one line, for a message."""
    return " ".join(text[:SHOWN_CHARACTERS].split())


def number(text: str) -> float:
    """Return the number that `text` writes. Raises ValueError if it is none.

    Python also takes 1_000 for one, which no annotation tool writes.
    """
    if "_" in text:
        raise ValueError(f"{text!r} is no number")
    return float(text)


def numbered_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, the line with its end), reading no more than a line at a time.

    Raises:
        ValueError: a line is not UTF-8 or is endless; names the line.
        OSError: the file cannot be read.
    """
    with open_regular(path) as stream:
        count = 0
        while line := stream.readline(MAX_LINE_BYTES + 1):
            count += 1
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(f"line {count}: longer than {MAX_LINE_BYTES} bytes")
            try:
                text = line.decode("utf-8-sig" if count == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(f"line {count}: not UTF-8 text") from error
            yield count, text


def text_lines(path: str | os.PathLike[str], expected: str) -> list[tuple[int, str]]:
    """Return (line number, the line with its end) of a list, without empty lines.

    Raises:
        UserError: it cannot be read; says what was `expected`.
    """
    try:
        return [(line, text) for line, text in numbered_lines(path) if text.strip()]
    except (OSError, ValueError) as error:
        raise UserError(f"Expected {expected}. Received: {path}, {error}. Fix it.") from error


def first_line(path: str | os.PathLike[str]) -> str:
    """Return the first line that is not empty; "" where none can be read."""
    try:
        return next((text for _, text in numbered_lines(path) if text.strip()), "")
    except (OSError, ValueError):
        return ""


def label_lines(path: str, problems: Problems) -> list[tuple[int, list[str]]] | None:
    """Return (line number, words) of the annotation file of one image, without empty lines.

    None if it cannot be read, which is then counted.
    """
    try:
        if os.path.getsize(path) > MAX_TEXT_BYTES:
            raise ValueError(f"line 1: the file has more than {MAX_TEXT_BYTES} bytes")
        rows = [(line, text.split()) for line, text in numbered_lines(path)]
    except (OSError, ValueError) as error:
        problems.note("unreadable annotation", f"{os.path.basename(path)}, {error}")
        return None
    return [(line, words) for line, words in rows if words]


def csv_rows(path: str | os.PathLike[str], delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its first line, cells) of each row that is not empty.

    Raises:
        UserError: the file cannot be read, is not UTF-8 or has a quote that never closes.
    """
    lines = (text for _, text in numbered_lines(path))
    reader = csv.reader(lines, strict=True, skipinitialspace=True, delimiter=delimiter)
    line = 1
    try:
        for row in reader:
            if any(row):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise _no_csv(path, f"line {line}: {error}") from error
    except (OSError, ValueError) as error:
        raise _no_csv(path, error) from error


def _no_csv(path: str | os.PathLike[str], why: object) -> UserError:
    return UserError(
        f"Expected a whole CSV file in UTF-8. Received: {path}, {why}. Fix that line, or save the "
        "file again as UTF-8."
    )


def pictures_by_stem(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Return id -> path of the images right in `folder`; none if it is absent.

    An id is the `name_key` of the name without its suffix.

    Of two that differ by their suffix, the first in the alphabet counts.
    """
    found: dict[str, str] = {}
    for name in visible_files(folder):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in IMAGE_SUFFIXES:
            found.setdefault(name_key(stem), os.path.join(folder, name))
    return found


def read_records(
    pictures: Sequence[Picture],
    objects: Iterable[Sequence[Object]],
    problems: Problems,
    *,
    units: Units = "pixels",
) -> list[Record]:
    """Read the sizes that are not known from the images' headers and build the records.

    Args:
        objects: of each image.
        problems: gets the images whose header cannot be read, which are skipped.
        units: what the boxes are written in.
    """
    sizes = iter(image_sizes([picture.path for picture in pictures if picture.size is None]))
    records = []
    for (image_id, path, name, known_size), found in zip(pictures, objects, strict=True):
        size = known_size or next(sizes)
        if size == HUGE:
            size = raster_size(path) or HUGE
        if isinstance(size, str):
            problems.note(size, name)
            continue
        record = make_record(
            image_id,
            ImageRef(path),
            size,
            file_name=name,
            objects=found,
            problems=problems,
            units=units,
        )
        records.append(record)
    return records
