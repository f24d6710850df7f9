"""Boxes on images, a batch as training sees it, and loss curves.

Shape letters: B images, G ground truths, N detections.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from keras_retinanet.drawing.fonts import machine_fonts
from keras_retinanet.drawing.marks import IGNORED_COLOR, Mark, class_color, draw_marks
from keras_retinanet.errors import UserError
from keras_retinanet.files import atomic_path
from keras_retinanet.files.targets import MARK
from keras_retinanet.modeling.detections import Detections

# A batch is drawn at most this wide and high, in pixels, and up to this many of its images,
# this far apart.
GRID_SIDE = 2048
GRID_GAP = 4
GRID_PICTURES = 16
# Smaller images are enlarged to this long side, by a whole factor, where they are drawn for the
# eye: labels of letters that can be read would hide all of an image of 64 pixels.
READABLE_SIDE = 320


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    *,
    classes: np.ndarray,
    class_names: list[str],
    scores: np.ndarray | None = None,
    tracks: np.ndarray | None = None,
) -> np.ndarray:
    """Draw boxes with class names, and scores if there are any, on a copy of an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) float, xyxy in pixels of `image`.
        classes: (N,) int, indices into `class_names`; they choose the colors.
        class_names: all names.
        scores: (N,) float 0..1; the highest is drawn on top. Without, the order given is kept.
        tracks: (N,) int numbers of tracks, -1: none; they stand before the class, as "#3 dog".

    Returns:
        (H, W, 3) uint8 RGB; lines and letters grow with the image, and shrink with the boxes.
        A label that finds no place beside the others is shortened or skipped, low scores first.

    Raises:
        ValueError: the image has another shape or type.
    """
    order = np.arange(len(boxes)) if scores is None else np.argsort(scores, kind="stable")
    marks, names = [], machine_fonts().drawn_names(class_names)
    for index in order:
        name = names[int(classes[index])]
        if tracks is not None and tracks[index] >= 0:
            name = f"#{tracks[index]} {name}"
        text = name if scores is None else f"{name} {scores[index]:.2f}"
        x1, y1, x2, y2 = (float(corner) for corner in boxes[index])
        marks.append(Mark((x1, y1, x2, y2), text, class_color(int(classes[index]))))
    return draw_marks(image, marks)


def draw_detections(
    image: np.ndarray, detections: Detections, *, threshold: float | np.ndarray = 0.5
) -> np.ndarray:
    """Draw one image's detections of at least `threshold`, and those that have a track.

    Args:
        image: (H, W, 3) uint8 RGB, the image that was detected in.
        detections: what `detect` gave for it.
        threshold: 0..1, or (K,) one for each class; for drawing alone, the detections are not
            changed.

    Returns and Raises: as `draw_boxes`.
    """
    drawn = detections.drawn(threshold)
    return draw_boxes(
        image,
        drawn.boxes,
        classes=drawn.classes,
        class_names=drawn.class_names,
        scores=drawn.scores,
        tracks=drawn.tracks,
    )


def readable(image: np.ndarray, detections: Detections) -> tuple[np.ndarray, Detections]:
    """Enlarge a small image and its detections, so that there is room for labels.

    Args:
        image: (H, W, 3) uint8 RGB.
        detections: those of `image`.

    Returns:
        Both, an integer of times as large: at least `READABLE_SIDE` pixels on the long side.
    """
    factor = math.ceil(READABLE_SIDE / max(image.shape[:2]))
    if factor == 1:
        return image, detections
    size = (image.shape[1] * factor, image.shape[0] * factor)
    enlarged = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    return enlarged, dataclasses.replace(detections, boxes=detections.boxes * factor)


def batch_picture(
    images: np.ndarray, labels: dict[str, np.ndarray], *, class_names: list[str]
) -> np.ndarray:
    """Draw a training batch as the network gets it, as one grid.

    Args:
        images: (B, H, W, 3) float32 RGB 0..255; the first 16 are drawn.
        labels: "boxes" (B, G, 4) xyxy pixels of `images`, "classes" (B, G) with -1 as padding,
            "ignore" (B, G) bool, drawn in gray.
        class_names: all names.

    Returns:
        (rows * h + gaps, columns * w + gaps, 3) uint8 RGB, with the images shrunk so that
        they fit into 2048x2048, and white gaps of 4 px between them.
    """
    images = np.asarray(images)[:GRID_PICTURES]
    labels = {key: np.asarray(value) for key, value in labels.items()}
    columns, rows = _grid_shape(len(images))
    # Shrunk before drawing, so that labels stay readable in the grid.
    scale = min(1.0, GRID_SIDE / (columns * images.shape[2]), GRID_SIDE / (rows * images.shape[1]))
    height, width = (max(1, int(side * scale)) for side in images.shape[1:3])
    cells, names = [], machine_fonts().drawn_names(class_names)
    for index, image in enumerate(images):
        small = Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8))
        marks = []
        for box, label, ignore in zip(
            labels["boxes"][index], labels["classes"][index], labels["ignore"][index], strict=True
        ):
            x1, y1, x2, y2 = (float(corner) * scale for corner in box)
            if ignore:
                marks.append(Mark((x1, y1, x2, y2), "ignored", IGNORED_COLOR))
            elif label >= 0:
                name, color = names[int(label)], class_color(int(label))
                marks.append(Mark((x1, y1, x2, y2), name, color))
        cells.append(draw_marks(np.asarray(small.resize((width, height))), marks))
    return picture_grid(cells)


def picture_grid(pictures: list[np.ndarray]) -> np.ndarray:
    """Join images (h, w, 3) uint8 of any sizes into one, row by row, as square as it comes.

    Each lies at the top left of a cell of the largest height and width; the rest is white.
    """
    columns, rows = _grid_shape(len(pictures))
    down, right = (max(p.shape[axis] for p in pictures) + GRID_GAP for axis in (0, 1))
    grid = np.full((rows * down - GRID_GAP, columns * right - GRID_GAP, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = (index // columns) * down, (index % columns) * right
        grid[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return grid


def _grid_shape(count: int) -> tuple[int, int]:
    """Return the columns and rows of a grid of `count` images."""
    columns = math.ceil(math.sqrt(count))
    return columns, math.ceil(count / columns)


def save_picture(image: np.ndarray, path: str | Path) -> None:
    """Write `image` (H, W, 3) uint8 RGB to `path`, whole or not at all, marked as written here.

    Raises:
        UserError: if Pillow knows no format of that suffix.
    """
    mark = PngInfo()
    mark.add_text("Software", MARK)
    with atomic_path(path) as temporary:
        try:
            Image.fromarray(image).save(temporary, comment=MARK, pnginfo=mark)
        except ValueError as error:
            raise UserError(
                f"Expected an image suffix, as .png or .jpg. Received: {path}."
            ) from error
