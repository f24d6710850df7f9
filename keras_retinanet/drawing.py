"""Marks on a picture: boxes with labels that can be read at any size of the picture."""

import colorsys
import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]

# Steps of this share of the hue circle never come close to an earlier one (golden ratio).
HUE_STEP = (math.sqrt(5) - 1) / 2
# Saturation and value alternate too: neighbours in hue still differ.
TONES = ((0.85, 1.0), (0.6, 1.0), (0.9, 0.8))
IGNORED_COLOR: Color = (150, 150, 150)


def class_color(index: int) -> Color:
    """Gives class `index` its RGB colour, 0..255: the same in every picture and run."""
    saturation, value = TONES[index % len(TONES)]
    rgb = colorsys.hsv_to_rgb((index * HUE_STEP) % 1.0, saturation, value)
    red, green, blue = (round(255 * channel) for channel in rgb)
    return red, green, blue


def text_color(background: Color) -> Color:
    """Gives black or white, whichever reads better on `background` (WCAG 2 luminance)."""
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
    """One box to draw, xyxy in pixels, with the words and the colour it gets."""

    box: tuple[float, float, float, float]
    text: str
    color: Color


def _checked_image(image: np.ndarray) -> np.ndarray:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(
            "A picture must be uint8 RGB (H, W, 3). "
            f"Received: image of shape {image.shape} and type {image.dtype}. Convert it first."
        )
    return image


def _fit_text(text: str, font: ImageFont.FreeTypeFont, limit: float) -> str:
    """Shortens a label to `limit` pixels: first its score goes, then the end of its name."""
    if font.getlength(text) <= limit:
        return text
    name = text.rpartition(" ")[0] or text
    if font.getlength(name) <= limit:
        return name
    while name and font.getlength(name + "…") > limit:
        name = name[:-1]
    return name + "…" if name else ""


def _overlap(a: Rectangle, b: Rectangle) -> int:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def _place_label(
    box: Rectangle, size: tuple[int, int], *, picture: tuple[int, int], taken: list[Rectangle]
) -> Rectangle:
    """Finds where a label of `size` (w, h) hides least: all of it inside `picture` (w, h)."""
    x1, y1, x2, y2 = box
    width, height = size
    # In order of preference: above, below, inside; at the left end, then at the right one.
    corners = [(x, y) for y in (y1 - height, y2, y1, y2 - height) for x in (x1, x2 - width)]
    best, least = (0, 0, width, height), math.inf
    for x, y in corners:
        left = min(max(x, 0), max(picture[0] - width, 0))
        top = min(max(y, 0), max(picture[1] - height, 0))
        place = (left, top, left + width, top + height)
        hidden = sum(_overlap(place, other) for other in taken)
        if hidden < least:
            best, least = place, hidden
    return best


def draw_marks(image: np.ndarray, marks: list[Mark]) -> np.ndarray:
    """Draws marks in their order, later ones on top, and all labels above all boxes."""
    height, width = _checked_image(image).shape[:2]
    # Lines and letters grow with the picture: 2 px and 13 px high at 640x480.
    side = math.sqrt(height * width)
    line, letters = max(1, round(side / 280)), max(9, round(side / 42))
    # Always FreeType where a size is given.
    font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=letters))
    pad = max(1, letters // 6)
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    boxes: list[Rectangle] = []
    for mark in marks:
        # Sorted and kept in the picture: Pillow refuses x2 < x1.
        x1, x2 = sorted(min(max(round(x), 0), width - 1) for x in mark.box[0::2])
        y1, y2 = sorted(min(max(round(y), 0), height - 1) for y in mark.box[1::2])
        boxes.append((x1, y1, x2, y2))
        pen.rectangle(boxes[-1], outline=mark.color, width=line)
    ascent, descent = font.getmetrics()
    labels: list[tuple[Rectangle, str, Color]] = []
    # The last marks matter most, so they choose their places first.
    for mark, box in zip(reversed(marks), reversed(boxes), strict=True):
        text = _fit_text(mark.text, font, width - 2 * pad)
        if text:
            size = (math.ceil(font.getlength(text)) + 2 * pad, ascent + descent + pad)
            taken = [place for place, _, _ in labels]
            place = _place_label(box, size, picture=(width, height), taken=taken)
            labels.append((place, text, mark.color))
    for place, text, color in reversed(labels):
        pen.rectangle((place[0], place[1], place[2] - 1, place[3] - 1), fill=color)
        pen.text((place[0] + pad, place[1] + pad // 2), text, font=font, fill=text_color(color))
    return np.asarray(canvas)
