"""Pascal VOC: a VOCdevkit with its years, or one plain folder of the same kind.

Layout: `Annotations/<id>.xml`, `JPEGImages/<id>.jpg`, `ImageSets/Main/<split>.txt`; in a devkit
below `VOC2007/`, `VOC2012/`, ... (http://host.robots.ox.ac.uk/pascal/VOC/).
"""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from keras_retinanet.config import DataConfig
from keras_retinanet.data.images import image_sizes
from keras_retinanet.data.records import Dataset, ImageRef, Problems, make_record, note_problem
from keras_retinanet.data.splits import match_split
from keras_retinanet.errors import UserError

DEFAULT_DIR = "data/VOCdevkit"
LAYOUT = "Annotations/*.xml, JPEGImages/*.jpg and ImageSets/Main/{train,val,test}.txt"
SUFFIXES = (".jpg", ".jpeg", ".png")
# fmt: off
VOC_CLASSES = [
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
]
# fmt: on


def splits(config: DataConfig) -> list[str]:
    """Returns the splits that `ImageSets/Main` lists in any year; none where it lists none.

    Raises:
        UserError: the folder is not laid out as VOC.
    """
    return sorted({path.stem for root in _roots(config) for path in _lists(root)})


def load(config: DataConfig, split: str | None) -> Dataset:
    """Reads one split: its XML files, and the size of each picture from its header.

    A picture is found by its id; what an XML file says of file names and sizes is not used.
    Difficult objects become boxes to ignore. Classes are VOC's 20 for a devkit that has no
    others, else all names in the folder; both sorted.

    Args:
        config: `data_dir`, `name` (a year of a devkit) and `one_based` are used.
        split: a split's name; None: every annotated picture.

    Raises:
        UserError: the folder is not laid out as VOC, or there is no such split.
    """
    roots = _roots(config)
    available = splits(config)
    if split is not None and available:
        split = match_split(split, available, str(config.data_dir or DEFAULT_DIR))
    problems: Problems = {}
    entries = [entry for root in roots for entry in _entries(root, split, problems)]
    parsed = [_parse(annotation, problems) for annotation, _ in entries]
    sizes = image_sizes([str(picture) for _, picture in entries])
    class_names = _class_names(roots, parsed)
    shift = 1.0 if _is_one_based(config, roots) else 0.0
    records = []
    for (annotation, picture), objects, size in zip(entries, parsed, sizes, strict=True):
        if size is None:
            note_problem(problems, "unreadable picture", picture.name)
        elif objects is not None:
            rows = [
                ((x1 - shift, y1 - shift, x2, y2), class_names.index(name), difficult, None)
                for name, (x1, y1, x2, y2), difficult in objects
            ]
            record = make_record(
                annotation.stem,
                ImageRef(str(picture)),
                size,
                file_name=picture.name,
                objects=rows,
                problems=problems,
            )
            records.append(record)
    ids = list(range(1, len(class_names) + 1))
    return Dataset("voc", split or "all", class_names, ids, records, problems)


def _roots(config: DataConfig) -> list[Path]:
    """Returns the folders that hold Annotations: the chosen years, or the plain folder."""
    folder = Path(config.data_dir or DEFAULT_DIR)
    if (folder / "Annotations").is_dir():
        return [folder]
    years = [root for base in (folder, folder / "VOCdevkit") for root in sorted(base.glob("VOC*"))]
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
    if not years:
        raise UserError(
            f"Expected a VOC folder: {LAYOUT}, or a VOCdevkit with such folders VOC2007, ... "
            f"Received: data_dir={folder}, without them. Point --data_dir at one."
        )
    return years


def _is_one_based(config: DataConfig, roots: list[Path]) -> bool:
    if config.one_based is not None:
        return config.one_based
    return all(_is_devkit_year(root) for root in roots)


def _is_devkit_year(root: Path) -> bool:
    return re.fullmatch(r"VOC\d{4}", root.resolve().name) is not None


def _lists(root: Path) -> list[Path]:
    # Files such as aeroplane_train.txt say in which pictures of a split a class is.
    return [path for path in (root / "ImageSets" / "Main").glob("*.txt") if "_" not in path.stem]


def _entries(root: Path, split: str | None, problems: Problems) -> list[tuple[Path, Path]]:
    """Returns (annotation, picture) of each id of `split` that has both."""
    annotations = {path.stem: path for path in (root / "Annotations").glob("*.xml")}
    pictures = {
        path.stem: path
        for path in sorted((root / "JPEGImages").glob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file()
    }
    ids = sorted(annotations)
    listed = root / "ImageSets" / "Main" / f"{split}.txt"
    if split is not None and _lists(root):
        lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
        ids = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    entries = []
    # An id is only ever looked up among the files that are there: none leads out of the folder.
    for image_id in ids:
        if image_id not in pictures:
            note_problem(problems, "missing picture", image_id)
        elif image_id not in annotations:
            note_problem(problems, "missing annotation", image_id)
        else:
            entries.append((annotations[image_id], pictures[image_id]))
    return entries


class _NoDoctype(ET.TreeBuilder):
    """Refuses a DOCTYPE: VOC's files have none, and entity bombs and outside files need one."""

    def doctype(self, name, pubid, system):
        raise ValueError("a DOCTYPE, which VOC files do not have")


def _parse(path: Path, problems: Problems) -> list[tuple[str, list[float], bool]] | None:
    """Returns [(class name, [xmin, ymin, xmax, ymax], difficult), ...], or None if unreadable."""
    try:
        tree = ET.parse(path, parser=ET.XMLParser(target=_NoDoctype()))
    except (ET.ParseError, ValueError, OSError) as error:
        note_problem(problems, "unreadable annotation", f"{path.name} ({error})")
        return None
    objects = []
    # Children only: an <object> may have <part>s with names and boxes of their own.
    for node in tree.getroot().findall("object"):
        name = (node.findtext("name") or "").strip()
        sides = [node.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
        try:
            box = [float(side or "") for side in sides]
        except ValueError:
            box = []
        if not name or not box:
            note_problem(problems, "malformed annotation", f"{path.name} {name} {sides}")
            continue
        objects.append((name, box, (node.findtext("difficult") or "0").strip() == "1"))
    return objects


def _class_names(roots: list[Path], parsed: list) -> list[str]:
    names = {name for objects in parsed for name, *_ in objects or []}
    if all(_is_devkit_year(root) for root in roots) and names <= set(VOC_CLASSES):
        return VOC_CLASSES
    # Every split must number the classes alike, so the names of all files count.
    for root in roots:
        for path in (root / "Annotations").glob("*.xml"):
            names |= {name for name, *_ in _parse(path, {}) or []}
    return sorted(names)
