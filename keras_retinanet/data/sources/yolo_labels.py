"""Where the label files of a YOLO dataset's images lie.

That of `images/train/x.jpg` is `labels/train/x.txt`, in any case, or `x.txt` beside the image.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_retinanet.config import DataConfig
from keras_retinanet.data.names import fold
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.regular_files import find_folder, visible_files, walk
from keras_retinanet.data.sources.folders import is_inside
from keras_retinanet.data.sources.label_files import match_names, note_renamed, refuse_unmatched
from keras_retinanet.data.sources.source_files import Picture
from keras_retinanet.files.images.image_formats import IMAGE_SUFFIXES

# Folders of images, for which one of `LABELS` stands in the path of the label files.
PICTURES = ("images", "JPEGImages", "imgs", "img")
LABELS = ("labels", "label")
LABEL_SUFFIX = ".txt"
# Label tools write these among the labels: they need no image.
NO_LABELS = ("classes.txt", "notes.txt", "train.txt", "val.txt", "test.txt")


def find_labels(
    pictures: Iterable[Picture],
    places: Sequence[str],
    folder: Path,
    config: DataConfig,
    problems: Problems,
) -> dict[str, str]:
    """Return path of an image -> path of its label file; images without one are left out.

    Label files without an image, and those that are not called as their image, are counted.

    Args:
        places: the folders, or lists, that the images are from.
        folder: the dataset's, which messages leave out of names.

    Raises:
        UserError: many images have no label file while many label files have no image.
    """
    pictures = list(pictures)
    found: dict[str, str] = {}
    orphans: list[str] = []
    read: set[str] = set()
    for place in dict.fromkeys(os.path.dirname(picture.path) for picture in pictures):
        labels = _label_folder(place, folder)
        found |= _of_one_folder(place, labels, folder, problems, orphans)
        read.add(os.path.abspath(labels or place))
    for place in filter(os.path.isdir, places):
        # Folders of labels for which there is none of images.
        for path in walk(_label_folder(place, folder) or os.devnull):
            is_read = os.path.dirname(os.path.abspath(path)) in read
            if not is_read and path.suffix.lower() == LABEL_SUFFIX and path.name not in NO_LABELS:
                orphans.append(os.path.relpath(path, folder))
    for name in orphans:
        problems.note("missing picture", f"of {name}")
    without = [picture.file_name for picture in pictures if picture.path not in found]
    refuse_unmatched(without, orphans, count=len(pictures), config=config, where=str(folder))
    return found


def _of_one_folder(
    place: str, labels: str | None, folder: Path, problems: Problems, orphans: list[str]
) -> dict[str, str]:
    """Return path of an image -> label file for the images right in `place`; add to `orphans`."""
    pictures: dict[str, list[str]] = {}
    for name in visible_files(place):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in IMAGE_SUFFIXES:
            pictures.setdefault(stem, []).append(os.path.normpath(os.path.join(place, name)))
    files = _label_files(labels or place)
    matched = match_names(pictures, files)
    note_renamed(matched, problems)
    found = {path: files[label] for stem, label in matched.items() for path in pictures[stem]}
    if labels is not None:
        beside = _label_files(place)
        for stem, label in match_names(pictures.keys() - matched.keys(), beside).items():
            found |= dict.fromkeys(pictures[stem], beside[label])
        # Beside images, other txt files may lie too.
        unused = [files[stem] for stem in files.keys() - set(matched.values())]
        orphans += sorted(
            os.path.relpath(path, folder)
            for path in unused
            if os.path.basename(path) not in NO_LABELS
        )
    return found


def _label_files(folder: str) -> dict[str, str]:
    """Return name without suffix -> path of the label files right in `folder`."""
    names = [name for name in visible_files(folder) if name.lower().endswith(LABEL_SUFFIX)]
    return {os.path.splitext(name)[0]: os.path.join(folder, name) for name in names}


def _label_folder(place: str, folder: Path) -> str | None:
    """Return the folder of labels for one of images: its last part `images` replaced.

    None where there is none: then labels lie beside the images.
    """
    base, path = os.path.abspath(folder), os.path.abspath(place)
    # Only below the dataset's folder is it a part of the layout.
    start = len(Path(base).parts) if is_inside(base, path) else 1
    parts = Path(path).parts
    known = {fold(name) for name in PICTURES}
    places = [i for i in range(start, len(parts)) if fold(parts[i]) in known]
    if not places:
        return None
    labels = find_folder(Path(*parts[: places[-1]]), *LABELS)
    for part in parts[places[-1] + 1 :]:
        labels = labels and find_folder(labels, part)
    return None if labels is None else str(labels)
