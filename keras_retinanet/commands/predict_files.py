"""The files that `predict` reads, and where it draws each."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from keras_retinanet.data.regular_files import is_hidden
from keras_retinanet.errors import UserError
from keras_retinanet.files.images.image_formats import IMAGE_SUFFIXES
from keras_retinanet.files.targets import is_free

# Suffixes to search a folder for, besides images; a file named directly may have any.
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
# The rows of all images, and their kinds. The rows of a video never take these names.
ROWS = {"detections.json": "results", "detections.csv": "rows"}


def is_video(path: Path) -> bool:
    """Return whether a file goes by a video's name."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_pictures(words: Sequence[str]) -> list[Path]:
    """Return the files that the words of the command line name, each once.

    Args:
        words: each a file; a folder, whose images and videos are taken in the order of their
            names; or a pattern with `*`, `?` or `**`.

    Raises:
        UserError: a word means no file.
    """
    paths: list[Path] = []
    for word in words:
        path = Path(word)
        if path.is_file():
            files = [path]
        elif path.is_dir():
            files = sorted(
                p
                for p in path.iterdir()
                if p.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and not is_hidden(p.name)
            )
        else:
            files = sorted(p for p in map(Path, glob.glob(word, recursive=True)) if p.is_file())
        if not files:
            raise UserError(
                f"Expected an image, a video, a folder of them or a pattern. Received: {word}."
            )
        paths += files
    return list(dict.fromkeys(paths))


def drawing_paths(paths: Sequence[Path], out: Path) -> list[Path]:
    """Return where to draw each file: `<out>/<stem>.jpg` or .mp4, numbered where that is taken.

    Taken are the files themselves, and whatever lies there that `predict` did not write. A video's
    rows go by its drawn copy's name, so these must be free as well.
    """
    # Unlike Path.resolve, it takes a link to itself, of which the reading says that it is none.
    taken = {os.path.realpath(path) for path in (*paths, *(out / name for name in ROWS))}
    targets = []
    for path in paths:
        suffixes, count = ((".mp4", ".json", ".csv") if is_video(path) else (".jpg",)), 1
        files = [out / f"{path.stem}{suffix}" for suffix in suffixes]
        while taken & {os.path.realpath(file) for file in files} or not _are_free(files):
            count += 1
            files = [out / f"{path.stem}_{count}{suffix}" for suffix in suffixes]
        taken |= {os.path.realpath(file) for file in files}
        targets.append(files[0])
    return targets


def _are_free(files: Sequence[Path]) -> bool:
    drawn, *rows = files
    if not rows:
        return is_free(drawn, "picture")
    # A video has no place for a mark: it is one of ours if its rows are.
    is_ours = not drawn.exists() or (drawn.is_file() and all(row.exists() for row in rows))
    return is_ours and is_free(rows[0], "results") and is_free(rows[1], "video rows")
