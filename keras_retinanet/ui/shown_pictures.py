"""Files -> images with the detections of every model, and these as JSON.

A model runs once per image: moving the threshold only chooses among its detections.
Shape letters: N, M detections.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from keras_retinanet.data.images.exif import orientation, turn_image
from keras_retinanet.errors import UserError
from keras_retinanet.evaluation.metrics.pairs import match_in_order
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import read_picture
from keras_retinanet.modeling.detecting import ObjectDetector
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.numpy_boxes import overlaps

# Longest side, in pixels, of an image as the page shows it, and of its button in the strip.
VIEW_SIDE = 1280
THUMBNAIL_SIDE = 160
# A session keeps every image as shown: these are some 500 MB at most.
MAX_PICTURES = 100
# Two models' boxes of one class are the same object from this IoU on, as in AP50.
SAME_IOU = 0.5


@dataclass(frozen=True)
class Side:
    """A model of the page, and the name it has there."""

    title: str
    detector: ObjectDetector

    @property
    def facts(self) -> str:
        """What tells it from others: backbone, classes, input, and how it was exported."""
        config, exported = self.detector.config, getattr(self.detector, "facts", {})
        canvas, sides = exported.get("input", {}).get("image_size"), config.preprocessing
        count = len(self.detector.class_names)
        parts = [
            config.backbone.name,
            f"{count} class{'es' if count > 1 else ''}",
            f"{canvas[0]} x {canvas[1]} px" if canvas else f"{sides.short_side} px short side",
            " ".join(exported[key] for key in ("kind", "precision") if exported.get(key)),
        ]
        return " · ".join(part for part in parts if part)


@dataclass(frozen=True, eq=False)
class Picture:
    """An image on the page."""

    name: str  # of its file
    size: tuple[int, int]  # height and width in pixels of the file
    view: np.ndarray  # uint8 RGB, the same image with no side over `VIEW_SIDE`
    found: tuple[Detections, ...]  # of each side's model, in pixels of the file

    @property
    def thumbnail(self) -> np.ndarray:
        """The image with no side over `THUMBNAIL_SIDE`, uint8 RGB."""
        return _within(self.view, THUMBNAIL_SIDE)


def add_pictures(
    pictures: Sequence[Picture],
    paths: Sequence[str | Path],
    *,
    sides: Sequence[Side],
    exif: str = "stored",
    say: Callable[[int, str], None] = lambda number, name: None,
) -> tuple[list[Picture], list[str]]:
    """Read files and run every model on each image.

    Args:
        pictures: those on the page already, which stay.
        paths: files to add; their names are shown.
        sides: the models.
        exif: "apply" turns an image as its EXIF orientation says; "stored" says that it does not.
        say: is told the number, from 0, and the name of each file before it is read.

    Returns:
        All images, and a line on each file with a problem.
    """
    kept, notes = list(pictures), []
    for number, path in enumerate(map(Path, paths)):
        if len(kept) == MAX_PICTURES:
            notes.append(
                f"{path.name}: expected at most {MAX_PICTURES} images at a time. "
                "Remove those on the page first."
            )
            break
        say(number, path.name)
        try:
            encoded = read_picture(path)
            image, turned = decode_image(encoded), orientation(encoded)
            if exif == "apply":
                image = turn_image(image, turned)
            found = tuple(side.detector.detect([image])[0] for side in sides)
        except (UserError, ValueError, OSError) as error:
            notes.append(f"{path.name}: {error}")
            continue
        if turned != 1 and exif == "stored":
            notes.append(
                f"{path.name}: EXIF says to turn it; detected in the pixels as stored. "
                "Started with --exif apply, the page turns it."
            )
        size = (image.shape[0], image.shape[1])
        kept.append(Picture(path.name, size, _within(image, VIEW_SIDE), found))
    return kept, notes


def _within(image: np.ndarray, side: int) -> np.ndarray:
    small = Image.fromarray(image)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small)


def same_objects(first: Detections, second: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Return which detections of each of two models in one image the other model shares.

    Each is the partner of one at most: of the same class name, with an IoU of `SAME_IOU` or more;
    the best of the first model choose first.

    Returns:
        (N,) bool of `first` and (M,) bool of `second`.
    """
    shared, taken = np.zeros(len(first), bool), np.zeros(len(second), bool)
    same_class = np.array(first.names, object)[:, None] == np.array(second.names, object)[None, :]
    order = np.argsort(-first.scores, kind="stable")
    ious = np.where(same_class, overlaps(first.xywh, second.xywh), 0.0)
    columns = match_in_order(ious[order], SAME_IOU, last_of_equals=False)
    shared[order[columns >= 0]] = taken[columns[columns >= 0]] = True
    return shared, taken


def detections_json(
    pictures: Sequence[Picture], threshold: float, *, sides: Sequence[Side], index: int
) -> str:
    """Return one model's detections of all images as JSON, one row per line.

    Args:
        pictures: all of the page.
        threshold: boxes of at least this score are written.
        sides: the models.
        index: which of them.

    Returns:
        A list in COCO's results form, as `predict` writes it: `image_id` from 1 in the order of
        the page, the model's own `category_id`, `bbox` xywh in pixels of the file, `score`, and
        `file_name`.
    """
    class_ids, rows = sides[index].detector.class_ids, []
    for number, picture in enumerate(pictures, 1):
        found = picture.found[index].with_score(threshold)
        for row in found.to_coco(number, class_ids):
            rows.append(json.dumps({**row, "file_name": picture.name}, ensure_ascii=False))
    return "[" + ",\n ".join(rows) + "]\n"


def total_boxes(pictures: Sequence[Picture], threshold: float, index: int) -> int:
    """Return how many boxes of at least `threshold` model `index` found in all images."""
    return sum(len(picture.found[index].with_score(threshold)) for picture in pictures)
