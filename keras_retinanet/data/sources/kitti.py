"""KITTI's 2D object detection set, and what other tools write in its form.

Layout: `training/image_2/000000.png`, `training/label_2/000000.txt`; or these two folders right in
`data_dir`, also under the names that NVIDIA's TAO (images, labels) and FiftyOne (data, labels) give
them. Splits only where `ImageSets/train.txt`, `val.txt` list ids
(https://www.cvlibs.net/datasets/kitti/eval_object.php).
"""

from pathlib import Path

from keras_retinanet.config import DataConfig
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset
from keras_retinanet.data.regular_files import is_regular, matching
from keras_retinanet.data.sources.label_files import match_names, note_renamed, refuse_unmatched
from keras_retinanet.data.sources.source_files import (
    Object,
    Picture,
    excerpt,
    first_line,
    label_lines,
    number,
    pictures_by_stem,
    read_records,
    text_lines,
)
from keras_retinanet.data.splits import match_split
from keras_retinanet.errors import UserError
from keras_retinanet.files.names import name_key

DEFAULT_DIR = "data/kitti"
# The folders of images and of labels: the devkit's, TAO's, FiftyOne's.
FOLDERS = (("image_2", "label_2"), ("images", "labels"), ("data", "labels"))
LAYOUT = "training/image_2/*.png, training/label_2/*.txt (and ImageSets/train.txt, val.txt)"
# Ids of "test" are images of testing/, which has no labels.
SPLITS = ("train", "val", "trainval")
# The devkit's order.
KITTI_CLASSES = (
    "Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc",
)  # fmt: skip
# Regions with objects that nobody annotated.
DONT_CARE = "DontCare"
# type truncated occluded alpha left top right bottom height width length x y z rotation (score)
COLUMNS = (15, 16)
BOX = slice(4, 8)
# A type and a box xyxy.
_Label = tuple[str, list[float]]


def splits(config: DataConfig) -> list[str]:
    """Return the splits that `ImageSets` lists; none where it lists none.

    Raises:
        UserError: the folder is not laid out as KITTI's.
    """
    return list(_lists(_folders(config)[0]))


def load(config: DataConfig, split: str | None) -> Dataset:
    """Read one split: the txt of each image, and the image's size from its header.

    Boxes are taken as written: pixels, from 0. `DontCare` regions hold objects of any class, so
    each becomes one box to ignore for every class, after the objects. `Misc` is a class as others.
    Occluded and truncated objects are kept.

    Args:
        config: `data_dir` is used.
        split: a split's name; None: every image.

    Returns:
        Classes in use in the folder, KITTI's own in the devkit's order and first; ids from 1.

    Raises:
        UserError: the folder is not laid out as KITTI's, or there is no such split.
    """
    root, picture_folder, label_folder = _folders(config)
    lists = _lists(root)
    if split is not None and lists:
        split = match_split(split, list(lists), str(root))
    problems = Problems(strict=config.strict)
    pictures = pictures_by_stem(picture_folder)
    labels = {
        name_key(path.stem): path for path in matching(label_folder, "*.txt") if is_regular(path)
    }
    label_of = match_names(pictures, labels)
    note_renamed(label_of, problems)
    lonely = labels.keys() - set(label_of.values())
    ids = _read_list(lists[split]) if split in lists else sorted(pictures.keys() | lonely)
    kept, found, without = [], [], []
    # An id is only ever looked up among the files that are there: none leads out of the folder.
    for image_id in ids:
        if image_id not in pictures:
            problems.note("missing picture", image_id)
        elif image_id not in label_of:
            problems.note("missing annotation", image_id)
            without.append(image_id)
        elif (rows := _read_label(labels[label_of[image_id]], problems)) is not None:
            path = pictures[image_id]
            kept.append(Picture(image_id, path, Path(path).name))
            found.append(rows)
    missing = sorted(lonely & set(ids))
    count = sum(image_id in pictures for image_id in ids)
    refuse_unmatched(without, missing, count=count, config=config, where=str(root))
    others = [labels[name] for name in labels.keys() - {label_of.get(name) for name in ids}]
    class_names = _class_names(found, others)
    objects = [_objects(rows, class_names) for rows in found]
    units = config.units or "pixels"
    records = read_records(kept, objects, problems, units=units)
    class_ids = list(range(1, len(class_names) + 1))
    return Dataset("kitti", split or "all", class_names, class_ids, records, problems, units=units)


def is_label_file(path: Path) -> bool:
    """Return whether the first line of a text is an object of KITTI's form."""
    name, *numbers = first_line(path).split() or [""]
    if 1 + len(numbers) not in COLUMNS:
        return False
    return not _are_numbers([name]) and _are_numbers(numbers)


def _are_numbers(words: list[str]) -> bool:
    try:
        return bool([number(word) for word in words])
    except ValueError:
        return False


def _folders(config: DataConfig) -> tuple[Path, Path, Path]:
    """Return the folder that holds the two of images and of labels, and these."""
    folder = Path(config.data_dir or DEFAULT_DIR)
    for root in (folder / "training", folder):
        for pictures, labels in FOLDERS:
            if (root / pictures).is_dir() and (root / labels).is_dir():
                return root, root / pictures, root / labels
    raise UserError(
        f"Expected a KITTI folder: {LAYOUT}. Received: data_dir={folder}, without them. Unpack "
        "the left color images and the labels there, or point --data_dir at them."
    )


def _lists(root: Path) -> dict[str, Path]:
    """Return split -> file of ids; beside training/ or in it."""
    for folder in (root / "ImageSets", root.parent / "ImageSets"):
        found = {name: folder / f"{name}.txt" for name in SPLITS}
        found = {name: path for name, path in found.items() if is_regular(path)}
        if found:
            return found
    return {}


def _read_list(path: Path) -> list[str]:
    ids = [name_key(text.strip()) for _, text in text_lines(path, "an id a line")]
    return list(dict.fromkeys(ids))


def _read_label(path: Path, problems: Problems) -> list[_Label] | None:
    """Return the rows of one image's file that can be read; None if it cannot."""
    lines = label_lines(str(path), problems)
    if lines is None:
        return None
    labels = []
    for line, words in lines:
        try:
            if len(words) not in COLUMNS:
                raise ValueError(f"{len(words)} columns")
            labels.append((words[0], [number(word) for word in words[BOX]]))
        except ValueError:
            problems.note(
                "malformed annotation", f"{path.name}, line {line}: {excerpt(' '.join(words))}"
            )
    return labels


def _class_names(found: list[list[_Label]], others: list[Path]) -> list[str]:
    # Every split must number the classes alike, so the names of all files count.
    names = {name for labels in found for name, _ in labels}
    for path in others:
        names |= {name for name, _ in _read_label(path, Problems()) or []}
    official = [name for name in KITTI_CLASSES if name in names]
    return official + sorted(names - {DONT_CARE, *official})


def _objects(labels: list[_Label], class_names: list[str]) -> list[Object]:
    objects: list[Object] = [
        (box, class_names.index(name), False, None) for name, box in labels if name != DONT_CARE
    ]
    regions = [box for name, box in labels if name == DONT_CARE]
    every = range(len(class_names))
    return objects + [(box, index, True, None) for box in regions for index in every]
