"""Lines and zones on a frame, with their counts."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from keras_retinanet.drawing.fonts import machine_fonts
from keras_retinanet.drawing.marks import LETTERS_OF_PICTURE, LINE_OF_LETTERS, MIN_LETTERS, Color

INK: Color = (255, 255, 255)
EDGE: Color = (0, 0, 0)


def draw_counter(image: np.ndarray, points: Sequence[tuple[float, float]], text: str) -> np.ndarray:
    """Draw a line, or a polygon of more points, and its text, on a copy of a frame.

    Args:
        image: (H, W, 3) uint8 RGB.
        points: in pixels of `image`. The text stands at the first one, inside the image.
        text: one line.
    """
    height, width = image.shape[:2]
    letters = max(MIN_LETTERS, round(LETTERS_OF_PICTURE * (height * width) ** 0.5))
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    corners = [*points, points[0]] if len(points) > 2 else list(points)
    stroke = max(1, round(letters * LINE_OF_LETTERS))
    pen.line(corners, fill=EDGE, width=3 * stroke)
    pen.line(corners, fill=INK, width=stroke)
    font = machine_fonts().font(text, letters)
    ascent, descent = font.getmetrics()
    size = np.ceil([font.getlength(text) + letters / 2, ascent + descent]).astype(int)
    left, top = np.clip(points[0], 0, np.maximum((width, height) - size, 0)).astype(int).tolist()
    pen.rectangle((left, top, left + size[0] - 1, top + size[1] - 1), fill=EDGE)
    pen.text((left + letters // 4, top), text, font=font, fill=INK)
    return np.asarray(canvas)
