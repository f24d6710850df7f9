"""Detections as they come: columns in memory, and lines in a file with which a killed run resumes.

Shape letters: N detections of an image, D of all.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from keras_retinanet.data.records import Dataset
from keras_retinanet.evaluation.tables import Found, joined
from keras_retinanet.files import hash_file
from keras_retinanet.version import __version__

# Of the lines; files of another one are not resumed, nor those of another version.
FORMAT = 1


class Columns:
    """Detections of images that come in any order; an image that comes again counts once.

    24 bytes per detection: a dataset of 100,000 images fits in memory.
    """

    def __init__(self) -> None:
        self._parts: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray] | None] = {}

    def add(
        self, picture: int, boxes: np.ndarray, *, scores: np.ndarray, classes: np.ndarray
    ) -> None:
        """Keep the detections of an image.

        Args:
            picture: its index.
            boxes: (N, 4) xyxy pixels of the original image; kept as float32.
            scores: (N,) 0..1; kept as float32.
            classes: (N,) the dataset's classes, contiguous from 0.
        """
        self._parts[picture] = (
            np.asarray(boxes, np.float32).reshape(-1, 4),
            np.asarray(scores, np.float32),
            np.asarray(classes, np.int32),
        )

    def add_unreadable(self, picture: int) -> None:
        """Keep that an image could not be decoded; it has no detections."""
        self._parts[picture] = None

    def __contains__(self, picture: int) -> bool:
        return picture in self._parts

    def __len__(self) -> int:
        return len(self._parts)

    def line(self, picture: int) -> str:
        """Write an image as a line of JSON, in which every float32 keeps its bits."""
        part = self._parts[picture]
        row: dict[str, Any] = {"picture": picture}
        if part is not None:
            boxes, scores, classes = (column.tolist() for column in part)
            row |= {"boxes": boxes, "scores": scores, "classes": classes}
        return json.dumps(row, separators=(",", ":"))

    def add_line(self, line: str) -> None:
        """Keep what `line` wrote. A line that a kill cut off is nothing."""
        try:
            row = json.loads(line)
            picture = row["picture"]
            if not isinstance(picture, int) or picture < 0:
                return
            if "boxes" not in row:
                self.add_unreadable(picture)
            elif len(row["boxes"]) == len(row["scores"]) == len(row["classes"]):
                self.add(picture, row["boxes"], scores=row["scores"], classes=row["classes"])
        except (ValueError, KeyError, TypeError):
            return

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all of it as numbers.

        Returns:
            Images (B, 2) int32: index and number of detections, -1 for one that could not be
            decoded; detections (D, 6) float32 in their order: box, score, class.
        """
        images = [(key, -1 if part is None else len(part[1])) for key, part in self._parts.items()]
        rows = [
            np.column_stack([boxes, scores, classes.astype(np.float32)])
            for boxes, scores, classes in filter(None, self._parts.values())
        ]
        found = np.concatenate([np.zeros((0, 6)), *rows])
        return np.array(images, np.int32).reshape(-1, 2), found.astype(np.float32)

    @classmethod
    def from_arrays(cls, images: np.ndarray, found: np.ndarray) -> "Columns":
        """Return what `arrays` wrote, of one process or of several, one after the other."""
        columns, start = cls(), 0
        for picture, count in images.tolist():
            if count < 0:
                columns.add_unreadable(picture)
                continue
            part = found[start : start + count]
            columns.add(picture, part[:, :4], scores=part[:, 4], classes=part[:, 5])
            start += count
        return columns

    def keep_readable(self, count: int) -> None:
        """Drop the images that could not be decoded, and any that is not among `count`."""
        self._parts = {
            picture: part
            for picture, part in self._parts.items()
            if part is not None and picture < count
        }

    @property
    def unreadable(self) -> list[int]:
        """The images that could not be decoded, in their order."""
        return sorted(picture for picture, part in self._parts.items() if part is None)

    def found(self) -> Found:
        """Return all detections in the order of the images, whatever the order they came in."""
        kept = {key: part for key, part in sorted(self._parts.items()) if part is not None}
        boxes, scores, classes = zip(*kept.values(), strict=True) if kept else ((), (), ())
        return Found(
            image=np.repeat(np.array([*kept], np.int32), [len(each) for each in scores]),
            classes=joined(classes, np.int32),
            boxes=joined(boxes, np.float64).reshape(-1, 4),
            scores=joined(scores, np.float64),
        )


class Journal:
    """The file beside the results in which a run keeps each batch, until it is finished.

    One process at a time may have it: see `owners.file_lock`.

    Args:
        path: of the file.
        key: names model, data and options (see `run_key`). A file of another key is replaced.
    """

    def __init__(self, path: Path, key: str):
        self.path, self.key = path, key

    def read(self, columns: Columns | None = None) -> tuple[Columns, bool]:
        """Return the detections so far, and whether the file is of another run.

        Args:
            columns: to add them to; None: new ones.
        """
        columns = Columns() if columns is None else columns
        if not self.path.exists():
            return columns, False
        with open(self.path, encoding="utf-8", errors="replace") as lines:
            is_ours = next(lines, "").rstrip("\n") == self._header()
            for line in lines if is_ours else ():
                columns.add_line(line)
        return columns, not is_ours

    @contextmanager
    def writer(self) -> Iterator[Callable[[Iterable[str]], None]]:
        """Yield a function that appends lines; a file of another run is started again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a+", encoding="utf-8", errors="replace") as stream:
            stream.seek(0)
            if stream.readline().rstrip("\n") != self._header():
                stream.truncate(0)
            # A line that a kill cut off ends here; the next one is whole again.
            stream.write("\n" if stream.seek(0, os.SEEK_END) else self._header() + "\n")
            stream.flush()

            def write(lines: Iterable[str]) -> None:
                stream.write("".join(line + "\n" for line in lines))
                stream.flush()

            yield write

    def remove(self) -> None:
        """Remove it: the results are written."""
        self.path.unlink(missing_ok=True)

    def finish(self, path: Path) -> None:
        """Make it the file `path`, on the disk before it has that name."""
        with open(self.path, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(self.path, path)

    def _header(self) -> str:
        return json.dumps({"format": FORMAT, "key": self.key})


def run_key(
    model: Path, dataset: Dataset, options: dict[str, Any], *, any_machine: bool = False
) -> str:
    """Return a name of all that the detections of a run depend on: a SHA-256 in hexadecimal.

    Args:
        model: the model file or folder, which is read.
        dataset: its images are told apart by name, size in bytes and time of change, the rest by
            content.
        options: what else changes detections, such as tiles.
        any_machine: leave out place and time of the images, which differ in copies of the data.
    """
    digest = model_digest(model, options)
    digest.update(repr([dataset.name, dataset.split, dataset.class_names]).encode())
    states: dict[str, tuple[Any, ...]] = {}
    for record in dataset.records:
        image = record.image
        if image.path not in states:
            size, changed = file_state(Path(image.path))
            states[image.path] = (size,) if any_machine else (image.path, size, changed)
        where = (record.image_id, record.file_name, image.offset, image.length)
        shape = (record.height, record.width, record.orientation)
        digest.update(repr([*where, *shape, *states[image.path]]).encode())
        for column in (record.boxes, record.classes, record.ignore):
            digest.update(column.tobytes())
    return digest.hexdigest()


def model_digest(model: Path, options: dict[str, Any]) -> Any:
    """Return the SHA-256 of this package's version, of options and of a model file or folder."""
    digest = hashlib.sha256()
    digest.update(json.dumps([__version__, options], sort_keys=True, default=str).encode())
    files = sorted(model.rglob("*")) if model.is_dir() else [model]
    for file in files:
        if file.is_file():
            digest.update(str(file.relative_to(model)).encode())
            hash_file(file, digest)
    return digest


def file_state(path: Path) -> tuple[int, int]:
    """Return a file's size in bytes and its time of change; -1 where there is no file."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # drawn images lie in no file
        return -1, -1
    return status.st_size, status.st_mtime_ns
