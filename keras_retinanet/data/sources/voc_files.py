"""Where a VOC dataset has its annotation files, its images and the lists of its splits.

Layouts: `Annotations/<id>.xml`, `JPEGImages/<id>.jpg`, `ImageSets/Main/<split>.txt`; in a devkit
below `VOC2007/`, `VOC2012/`, ... (http://host.robots.ox.ac.uk/pascal/VOC/). The first two may have
other usual names, such as `annots/` and `images/`. Or `<split>/<id>.xml` beside `<split>/<id>.jpg`,
as Roboflow and labelImg write them; or both files in one folder.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from keras_retinanet.config import DataConfig
from keras_retinanet.data.names import fold, split_word
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.regular_files import find_folder, matching, walk
from keras_retinanet.data.sources.folders import PictureFolder
from keras_retinanet.data.sources.label_files import match_names, note_renamed, refuse_unmatched
from keras_retinanet.data.sources.source_files import Picture, pictures_by_stem
from keras_retinanet.errors import UserError
from keras_retinanet.files import read_regular
from keras_retinanet.files.images.image_formats import IMAGE_SUFFIXES
from keras_retinanet.files.names import name_key

DEFAULT_DIR = "data/VOCdevkit"
LAYOUT = "Annotations/*.xml, JPEGImages/*.jpg and ImageSets/Main/{train,val,test}.txt"
# What the folders are called, the usual name first; in any case.
ANNOTATIONS = ("Annotations", "annots", "annotation", "xml", "xmls", "labels", "label")
PICTURES = ("JPEGImages", "images", "image", "imgs", "img", "pictures", "photos", "data")
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
    """An image with its annotation file."""

    annotation: Path
    picture: Picture


def find_roots(config: DataConfig) -> list[Root]:
    """Return the chosen years, the plain folder, or the folders of XML beside images.

    Args:
        config: `data_dir` and `name` (a year of a devkit) are used, or the folders `annotations`
            and `images`.

    Raises:
        UserError: there is none of them.
    """
    if config.annotations is not None:
        given = Path(config.annotations)
        annotations = given if given.is_dir() else given.parent
        images = Path(config.images) if config.images else _pictures_of(annotations)
        return _by_split(annotations, images, _lists(annotations.parent))
    folder = Path(config.data_dir or DEFAULT_DIR)
    if roots := _voc_roots(folder, Path(config.images) if config.images else None):
        return roots
    years = [root for base in (folder, folder / "VOCdevkit") for root in matching(base, "VOC*")]
    years = [root for root in years if find_folder(root, ANNOTATIONS[0])]
    if config.name is not None:
        wanted = config.name.upper().removeprefix("VOC")
        chosen = [root for root in years if root.name.removeprefix("VOC") == wanted]
        if years and not chosen:
            raise UserError(
                f"Expected one of the years {', '.join(root.name for root in years)}. "
                f"Received: name={config.name}. Leave --name out to use them all."
            )
        years = chosen
    roots = [root for year in years for root in _voc_roots(year)] or _beside_pictures(folder)
    if not roots:
        raise UserError(
            f"Expected a VOC folder: {LAYOUT}, or a VOCdevkit with such folders VOC2007, ..., or "
            f"<split>/*.xml beside the images. Received: data_dir={folder}, without them. "
            "Point --data_dir at one."
        )
    return roots


def _voc_roots(folder: Path, images: Path | None = None) -> list[Root]:
    """Return the root of a folder with a folder of annotations, one a split where it has such."""
    for name in ANNOTATIONS:
        annotations = find_folder(folder, name)
        if annotations and (name == ANNOTATIONS[0] or _has_xml(annotations)):
            return _by_split(annotations, images or _pictures_of(annotations), _lists(folder))
    return []


def _has_xml(folder: Path) -> bool:
    return any(path.suffix.lower() == ".xml" for path in walk(folder))


def _pictures_of(annotations: Path) -> Path:
    """Return the folder of images of one of annotations: beside it, it, or the one above it."""
    beside = find_folder(annotations.parent, *PICTURES)
    if beside is not None and beside != annotations:
        return beside
    return annotations if pictures_by_stem(annotations) else annotations.parent


def _lists(folder: Path) -> Path:
    return (find_folder(folder, "ImageSets") or folder / "ImageSets") / "Main"


def _by_split(annotations: Path, pictures: Path, lists: Path) -> list[Root]:
    """Return one root, or one for each folder called as a split where there are no others."""
    parts = [path for path in matching(annotations, "*") if path.is_dir()]
    if lists.is_dir() or not parts or not all(split_word(path.name) for path in parts):
        return [Root(annotations, pictures, lists)]
    return [
        Root(part, find_folder(pictures, part.name) or pictures, None, part.name) for part in parts
    ]


def _beside_pictures(folder: Path) -> list[Root]:
    if matching(folder, "*.xml"):
        return [Root(folder, folder)]
    for pattern in ("*/*.xml", "*/*/*.xml"):
        parts = sorted({path.parent for path in matching(folder, pattern)})
        if parts:
            return [_part_root(part) for part in parts]
    return []


def _part_root(part: Path) -> Root:
    """Return the root of a split's folder, or of the annotations in it."""
    if fold(part.name) in map(fold, ANNOTATIONS):
        return Root(part, _pictures_of(part), split=part.parent.name)
    return Root(part, part, split=part.name)


def is_devkit_year(root: Root) -> bool:
    """Return whether the folder is called as a year of VOC's devkit: its boxes start at 1."""
    name = root.annotations.resolve().parent.name
    return root.lists is not None and re.fullmatch(r"VOC\d{4}", name) is not None


def split_lists(root: Root) -> dict[str, list[Path]]:
    """Return split -> the files of `ImageSets/Main` that list its images.

    Files such as aeroplane_train.txt say in which images of a split a class is; they list the
    split where no other file does, as in VoTT's exports.
    """
    files = matching(root.lists, "*.txt") if root.lists is not None else []
    plain = {path.stem: [path] for path in files if "_" not in path.stem}
    if plain:
        return plain
    tagged: dict[str, list[Path]] = {}
    for path in files:
        last = path.stem.rpartition("_")[2]
        tagged.setdefault(last if split_word(last) else path.stem, []).append(path)
    return tagged


def find_entries(
    root: Root, split: str | None, problems: Problems, config: DataConfig
) -> list[Entry]:
    """Return the images of `split` that have both files, each once; others are counted.

    Raises:
        UserError: the list of the split is not UTF-8; many files of both kinds have no match.
    """
    annotations = _by_id(root.annotations, {".xml"})
    pictures = _by_id(root.pictures, IMAGE_SUFFIXES)
    label_of = match_names(pictures, annotations)
    picture_of = {label: picture for picture, label in label_of.items()}
    lists = split_lists(root) if split is not None else {}
    if lists:
        ids = _listed_ids(lists.get(str(split), []), annotations.keys() | pictures.keys())
    else:
        ids = [(name, "") for name in (*annotations, *(p for p in pictures if p not in label_of))]
    # An id is only ever looked up among the files that are there: none leads out of the folder.
    finder = _IdFinder(root.pictures, pictures, problems)
    entries: dict[str, Entry] = {}
    without, lonely = [], []
    for image_id, where in ids:
        found = finder.find_id(picture_of.get(image_id, image_id), where)
        if found is None:
            lonely.append(image_id)
        elif found not in label_of:
            problems.note("missing annotation", f"{found} ({where})" if where else found)
            without.append(found)
        elif found in entries:
            problems.note("picture id twice", f"{found} ({where})")
        else:
            path, *others = pictures[found]
            for other in others:
                problems.note("picture id twice", other.name)
            picture = Picture(found, str(path), path.relative_to(root.pictures).as_posix())
            entries[found] = Entry(annotations[label_of[found]][0], picture)
    note_renamed({found: label_of[found] for found in entries}, problems)
    count, place = len(pictures), str(root.annotations)
    refuse_unmatched(without, lonely, count=count, config=config, where=place)
    return list(entries.values())


def _by_id(folder: Path, suffixes: Collection[str]) -> dict[str, list[Path]]:
    """Return id -> files: an id is the `name_key` of the path below `folder`, without suffix."""
    found: dict[str, list[Path]] = {}
    for path in sorted(walk(folder)):
        if path.suffix.lower() in suffixes:
            image_id = name_key(path.relative_to(folder).with_suffix("").as_posix())
            found.setdefault(image_id, []).append(path)
    return found


class _IdFinder(PictureFolder):
    """Finds the id among the images that a list means, and counts how it differs."""

    def __init__(self, folder: Path, pictures: dict[str, list[Path]], problems: Problems):
        super().__init__(folder, problems)
        self._pictures = pictures
        self._by_lower = {image_id.lower(): image_id for image_id in pictures}

    def find_id(self, image_id: str, where: str) -> str | None:
        """Return the id of an image that is there, or None, which is then counted."""
        shown = f"{image_id} ({where})" if where else image_id
        slashed = image_id.replace("\\", "/")
        if image_id in self._pictures:
            return image_id
        if slashed in self._pictures:
            self._problems.note("picture name with backslashes", shown)
            return slashed
        if slashed.lower() in self._by_lower:
            self._problems.note("picture name in another case", shown)
            return self._by_lower[slashed.lower()]
        if not where:  # a label file, of which match_names has tried every name
            self._problems.note("missing picture", shown)
            return None
        has_suffix = Path(slashed).suffix.lower() in IMAGE_SUFFIXES
        path = self.find(image_id if has_suffix else f"{image_id}.jpg", where=where)
        return path and Path(path).relative_to(self.folder).with_suffix("").as_posix()


def _listed_ids(paths: list[Path], known: set[str]) -> list[tuple[str, str]]:
    """Return (id, file and line) of each line of a split's lists; of several lists each id once.

    A year of a devkit need not have a list of every split.
    """
    rows = [row for path in paths for row in _list_rows(path, known)]
    first = dict(reversed(rows))
    return rows if len(paths) == 1 else [(name, first[name]) for name in dict(rows)]


def _list_rows(path: Path, known: set[str]) -> Iterator[tuple[str, str]]:
    try:
        text = read_regular(path, max_bytes=MAX_LIST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"Expected a list of image names in UTF-8. Received: {path}, line {at} ({error}). "
            "Save it as UTF-8."
        ) from error
    for number, line in enumerate(LINE_END.split(text), 1):
        image_id = name_key(line.strip())
        words = image_id.split()
        if len(words) > 1 and words[-1] in PRESENCE and image_id not in known:
            image_id = image_id.removesuffix(words[-1]).rstrip()
        without_suffix = image_id.rpartition(".")[0]
        if image_id not in known and without_suffix in known:
            image_id = without_suffix
        if image_id:
            yield image_id, f"{path.name}, line {number}"
