"""What every source gives: records of images with their boxes, and what was wrong with them.

Boxes are xyxy in pixels of the stored image. Class ids are contiguous and foreground only.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from keras_retinanet.data.problems import Problems
from keras_retinanet.data.units import Units, in_pixels
from keras_retinanet.errors import UserError
from keras_retinanet.files import open_regular
from keras_retinanet.files.images.headers import read_picture
from keras_retinanet.files.names import name_key
from keras_retinanet.terminal import encodable

# Boxes often pass the border by a rounded pixel; more is counted.
BORDER_TOLERANCE = 1.0
FLOAT32_MAX = 3.4e38


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A slice of a file: a whole image file, or one record of a TFRecord shard.

    Attributes:
        length: in bytes from `offset` on; -1: up to the end.
    """

    path: str
    offset: int = 0
    length: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One image and its ground truth, N boxes, as its annotations state them.

    Attributes:
        image_id: the source's own id.
        height, width: of the stored image, in pixels.
        boxes: (N, 4) float32 xyxy pixels, each with an area; not clipped to the image.
        classes: (N,) int32, contiguous from 0.
        ignore: (N,) bool: crowd or difficult. Neither an object to find nor background.
        areas: (N,) float32: the annotation's own area (COCO's is the mask's) in pixels.
        file_name: what messages call the image.
        orientation: the EXIF orientation 1..8 to apply after decoding (1: none). All the other
            fields are of the turned image.
        scores: (N,) float32 0..1 of boxes that a model detected; None: ground truth.
    """

    image_id: int | str
    image: ImageRef
    height: int
    width: int
    boxes: np.ndarray
    classes: np.ndarray
    ignore: np.ndarray
    areas: np.ndarray
    file_name: str
    orientation: int = 1
    scores: np.ndarray | None = None


def read_slice(image: ImageRef) -> bytes:
    """Return the bytes that `image` names. Raises OSError if they cannot be read."""
    if image.offset == 0 and image.length == -1:
        return read_picture(image.path)
    with open_regular(image.path) as stream:
        stream.seek(image.offset)
        return stream.read(image.length)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The records of one split, with its classes.

    Attributes:
        class_ids: the source's original id of each of `class_names`.
        problems: what was repaired or skipped; the reading of images adds to it.
        has_annotations: False for a split whose boxes are not public, such as COCO's test-dev.
        units: what the boxes were read as: the source's own unit, or the one that the user names.
        reader: from a record's `image` to the bytes of an image file.
    """

    name: str
    split: str
    class_names: list[str]
    class_ids: list[int]
    records: Sequence[Record]
    problems: Problems = field(default_factory=Problems)
    has_annotations: bool = True
    units: Units = "pixels"
    reader: Callable[[ImageRef], bytes] = read_slice

    def read_bytes(self, index: int) -> bytes:
        """Return the image file of record `index`. Raises OSError if it cannot be read."""
        return self.reader(self.records[index].image)


def sound_box(
    box: Sequence[float], size: tuple[int, int], problems: Problems, *, where: str
) -> tuple[float, float, float, float] | None:
    """Return `box` xyxy with its corners in order; None, counted, if it can teach nothing.

    Args:
        size: (height, width) of the image in pixels.
        where: the image or annotation, for the count.
    """
    height, width = size
    shown = f"{where} {[float(value) for value in box]}"
    # As float32, as which they are kept: a side may be too long, or too short, for it.
    with np.errstate(over="ignore", invalid="ignore"):
        x1, y1, x2, y2 = np.array(box, np.float32)
        is_finite = np.isfinite((x2 - x1) * (y2 - y1))
    if not is_finite:
        problems.note("box not finite", shown)
        return None
    if x2 < x1 or y2 < y1:
        problems.note("box with swapped corners", shown)
        x1, y1, x2, y2 = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    if not (x2 > x1 and y2 > y1):
        problems.note("box without area", shown)
        return None
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        problems.note("box outside the picture", shown)
        return None
    overhang = max(-x1, -y1, x2 - width, y2 - height)
    if overhang > BORDER_TOLERANCE:
        problems.note("box partly outside", shown)
    return float(x1), float(y1), float(x2), float(y2)


def make_record(
    image_id: int | str,
    image: ImageRef,
    size: tuple[int, int],
    *,
    file_name: str,
    objects: Iterable[tuple[Sequence[float], int, bool, float | None]],
    problems: Problems,
    units: Units = "pixels",
) -> Record:
    """Build a record of the objects that have an area in the image; repairs are counted.

    Swapped corners are put in order. A box partly outside is kept as its file has it, for scoring;
    training cuts it at the border.

    Args:
        size: (height, width) in pixels.
        objects: of each the box xyxy in `units`, the contiguous class, whether to ignore it, and
            the annotation's own area in pixels (None: the box's).
        problems: gets what is dropped or repaired.
    """
    kept = []
    for box, class_index, ignore, area in objects:
        sound = sound_box(in_pixels(box, size, units), size, problems, where=file_name)
        if sound is not None:
            if area is not None and not 0 <= area <= FLOAT32_MAX:  # also of NaN
                problems.note("area not sound", f"{file_name}: area {area}")
                area = None
            if area is None:
                area = (sound[2] - sound[0]) * (sound[3] - sound[1])
            kept.append((sound, class_index, ignore, area))
    return Record(
        image_id=encodable(image_id) if isinstance(image_id, str) else image_id,
        image=image,
        height=int(size[0]),
        width=int(size[1]),
        boxes=np.array([box for box, *_ in kept], np.float32).reshape(-1, 4),
        classes=np.array([class_index for _, class_index, *_ in kept], np.int32),
        ignore=np.array([ignore for *_, ignore, _ in kept], bool),
        areas=np.array([area for *_, area in kept], np.float32),
        file_name=encodable(file_name),
    )


def select_classes(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Return `dataset` with the classes `names` alone, numbered in that order.

    Boxes of other classes are skipped; images that keep none stay, as background.

    Raises:
        UserError: a name is not among the dataset's classes, or is there twice.
    """
    names = [name_key(name) for name in names]
    unknown = [name for name in names if name not in dataset.class_names]
    if unknown or len(set(names)) != len(names):
        raise UserError(
            f"Expected different classes out of {', '.join(dataset.class_names)}. "
            f"Received: classes={','.join(names)}. Name classes that {dataset.name} has, once each."
        )
    ids = [dataset.class_ids[dataset.class_names.index(name)] for name in names]
    new_index = [names.index(name) if name in names else -1 for name in dataset.class_names]
    return _with_classes(dataset, names, ids, new_index)


def join_classes(dataset: Dataset) -> Dataset:
    """Return `dataset` with classes in Unicode's NFC; those with equal names then are one, noted.

    An annotator on a Mac and one elsewhere may write the same letters in two forms.
    """
    keys = [name_key(name) for name in dataset.class_names]
    if keys == dataset.class_names:
        return dataset
    names = list(dict.fromkeys(keys))
    if len(names) == len(keys):
        return replace(dataset, class_names=names)
    for name in names:
        if keys.count(name) > 1:
            dataset.problems.note("class in two spellings that look alike", name)
    ids = [dataset.class_ids[keys.index(name)] for name in names]
    return _with_classes(dataset, names, ids, [names.index(key) for key in keys])


def align_classes(dataset: Dataset, reference: Dataset) -> Dataset:
    """Return `dataset` with the classes of `reference`, matched by name.

    Two files of one dataset may list their classes in another order or leave some out.

    Raises:
        UserError: `dataset` has a class that `reference` lacks.
    """
    if dataset.class_names == reference.class_names:
        return dataset
    unknown = [name for name in dataset.class_names if name not in reference.class_names]
    if unknown:
        raise UserError(
            f"Expected split {dataset.split} to have the classes of {reference.split}. "
            f"Received: {', '.join(unknown)} besides. Choose with --classes those that both have."
        )
    new_index = [reference.class_names.index(name) for name in dataset.class_names]
    return _with_classes(dataset, reference.class_names, reference.class_ids, new_index)


def _with_classes(
    dataset: Dataset, names: list[str], ids: list[int], new_index: Sequence[int]
) -> Dataset:
    """Return `dataset` with class c as new_index[c], without the boxes where that is -1."""
    index = np.array(new_index, np.int32)
    records = [_renumbered(record, index) for record in dataset.records]
    return replace(dataset, class_names=names, class_ids=ids, records=records)


def _renumbered(record: Record, new_index: np.ndarray) -> Record:
    classes = new_index[record.classes]
    keep = classes >= 0
    return replace(
        record,
        boxes=record.boxes[keep],
        classes=classes[keep],
        ignore=record.ignore[keep],
        areas=record.areas[keep],
        scores=None if record.scores is None else record.scores[keep],
    )
