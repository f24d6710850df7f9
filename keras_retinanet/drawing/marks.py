"""Marks on an image: boxes with labels that can be read at any size of the image.

No label hides another: where all places are taken it is shortened, and at last skipped. The
color still tells the class.
"""

import colorsys
import math
import statistics
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_retinanet.drawing.fonts import Fonts, machine_fonts

Color = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]

# Steps of this share of the hue circle never come close to an earlier one (golden ratio).
HUE_STEP = (math.sqrt(5) - 1) / 2
# Saturation and value alternate too: neighbors in hue still differ.
TONES = ((0.85, 1.0), (0.6, 1.0), (0.9, 0.8))
IGNORED_COLOR: Color = (150, 150, 150)
# Letters are this share of the image's side, 13 px at 640x480, but less where boxes are small:
# a fifth of their median side, so that a label covers little of its box's neighbors.
LETTERS_OF_PICTURE = 1 / 42
LETTERS_OF_BOX = 1 / 5
# Never less than can be read, also when a large image is shown a thousand pixels wide.
MIN_LETTERS = 9
MIN_LETTERS_OF_PICTURE = 1 / 120
# Lines are as thick as strokes of letters twice as large.
LINE_OF_LETTERS = 1 / 6.5


def class_color(index: int) -> Color:
    """Return the RGB color, 0..255: the same in every image and run."""
    saturation, value = TONES[index % len(TONES)]
    rgb = colorsys.hsv_to_rgb((index * HUE_STEP) % 1.0, saturation, value)
    red, green, blue = (round(255 * channel) for channel in rgb)
    return red, green, blue


def text_color(background: Color) -> Color:
    """Return black or white, whichever reads better on `background` (WCAG 2 luminance)."""
    linear = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (channel / 255 for channel in background)
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # Contrast is equal at .18; up to .25 white still has 3.5:1, and reads better on the
    # saturated blues and reds of the palette.
    return (0, 0, 0) if luminance > 0.25 else (255, 255, 255)


@dataclass(frozen=True)
class Mark:
    """One box to draw, xyxy in pixels, with the words and the color it gets."""

    box: tuple[float, float, float, float]
    text: str
    color: Color


def _checked_image(image: np.ndarray) -> np.ndarray:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(
            "An image must be uint8 RGB (H, W, 3). "
            f"Received: image of shape {image.shape} and type {image.dtype}. Convert it first."
        )
    return image


def letter_size(picture: tuple[int, int], boxes: list[Rectangle]) -> int:
    """Return the size of letters in pixels for boxes on an image of (width, height)."""
    side = math.sqrt(picture[0] * picture[1])
    size = side * LETTERS_OF_PICTURE
    if boxes:
        sides = [math.sqrt((x2 - x1) * (y2 - y1)) for x1, y1, x2, y2 in boxes]
        size = min(size, statistics.median(sides) * LETTERS_OF_BOX)
    return max(MIN_LETTERS, round(max(size, side * MIN_LETTERS_OF_PICTURE)))


def _texts(text: str, font: ImageFont.FreeTypeFont, limit: float) -> list[str]:
    """Return a label and its shorter forms, all at most `limit` pixels: first its score goes."""
    name = text.rpartition(" ")[0] or text
    short = name
    while short and font.getlength(short + "…") > limit:
        short = short[:-1]
    fitting = [form for form in (text, name) if font.getlength(form) <= limit]
    return fitting or ([short + "…"] if short else [])


def free_place(
    box: Rectangle, size: tuple[int, int], *, picture: tuple[int, int], taken: np.ndarray
) -> Rectangle | None:
    """Find where a label of `size` (w, h) hides no other, all of it inside `picture` (w, h).

    Args:
        taken: (N, 4) int, the places of the labels so far.
    """
    x1, y1, x2, y2 = box
    width, height = size
    middle = (x1 + x2 - width) // 2
    # In order of preference: above, below, inside; at the left end, the right one, between. Then
    # beside the box.
    corners = [(x, y) for y in (y1 - height, y2, y1, y2 - height) for x in (x1, x2 - width, middle)]
    corners += [(x, y) for y in (y1, y2 - height, y2) for x in (x2, x1 - width)]
    corners += [(x, y1 - height) for x in (x2, x1 - width)]
    places = np.clip(corners, 0, np.maximum(np.subtract(picture, size), 0))
    ends = places + size
    left_or_above = ends[:, None, :] <= taken[None, :, :2]  # places, labels, (x, y)
    right_or_below = places[:, None, :] >= taken[None, :, 2:]
    apart = np.any(left_or_above | right_or_below, axis=2)
    free = np.flatnonzero(np.all(apart, axis=1))
    if not len(free):
        return None
    left, top = places[free[0]].tolist()
    return left, top, left + width, top + height


def draw_marks(image: np.ndarray, marks: list[Mark], *, fonts: Fonts | None = None) -> np.ndarray:
    """Draw marks in their order, later ones on top, and all labels above all boxes.

    The later a mark, the earlier its label chooses a place; one that finds none is skipped. Each
    is written in a font that has its letters; `fonts` are the machine's.
    """
    height, width = _checked_image(image).shape[:2]
    boxes: list[Rectangle] = []
    for mark in marks:
        # Sorted and kept in the image: Pillow refuses x2 < x1.
        x1, x2 = sorted(min(max(round(x), 0), width - 1) for x in mark.box[0::2])
        y1, y2 = sorted(min(max(round(y), 0), height - 1) for y in mark.box[1::2])
        boxes.append((x1, y1, x2, y2))
    letters = letter_size((width, height), boxes)
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    for mark, box in zip(marks, boxes, strict=True):
        pen.rectangle(box, outline=mark.color, width=max(1, round(letters * LINE_OF_LETTERS)))
    pad = max(1, letters // 6)
    fonts = fonts or machine_fonts()
    taken = np.zeros((0, 4), int)
    for mark, box in zip(reversed(marks), reversed(boxes), strict=True):
        font = fonts.font(mark.text, letters)
        ascent, descent = font.getmetrics()
        for text in _texts(mark.text, font, width - 2 * pad):
            size = (math.ceil(font.getlength(text)) + 2 * pad, ascent + descent + pad)
            place = free_place(box, size, picture=(width, height), taken=taken)
            if place is not None:
                taken = np.concatenate([taken, [place]])
                pen.rectangle((*place[:2], place[2] - 1, place[3] - 1), fill=mark.color)
                spot, ink = (place[0] + pad, place[1] + pad // 2), text_color(mark.color)
                pen.text(spot, text, font=font, fill=ink)
                break
    return np.asarray(canvas)
