"""The files and streams that `predict` reads, and where it draws each."""

import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from keras_retinanet.data.regular_files import is_hidden
from keras_retinanet.errors import UserError
from keras_retinanet.files.addresses import is_address, video_name
from keras_retinanet.files.images.image_formats import IMAGE_SUFFIXES, SUFFIXES, image_format
from keras_retinanet.files.targets import HEAD, is_free

# Suffixes to search a folder for, besides images; a file named directly may have any.
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
# The rows of all images, and their kinds. The rows of a video never take these names.
ROWS = {"detections.json": "results", "detections.csv": "rows"}


# Standard input as a word, and what its drawn copy is called.
STDIN, STDIN_NAME = "-", "stdin"


class Sources(NamedTuple):
    """What the words of the command line name."""

    pictures: list[Path]
    videos: list[Any]  # files, then cameras, addresses and standard input
    targets: dict[Any, Path]  # where each is drawn

    @property
    def kinds(self) -> str:
        """The kinds of what is there, for messages."""
        kinds = [("images", self.pictures), ("videos", self.videos)]
        return " and ".join(name for name, there in kinds if there)


def find_sources(words: Sequence[str], out: Path, stack: ExitStack) -> Sources:
    """Return the sources that the words name, each once.

    Args:
        words: as of `find_pictures`; besides the number of a camera, the address of a stream, and
            "-" for standard input, which is an image or a video.
        out: the folder to draw into.
        stack: removes a copy of an image from standard input at its end.

    Raises:
        UserError: a word means no file, or standard input is empty.
    """
    live: dict[Any, str] = {}
    files = []
    for word in dict.fromkeys(words):
        if word == STDIN:
            if (picture := _piped_picture(stack)) is not None:
                files.append(str(picture))
            else:
                live[sys.stdin.buffer] = STDIN_NAME
        elif is_address(word):
            live[word] = video_name(word)
        elif word.isdecimal() and not Path(word).exists():
            live[int(word)] = video_name(int(word))
        else:
            files.append(word)
    paths = find_pictures(files)
    named = [*paths, *(Path(f"{name}.mp4") for name in live.values())]
    targets = dict(zip([*paths, *live], drawing_paths(named, out), strict=True))
    pictures = [path for path in paths if not is_video(path)]
    return Sources(pictures, [*filter(is_video, paths), *live], targets)


def _piped_picture(stack: ExitStack) -> Path | None:
    """Return a copy of the image on standard input; None: it is a video."""
    stream: Any = sys.stdin.buffer
    head = stream.peek(HEAD)
    if not head:
        raise UserError("Expected an image or a video on standard input. Received: nothing.")
    if (kind := image_format(head)) is None:
        return None
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keras_retinanet_")))
    path = folder / f"{STDIN_NAME}{SUFFIXES[kind][0]}"
    with open(path, "wb") as file:
        shutil.copyfileobj(stream, file)
    return path


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
