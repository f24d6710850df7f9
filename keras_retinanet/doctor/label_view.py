"""Training images with their boxes: green where an anchor is matched, red where none is.

Shape letters: B images, R anchors, G ground truths.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_retinanet.config import Config
from keras_retinanet.data.pipeline.batches import training_batches, training_plan
from keras_retinanet.data.pipeline.fetching import strict_errors
from keras_retinanet.data.records import Dataset
from keras_retinanet.drawing.fonts import machine_fonts
from keras_retinanet.drawing.marks import IGNORED_COLOR, Color, Mark, draw_marks
from keras_retinanet.drawing.pictures import picture_grid
from keras_retinanet.modeling.anchors import Anchors, level_cells
from keras_retinanet.modeling.atss import build_labeler
from keras_retinanet.modeling.labeling import Labeler
from keras_retinanet.modeling.preprocessing import Preprocessing

MATCHED_COLOR: Color = (0, 200, 80)
MISSED_COLOR: Color = (255, 40, 40)
LEGEND = (
    (MATCHED_COLOR, "matched to this number of anchors"),
    (MISSED_COLOR, "to none"),
    (IGNORED_COLOR, "ignored"),
)
# Small network inputs are enlarged for the eye, until the long side has this many pixels.
SHOWN_SIDE = 1000
# Pixels of the long side of an image in the contact sheet, which holds up to this many images.
SHEET_SIDE = 640
SHEET_PICTURES = 25


@dataclass(frozen=True, eq=False)
class LabeledPicture:
    """One image of a training batch, and what its boxes teach.

    Attributes:
        name: the image's file.
        image: (h, w, 3) uint8 RGB, padding included.
        boxes: (G, 4) float32 xyxy in its pixels, without padding.
        classes: (G,) int.
        ignore: (G,) bool.
        anchors: (G,) int: how many anchors are matched to each box.
    """

    name: str
    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    ignore: np.ndarray
    anchors: np.ndarray

    @property
    def missed(self) -> np.ndarray:
        """(G,) bool: the boxes that should teach and that no anchor is matched to."""
        return ~self.ignore & (self.anchors == 0)


def training_pictures(dataset: Dataset, config: Config, count: int) -> list[LabeledPicture]:
    """Return the first `count` images that a training by `config` sees, and its matches."""
    preprocessing = Preprocessing(**vars(config.model.preprocessing))
    anchors = Anchors(**vars(config.model.anchors))
    labeler = build_labeler(config.train.matching)
    order: dict[str, Any] = {
        "data_config": config.data,
        "batch_size": config.train.batch_size,
        "seed": config.train.seed,
        "tile": config.model.tiles.side,
    }
    planned = training_plan(dataset, preprocessing, **order)
    batches = training_batches(dataset, preprocessing, **order)
    pictures: list[LabeledPicture] = []
    with strict_errors(dataset.problems):
        for batch, (images, labels) in zip(planned, batches, strict=False):
            found = labeled_pictures(images.numpy(), labels, anchors=anchors, labeler=labeler)
            for index, picture in zip(batch.indices, found, strict=True):
                name = dataset.records[index].file_name
                pictures.append(dataclasses.replace(picture, name=name))
            if len(pictures) >= count:
                break
    return pictures[:count]


def labeled_pictures(
    images: np.ndarray, labels: dict[str, Any], *, anchors: Anchors, labeler: Labeler
) -> list[LabeledPicture]:
    """Return the images of one training batch, without names, and the matches of their boxes.

    Args:
        images, labels: as `data.pipeline.batches.training_batches` gives them.
        anchors, labeler: those of the training.
    """
    size = images.shape[1:3]
    targets = labeler(anchors(*size), labels, level_cells=level_cells(*size))
    matches = targets.matches.numpy()  # (B, R)
    boxes, classes, ignore = (np.asarray(labels[key]) for key in ("boxes", "classes", "ignore"))
    pictures = []
    for index, image in enumerate(images):
        matched = matches[index][matches[index] >= 0]
        real = classes[index] >= 0
        pictures.append(
            LabeledPicture(
                name="",
                image=np.clip(np.rint(image), 0, 255).astype(np.uint8),
                boxes=boxes[index][real],
                classes=classes[index][real],
                ignore=ignore[index][real],
                anchors=np.bincount(matched, minlength=len(real))[real],
            )
        )
    return pictures


def draw_labels(
    picture: LabeledPicture, class_names: list[str], *, side: int = SHOWN_SIDE
) -> np.ndarray:
    """Draw the boxes, each with its class and its number of anchors; the missed ones on top.

    Args:
        class_names: all names.
        side: pixels of the result's long side.
    """
    height, width = picture.image.shape[:2]
    scale = side / max(height, width)
    image = Image.fromarray(picture.image).resize(
        (max(1, round(width * scale)), max(1, round(height * scale))),
        Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX,
    )
    marks, names = [], machine_fonts().drawn_names(class_names)
    # Later ones are drawn on top, and choose their labels' places first.
    for index in np.argsort(np.where(picture.ignore, -1, picture.missed), kind="stable"):
        x1, y1, x2, y2 = (float(corner) * scale for corner in picture.boxes[index])
        text = f"{names[picture.classes[index]]} {picture.anchors[index]}"
        color = MISSED_COLOR if picture.missed[index] else MATCHED_COLOR
        if picture.ignore[index]:
            text, color = "ignored", IGNORED_COLOR
        marks.append(Mark((x1, y1, x2, y2), text, color))
    return draw_marks(np.asarray(image), marks)


def contact_sheet(pictures: list[LabeledPicture], class_names: list[str]) -> np.ndarray:
    """Join the first SHEET_PICTURES images into one, (h, w, 3) uint8."""
    cells = [draw_labels(p, class_names, side=SHEET_SIDE) for p in pictures[:SHEET_PICTURES]]
    return picture_grid(cells)


def add_legend(image: np.ndarray) -> np.ndarray:
    """Return `image` (h, w, 3) uint8 with a line below it that says what the colors mean."""
    width = image.shape[1]
    letters = max(6, width // 50)  # all of it is then some 30 letters wide
    font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=letters))
    line = Image.new("RGB", (width, 2 * letters), (255, 255, 255))
    pen = ImageDraw.Draw(line)
    left, top = letters // 2, letters // 2
    for color, text in LEGEND:
        pen.rectangle((left, top, left + letters, top + letters), fill=color)
        pen.text((left + 1.4 * letters, letters), text, font=font, fill=(0, 0, 0), anchor="lm")
        left += round(font.getlength(text) + 2.4 * letters)
    return np.concatenate([image, np.asarray(line)])
