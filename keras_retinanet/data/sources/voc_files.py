"""Where a VOC dataset has its annotation files, its images and the lists of its splits.

Layouts: `Annotations/<id>.xml`, `JPEGImages/<id>.jpg`, `ImageSets/Main/<split>.txt`; in a devkit
below `VOC2007/`, `VOC2012/`, ... (http://host.robots.ox.ac.uk/pascal/VOC/). Or `<split>/<id>.xml`
beside `<split>/<id>.jpg`, as Roboflow and labelImg write them; or both files in one folder.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from keras_retinanet.config.schema import DataConfig
from keras_retinanet.data.images.image_formats import IMAGE_SUFFIXES
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.regular_files import matching, walk
from keras_retinanet.data.sources.folders import PictureFolder
from keras_retinanet.errors import UserError
from keras_retinanet.files import read_regular
from keras_retinanet.files.names import name_key

DEFAULT_DIR = "data/VOCdevkit"
LAYOUT = "Annotations/*.xml, JPEGImages/*.jpg and ImageSets/Main/{train,val,test}.txt"
# What the second word of a line in a list says: whether the list's class is in the image.
# A million names have 20 MB.
MAX_LIST_BYTES = 64 << 20
LINE_END = re.compile("\r\n|\r|\n")
PRESENCE = ("-1", "0", "1")


class Root(NamedTuple):
    """A folder of annotations with its folder of images.

    `lists` holds the splits' files, where there are any; `split` is the one split that it is.
    """

    annotations: Path
    pictures: Path
    lists: Path | None = None
    split: str | None = None


class Entry(NamedTuple):
    """An image with its annotation file; `name` is what messages call it, below its folder."""

    image_id: str
    annotation: Path
    picture: Path
    name: str


def find_roots(config: DataConfig) -> list[Root]:
    """Return the chosen years, the plain folder, or the folders of XML beside images.

    Args:
        config: `data_dir` and `name` (a year of a devkit) are used.

    Raises:
        UserError: there is none of them.
    """
    folder = Path(config.data_dir or DEFAULT_DIR)
    if (folder / "Annotations").is_dir():
        return [_voc_root(folder)]
    years = [root for base in (folder, folder / "VOCdevkit") for root in matching(base, "VOC*")]
    years = [root for root in years if (root / "Annotations").is_dir()]
    if config.name is not None:
        wanted = config.name.upper().removeprefix("VOC")
        chosen = [root for root in years if root.name.removeprefix("VOC") == wanted]
        if years and not chosen:
            raise UserError(
                f"Expected one of the years {', '.join(root.name for root in years)}. "
                f"Received: name={config.name}. Leave --name out to use them all."
            )
        years = chosen
    roots = [_voc_root(root) for root in years] or _beside_pictures(folder)
    if not roots:
        raise UserError(
            f"Expected a VOC folder: {LAYOUT}, or a VOCdevkit with such folders VOC2007, ..., or "
            f"<split>/*.xml beside the images. Received: data_dir={folder}, without them. "
            "Point --data_dir at one."
        )
    return roots


def _voc_root(folder: Path) -> Root:
    return Root(folder / "Annotations", folder / "JPEGImages", folder / "ImageSets" / "Main")


def _beside_pictures(folder: Path) -> list[Root]:
    if matching(folder, "*.xml"):
        return [Root(folder, folder)]
    parts = sorted({path.parent for path in matching(folder, "*/*.xml")})
    return [Root(part, part, split=part.name) for part in parts]


def is_devkit_year(root: Root) -> bool:
    """Return whether the folder is called as a year of VOC's devkit: its boxes start at 1."""
    name = root.annotations.resolve().parent.name
    return root.lists is not None and re.fullmatch(r"VOC\d{4}", name) is not None


def split_lists(root: Root) -> list[Path]:
    """Return the files of `ImageSets/Main` that list the images of a split."""
    # Files such as aeroplane_train.txt say in which images of a split a class is.
    found = matching(root.lists, "*.txt") if root.lists is not None else []
    return [path for path in found if "_" not in path.stem]


def find_entries(root: Root, split: str | None, problems: Problems) -> list[Entry]:
    """Return the images of `split` that have both files, each once; others are counted.

    Raises:
        UserError: the list of the split is not UTF-8.
    """
    annotations = _by_id(root.annotations, {".xml"})
    pictures = _by_id(root.pictures, IMAGE_SUFFIXES)
    listed = split is not None and root.lists is not None and bool(split_lists(root))
    if listed:
        known = annotations.keys() | pictures.keys()
        ids = _listed_ids(root.lists / f"{split}.txt", known)  # type: ignore[operator]
    else:
        ids = [(image_id, "") for image_id in (*annotations, *pictures.keys() - annotations.keys())]
    # An id is only ever looked up among the files that are there: none leads out of the folder.
    finder = _Finder(pictures, PictureFolder(root.pictures, problems), problems)
    annotation_ids = {image_id.lower(): image_id for image_id in annotations}
    entries: dict[str, Entry] = {}
    for image_id, where in ids:
        found = finder.find(image_id, where)
        if found is None:
            continue
        shown = f"{found} ({where})" if where else found
        annotation_id = found if found in annotations else annotation_ids.get(found.lower())
        if found in entries:
            if listed:
                problems.note("picture id twice", shown)
        elif annotation_id is None:
            problems.note("missing annotation", shown)
        else:
            picture, *others = pictures[found]
            for other in others:
                problems.note("picture id twice", other.name)
            name = picture.relative_to(root.pictures).as_posix()
            entries[found] = Entry(found, annotations[annotation_id][0], picture, name)
    return list(entries.values())


def _by_id(folder: Path, suffixes: Collection[str]) -> dict[str, list[Path]]:
    """Return id -> files: an id is the `name_key` of the path below `folder`, without suffix."""
    found: dict[str, list[Path]] = {}
    for path in sorted(walk(folder)):
        if path.suffix.lower() in suffixes:
            image_id = name_key(path.relative_to(folder).with_suffix("").as_posix())
            found.setdefault(image_id, []).append(path)
    return found


class _Finder:
    """Finds the id among the images that a list means, and counts how it differs."""

    def __init__(self, pictures: dict[str, list[Path]], folder: PictureFolder, problems: Problems):
        self._pictures = pictures
        self._by_lower = {image_id.lower(): image_id for image_id in pictures}
        self._folder = folder
        self._problems = problems

    def find(self, image_id: str, where: str) -> str | None:
        """Return the id of an image that is there, or None, which is then counted."""
        shown = f"{image_id} ({where})" if where else image_id
        if image_id in self._pictures:
            return image_id
        if (slashed := image_id.replace("\\", "/")) in self._pictures:
            self._problems.note("picture name with backslashes", shown)
            return slashed
        if slashed.lower() in self._by_lower:
            self._problems.note("picture name in another case", shown)
            return self._by_lower[slashed.lower()]
        self._folder.find(f"{image_id}.jpg", where=where)  # counts it: missing, or outside
        return None


def _listed_ids(path: Path, known: set[str]) -> list[tuple[str, str]]:
    """Return (id, file and line) of each line of a split's list; none where there is no list."""
    if not path.is_file():  # a year of a devkit need not have every split
        return []
    try:
        text = read_regular(path, max_bytes=MAX_LIST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"Expected a list of image names in UTF-8. Received: {path}, line {at} ({error}). "
            "Save it as UTF-8."
        ) from error
    ids = []
    for number, line in enumerate(LINE_END.split(text), 1):
        image_id = name_key(line.strip())
        words = image_id.split()
        if len(words) > 1 and words[-1] in PRESENCE and image_id not in known:
            image_id = image_id.removesuffix(words[-1]).rstrip()
        without_suffix = image_id.rpartition(".")[0]
        if image_id not in known and without_suffix in known:
            image_id = without_suffix
        if image_id:
            ids.append((image_id, f"{path.name}, line {number}"))
    return ids
