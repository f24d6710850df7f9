"""Masks of the drawn scenes: shapes of the classes, and distractors that belong to no class."""

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Masks are drawn this many times larger and averaged down: smooth edges.
OVERSAMPLING = 4
# A circle is a polygon of many corners; a star has five tips and five notches.
CORNERS = {"circle": 40, "square": 4, "triangle": 3, "star": 10}
LETTERS = "AEFHKLMNRTWXYZ"
# fmt: off
CROSS = [
    (1, 4), (1, 1), (4, 1), (4, -1), (1, -1), (1, -4),
    (-1, -4), (-1, -1), (-4, -1), (-4, 1), (-1, 1), (-1, 4),
]
# fmt: on


def shape_mask(random: np.random.Generator, name: str, length: int) -> np.ndarray:
    """Return a shape of any rotation, (h, w) uint8, whose longer side is `length` pixels."""
    corners = CORNERS[name]
    angles = 2 * np.pi * (np.arange(corners) / corners + random.random())
    radii = np.ones(corners)
    if name == "star":
        radii[1::2] = 0.45
    points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    return _polygon_mask(points * [1.0, random.uniform(0.85, 1.0)], length)


def part_mask(random: np.random.Generator, length: int) -> np.ndarray:
    """Return what is left of a shape of any class that a line cuts near its middle."""
    whole = shape_mask(random, list(CORNERS)[random.integers(len(CORNERS))], length)
    height, width = whole.shape
    turn = random.uniform(0, 2 * np.pi)
    rows, columns = np.ogrid[:height, :width]
    across = (columns - width / 2) * np.cos(turn) + (rows - height / 2) * np.sin(turn)
    part = np.where(across > 0.1 * random.uniform(-1, 1) * length, whole, 0)
    # No line can miss the middle of a shape.
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    return part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def distractor_mask(random: np.random.Generator, length: int) -> np.ndarray:
    """Return a line, a ragged blob, a cross or a letter."""
    kind = random.integers(4)
    turn = random.uniform(0, 2 * np.pi)
    if kind == 0:
        points = np.array([[-1, -0.05], [1, -0.05], [1, 0.05], [-1, 0.05]])
    elif kind == 1:
        angles = np.sort(random.uniform(0, 2 * np.pi, 14))
        radii = random.uniform(0.3, 1, 14)
        points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    elif kind == 2:
        points = np.array(CROSS)
    else:
        return _letter_mask(LETTERS[random.integers(len(LETTERS))], min(length, 60))
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return _polygon_mask(points @ rotation, length)


def _polygon_mask(points: np.ndarray, length: int) -> np.ndarray:
    """Return the mask of `points` (P, 2) xy, scaled so that the longer side is `length` pixels."""
    points = points - points.min(axis=0)
    points = points * (length / points.max())
    width, height = (max(1, int(np.ceil(extent))) for extent in points.max(axis=0))
    canvas = Image.new("L", (width * OVERSAMPLING, height * OVERSAMPLING))
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in (points * OVERSAMPLING).tolist()], fill=255)
    return np.asarray(canvas.reduce(OVERSAMPLING))


def _letter_mask(letter: str, length: int) -> np.ndarray:
    # Pillow's built-in bitmap letters: the same on every platform, unlike its scalable font.
    small = Image.new("L", (8, 11))
    ImageDraw.Draw(small).text((1, 0), letter, fill=255, font=_bitmap_font())
    small = small.crop(small.getbbox())
    width = max(1, round(length * small.width / small.height))
    return np.asarray(small.resize((width, length), Image.Resampling.NEAREST))


@functools.cache
def _bitmap_font():
    return ImageFont.load_default_imagefont()
