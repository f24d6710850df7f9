"""Ground truth and detections as columns, the one form that every metric and analysis reads.

Shape letters: P images, T true boxes, D detections, K classes. Boxes are xyxy in float64 pixels
of the original image, classes contiguous from 0. COCO's own forms are xywh
(https://cocodataset.org, "Data format").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from keras_retinanet.data.records import Dataset
from keras_retinanet.errors import UserError, counted, listed, shown
from keras_retinanet.modeling.detections import coco_rows
from keras_retinanet.modeling.numpy_boxes import xywh_to_xyxy, xyxy_to_xywh

# How many ids a message names of each kind.
SHOWN_IDS = 6


class _Boxes:
    """What both tables do with their columns."""

    boxes: np.ndarray
    # (N, 4) float64 where a file states boxes so: in floating point (x + w) - x is not always w,
    # and COCO's evaluator reads w.
    stated_xywh: np.ndarray | None

    @property
    def xywh(self) -> np.ndarray:
        """The boxes as (N, 4) float64 corner and sides."""
        return xyxy_to_xywh(self.boxes) if self.stated_xywh is None else self.stated_xywh

    def select(self, rows: np.ndarray) -> Self:
        """Return some of the rows, by their indices or as bool."""
        columns = {name: column[rows] for name, column in vars(self).items() if column is not None}
        return replace(self, **columns)  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class Truths(_Boxes):
    """The true boxes of all images, image by image in the order of the annotations.

    Attributes:
        image: (T,) int32, index of the image.
        classes: (T,) int32.
        boxes: (T, 4) float64 xyxy pixels.
        areas: (T,) float64, the annotation's own area (COCO's is the mask's) in pixels.
        ignore: (T,) bool: crowd, difficult or group of. Neither to find nor background.
        stated_xywh: (T, 4) float64 or None.
    """

    image: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    ignore: np.ndarray
    stated_xywh: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Found(_Boxes):
    """The detections in all images; of equal scores in an image the earlier row ranks first.

    Attributes:
        image: (D,) int32, index of the image.
        classes: (D,) int32.
        boxes: (D, 4) float64 xyxy pixels.
        scores: (D,) float64, 0..1.
        stated_xywh: (D, 4) float64 or None.
    """

    image: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    stated_xywh: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """The images and the ground truth that detections are scored against.

    Attributes:
        image_ids: (P,) the ids of COCO's form, each once.
        file_names: (P,) what messages and reports call the images.
        sizes: (P, 2) int32 height and width in pixels; 0 where a file does not tell.
        class_names, class_ids: (K,) names and the source's original ids.
    """

    image_ids: list[Any]
    file_names: list[str]
    sizes: np.ndarray
    class_names: list[str]
    class_ids: list[int]
    truths: Truths

    @cached_property
    def box_counts(self) -> np.ndarray:
        """(K,) int64, how many boxes of each class there are to find."""
        wanted = self.truths.classes[~self.truths.ignore]
        return np.bincount(wanted, minlength=len(self.class_names))


def class_rows(class_names: Sequence[str], **columns: np.ndarray) -> list[dict[str, Any]]:
    """Return for each class its name, as "class", and its value in each of `columns` (K,)."""
    rows = zip(class_names, *(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(("class", *columns), row, strict=True)) for row in rows]


def image_ids(dataset: Dataset) -> list[int]:
    """Return each record of a dataset the integer id that COCO's form asks for.

    Returns:
        The records' own ids where all are integers, else 1..N in the records' order.
    """
    own = [record.image_id for record in dataset.records]
    if all(isinstance(image_id, int | np.integer) for image_id in own):
        return [int(image_id) for image_id in own]
    return list(range(1, len(own) + 1))


def evaluation_set(dataset: Dataset) -> EvaluationSet:
    """Read the ground truth of a dataset into columns; images in the order of its records."""
    records = list(dataset.records)
    counts = [len(record.boxes) for record in records]
    truths = Truths(
        image=np.repeat(np.arange(len(records), dtype=np.int32), counts),
        classes=joined([record.classes for record in records], np.int32),
        boxes=joined([record.boxes for record in records], np.float64).reshape(-1, 4),
        areas=joined([record.areas for record in records], np.float64),
        ignore=joined([record.ignore for record in records], bool),
    )
    return EvaluationSet(
        image_ids=image_ids(dataset),
        file_names=[record.file_name for record in records],
        sizes=np.array([(r.height, r.width) for r in records], np.int32).reshape(-1, 2),
        class_names=list(dataset.class_names),
        class_ids=[int(class_id) for class_id in dataset.class_ids],
        truths=truths,
    )


def joined(parts: Sequence[np.ndarray], dtype: Any) -> np.ndarray:
    """Return the rows of all parts, of which there may be none."""
    parts = [np.asarray(part, dtype) for part in parts if len(part)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


def set_from_annotations(annotation_file: dict[str, Any]) -> EvaluationSet:
    """Read the content of a COCO instances file into columns.

    A missing `area` is the box's, a missing `iscrowd` is 0. Annotations of images or categories
    that the file does not list are skipped, as by pycocotools; annotation ids are not read.

    Raises:
        UserError: the content is malformed.
    """
    if not isinstance(annotation_file, dict):
        raise UserError("Annotations must be a JSON object. Give a COCO instances file.")
    lists = {key: annotation_file.get(key) for key in ("images", "categories", "annotations")}
    for key, entries in lists.items():
        if not isinstance(entries, list):
            raise UserError(f"Annotations must hold a list `{key}`. Give a COCO instances file.")
    try:
        return _set_from_lists(**lists)  # type: ignore[arg-type]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            "Annotations need `image_id`, `category_id` and `bbox` (xywh), images and categories "
            f"an `id`. Received: {type(error).__name__}: {error}. Give a COCO instances file."
        ) from error


def _set_from_lists(
    images: list[Any], categories: list[Any], annotations: list[Any]
) -> EvaluationSet:
    # Of equal ids the last counts, as in pycocotools' index.
    pictures = {entry["id"]: entry for entry in images}
    names = {category["id"]: category.get("name") for category in categories}
    image = _places(annotations, "image_id", list(pictures))
    classes = _places(annotations, "category_id", list(names))
    xywh = np.array([row["bbox"] for row in annotations], np.float64).reshape(len(image), 4)
    areas = [
        row.get("area", side[0] * side[1])
        for row, side in zip(annotations, xywh[:, 2:].tolist(), strict=True)
    ]
    ignore = np.array([bool(int(row.get("iscrowd", 0))) for row in annotations], bool)
    truths = Truths(image, classes, xywh_to_xyxy(xywh), np.array(areas, np.float64), ignore, xywh)
    if not (np.isfinite(xywh).all() and np.isfinite(truths.areas).all()):
        raise ValueError("a number is not finite")
    sizes = [(entry.get("height", 0), entry.get("width", 0)) for entry in pictures.values()]
    return EvaluationSet(
        image_ids=list(pictures),
        file_names=[str(entry.get("file_name", key)) for key, entry in pictures.items()],
        sizes=np.array(sizes, np.int32).reshape(-1, 2),
        class_names=[str(class_id if name is None else name) for class_id, name in names.items()],
        class_ids=list(names),
        truths=truths.select((image >= 0) & (classes >= 0)),
    )


def _places(rows: list[dict[str, Any]], key: str, ids: list[Any]) -> np.ndarray:
    """Return the index of each row's `key` among `ids`; -1: it is not there."""
    index = {each: place for place, each in enumerate(ids)}
    return np.array([index.get(row[key], -1) for row in rows], np.int32)


def found_from_results(rows: list[dict[str, Any]], pictures: EvaluationSet) -> Found:
    """Read the content of a COCO results file into columns, in its order.

    Args:
        rows: dicts with `image_id`, `category_id`, `bbox` (xywh, pixels) and `score`. Not changed.
        pictures: what they were found in.

    Raises:
        UserError: a row is malformed, or of an image or a category that is not there: pycocotools
            skips such a category, and the AP of what was meant by it is 0.
    """
    if not isinstance(rows, list):
        raise UserError("Detections must be a JSON list. Give a COCO results file.")
    try:
        image = _places(rows, "image_id", pictures.image_ids)
        classes = _places(rows, "category_id", pictures.class_ids)
        xywh = np.array([row["bbox"] for row in rows], np.float64).reshape(len(rows), 4)
        scores = np.array([row["score"] for row in rows], np.float64).reshape(len(rows))
        is_sound = bool(np.isfinite(xywh).all() and np.isfinite(scores).all())
    except (KeyError, TypeError, ValueError, IndexError):
        is_sound = False
    if not is_sound:
        raise _fault_of(rows)
    _require_known(rows, image, "image_id", ids=pictures.image_ids)
    _require_known(rows, classes, "category_id", ids=pictures.class_ids)
    return Found(image, classes, xywh_to_xyxy(xywh), scores, xywh)


def _require_known(
    rows: list[dict[str, Any]], places: np.ndarray, key: str, *, ids: list[Any]
) -> None:
    """Raise a UserError if a row's `key` is not among `ids`, that is, its place is -1."""
    missing = np.flatnonzero(places < 0).tolist()
    if not missing:
        return
    unknown = list(dict.fromkeys(rows[row][key] for row in missing))
    kind, advice = {
        "image_id": ("images", "Give the annotations of the split that was detected."),
        "category_id": ("categories", "Write the original ids, and leave other classes out."),
    }[key]
    raise UserError(
        f"Expected detections of {kind} that the annotations declare: {key} "
        f"{listed([shown(each) for each in ids], limit=SHOWN_IDS) or 'none'}. Received: "
        f"{len(missing):,} of {counted(len(rows), 'detection')} with {key}="
        f"{listed([shown(each) for each in unknown], limit=SHOWN_IDS)}. {advice}"
    )


def _fault_of(rows: list[Any]) -> UserError:
    """Name the first row that cannot be read."""
    for number, row in enumerate(rows, start=1):
        try:
            x, y, width, height = (float(value) for value in row["bbox"])
            if not math.isfinite(x + y + width + height + float(row["score"])):
                raise ValueError("a number is not finite")
            hash((row["image_id"], row["category_id"]))
        except (KeyError, TypeError, ValueError) as error:
            fault = f"entry {number} with {type(error).__name__}: {error}"
            break
    else:
        fault = "entries of different forms"
    return UserError(
        "A detection needs `image_id`, `category_id`, `bbox` (4 numbers, xywh) and `score`. "
        f"Received: {fault}. Give a COCO results file."
    )


def results_from_found(found: Found, pictures: EvaluationSet) -> list[dict[str, Any]]:
    """Write detections in COCO's results form, with original ids: undoes `found_from_results`."""
    return coco_rows(
        [pictures.image_ids[image] for image in found.image.tolist()],
        [pictures.class_ids[index] for index in found.classes.tolist()],
        xywh=found.xywh,
        scores=found.scores,
    )
