"""Lines and zones on a frame, with their counts."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from keras_retinanet.drawing.fonts import machine_fonts
from keras_retinanet.drawing.marks import LETTERS_OF_PICTURE, LINE_OF_LETTERS, MIN_LETTERS, Color

INK: Color = (255, 255, 255)
EDGE: Color = (0, 0, 0)


def draw_shape(image: np.ndarray, points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Draw a line, or a polygon of more points, on a copy of a frame.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: in pixels of `image`.
    """
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    corners = [*points, points[0]] if len(points) > 2 else list(points)
    stroke = max(1, round(_letters(image) * LINE_OF_LETTERS))
    pen.line(corners, fill=EDGE, width=3 * stroke)
    pen.line(corners, fill=INK, width=stroke)
    return np.asarray(canvas)


def draw_text(image: np.ndarray, point: tuple[float, float], text: str) -> np.ndarray:
    """Write a line of text at a point, or as near to it as the frame allows, on a copy."""
    height, width = image.shape[:2]
    letters = _letters(image)
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    font = machine_fonts().font(text, letters)
    ascent, descent = font.getmetrics()
    size = np.ceil([font.getlength(text) + letters / 2, ascent + descent]).astype(int)
    left, top = np.clip(point, 0, np.maximum((width, height) - size, 0)).astype(int).tolist()
    pen.rectangle((left, top, left + size[0] - 1, top + size[1] - 1), fill=EDGE)
    pen.text((left + letters // 4, top), text, font=font, fill=INK)
    return np.asarray(canvas)


def _letters(image: np.ndarray) -> int:
    return max(MIN_LETTERS, round(LETTERS_OF_PICTURE * float(np.prod(image.shape[:2])) ** 0.5))
