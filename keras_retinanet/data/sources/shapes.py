"""The dataset that needs no file: scenes of four shapes, drawn from a seed.

Each class keeps to a part of the hues, as real objects often do, but color alone finds nothing:
distractors of no class have any hue, and the background is textured. Shapes hide each other by up
to 40%, so that a scene must be seen, not thresholded.
"""

import colorsys
import functools
import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_retinanet.config import DataConfig
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.data.splits import match_split

CLASS_NAMES = ["circle", "square", "triangle", "star"]
# One stream of scenes per split: no scene of one can come in another.
STREAMS = {"train": 0, "val": 1, "test": 2}
SEED = 20170807  # The day the paper appeared; any number would do.
MIN_SIDE, MAX_SIDE = 12, 160
MIN_OBJECTS, MAX_OBJECTS = 3, 12
# Of every shape at least this much is seen; most layers hide less of what lies behind them.
MIN_VISIBLE = 0.6
USUAL_VISIBLE = 0.88
MUCH_HIDING = 0.3  # share of the layers that may hide as much as MIN_VISIBLE allows
# Mean difference per channel, 0..255, between a shape and what is behind it.
MIN_CONTRAST = 80.0
# A class keeps to this share of the hue circle around its own hue.
HUE_RANGE = 0.18
NOISE = 4.0
# Masks are drawn this many times larger and averaged down: smooth edges.
OVERSAMPLING = 4
PLACING_ATTEMPTS = 30
LETTERS = "AEFHKLMNRTWXYZ"
CACHED_SCENES = 1024
DISTRACTOR = -1
# fmt: off
CROSS = [
    (1, 4), (1, 1), (4, 1), (4, -1), (1, -1), (1, -4),
    (-1, -4), (-1, -1), (-4, -1), (-4, 1), (-1, 1), (-1, 4),
]
# fmt: on


class Layer(NamedTuple):
    """One shape or distractor: where its mask lies, back to front in a scene.

    Attributes:
        class_index: of `CLASS_NAMES`; -1 for a distractor.
        mask: (h, w) uint8, how much of each pixel it covers (255: all).
        x, y: the mask's top left corner in the scene.
    """

    class_index: int
    mask: np.ndarray
    x: int
    y: int


def splits(config: DataConfig) -> list[str]:
    """Return the names of the splits: train, val and test."""
    return list(STREAMS)


def load(config: DataConfig, split: str | None) -> Dataset:
    """Lay out the scenes of one split; each is drawn when its image is read.

    Args:
        config: `shapes_train`, `shapes_val` (also the number of test scenes) and `shapes_size`.
        split: "train", "val" or "test" (None: "train").

    Returns:
        Boxes are those of the visible part of each shape.

    Raises:
        UserError: there is no such split.
    """
    split = match_split(split or "train", list(STREAMS), "shapes")
    count = config.shapes_train if split == "train" else config.shapes_val
    side = config.shapes_size
    records = []
    for index in range(count):
        layers, _ = lay_out(split, index, side)
        visible = visible_masks(layers, side)
        objects = [
            (_bounds(mask), layer.class_index, False, float(mask.sum()))
            for layer, mask in zip(layers, visible, strict=True)
            if layer.class_index != DISTRACTOR
        ]
        name = f"shapes:{split}:{index}:{side}"
        image, size = ImageRef(name), (side, side)
        records.append(
            make_record(index, image, size, file_name=name, objects=objects, problems=Problems())
        )
    ids = list(range(1, len(CLASS_NAMES) + 1))
    return Dataset("shapes", split, CLASS_NAMES, ids, records, reader=read_scene)


def read_scene(image: ImageRef) -> bytes:
    """Return the BMP file of the scene that `image` names: "shapes:<split>:<index>:<side>"."""
    _, split, index, side = image.path.split(":")
    return _encoded(split, int(index), int(side))


@functools.lru_cache(maxsize=CACHED_SCENES)
def _encoded(split: str, index: int, side: int) -> bytes:
    stream = io.BytesIO()
    # Noise hardly compresses: PNG would save little and take half as long as drawing does.
    Image.fromarray(draw(split, index, side)).save(stream, "BMP")
    return stream.getvalue()


def lay_out(split: str, index: int, side: int) -> tuple[list[Layer], np.random.Generator]:
    """Return the layers of a scene, back to front, and the random state to color it with."""
    random = np.random.default_rng([SEED, STREAMS[split], index])
    shapes = [int(i) for i in random.integers(len(CLASS_NAMES), size=_object_count(random, side))]
    order = shapes + [DISTRACTOR] * int(random.integers(2, 6))
    layers: list[Layer] = []
    visible: list[np.ndarray] = []
    areas: list[int] = []
    for class_index in (order[i] for i in random.permutation(len(order))):
        # A crowded scene may have no place left for a shape; the first always has one.
        for _ in range(PLACING_ATTEMPTS):
            layer = _random_layer(random, class_index, side)
            covered = _on_scene(layer, side)
            if class_index != DISTRACTOR and min(_extent(covered)) < MIN_SIDE:
                continue
            left = [mask & ~covered for mask in visible]
            least = MIN_VISIBLE if random.random() < MUCH_HIDING else USUAL_VISIBLE
            hidden = zip(layers, visible, left, areas, strict=True)
            if all(_still_seen(*row, least=least) for row in hidden):
                layers, visible = [*layers, layer], [*left, covered]
                areas.append(int(covered.sum()))
                break
    return layers, random


def visible_masks(layers: list[Layer], side: int) -> list[np.ndarray]:
    """Return for each layer the (side, side) bool pixels that no layer in front covers."""
    hidden = np.zeros((side, side), bool)
    masks = []
    for layer in reversed(layers):
        covered = _on_scene(layer, side)
        masks.append(covered & ~hidden)
        hidden |= covered
    return masks[::-1]


def draw(split: str, index: int, side: int) -> np.ndarray:
    """Return the image of a scene: (side, side, 3) uint8 RGB."""
    layers, random = lay_out(split, index, side)
    scene = _texture(random, side, spread=random.uniform(20, 40), cells=(3, 12, 40))
    scene += random.uniform(70, 185, 3).astype(np.float32)
    for layer in layers:
        height, width = layer.mask.shape
        window = scene[layer.y : layer.y + height, layer.x : layer.x + width]
        fill = _texture(random, max(height, width), spread=random.uniform(5, 22), cells=(2, 9))
        color = _contrasting_color(random, layer.class_index, window.mean((0, 1)))
        fill = fill[:height, :width] + color
        window += (layer.mask[..., None] / np.float32(255)) * (fill - window)
    scene += NOISE * random.standard_normal(scene.shape, np.float32)
    return np.clip(np.round(scene), 0, 255).astype(np.uint8)


def _object_count(random: np.random.Generator, side: int) -> int:
    # A small scene cannot hold twelve shapes of a usual size.
    most = min(MAX_OBJECTS, max(MIN_OBJECTS, side // 21))
    return int(random.integers(MIN_OBJECTS, most + 1, 2).min())  # sparse scenes are more common


def _random_layer(random: np.random.Generator, class_index: int, side: int) -> Layer:
    # Log-uniform, mostly 36..100 px in a scene of 256; the small and the large ones are rarer.
    low, high = (MIN_SIDE, MAX_SIDE) if random.random() < 0.08 else (36, 100)
    length = round(np.exp(random.uniform(np.log(low), np.log(min(high, 0.62 * side)))))
    if class_index == DISTRACTOR:
        mask = _distractor_mask(random, length)
    else:
        mask = _shape_mask(random, class_index, length)
    height, width = mask.shape
    x, y = (int(random.integers(0, max(1, side - extent + 1))) for extent in (width, height))
    return Layer(class_index, mask[:side, :side], x, y)


def _shape_mask(random: np.random.Generator, class_index: int, length: int) -> np.ndarray:
    """Return a shape of any rotation whose longer side is `length` pixels."""
    corners = {"circle": 40, "square": 4, "triangle": 3, "star": 10}[CLASS_NAMES[class_index]]
    angles = 2 * np.pi * (np.arange(corners) / corners + random.random())
    radii = np.ones(corners)
    if CLASS_NAMES[class_index] == "star":
        radii[1::2] = 0.45
    points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    return _polygon_mask(points * [1.0, random.uniform(0.85, 1.0)], length)


def _distractor_mask(random: np.random.Generator, length: int) -> np.ndarray:
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


def _texture(random: np.random.Generator, side: int, *, spread: float, cells: tuple) -> np.ndarray:
    """Return (side, side, 3) float32 noise around 0: blotches of several sizes."""
    texture = np.zeros((side, side, 3), np.float32)
    for cell_count in cells:
        noise = random.normal(0, spread, (cell_count, cell_count)).astype(np.float32)
        tint = random.uniform(0.6, 1.4, 3).astype(np.float32)
        smooth = Image.fromarray(noise).resize((side, side), Image.Resampling.BILINEAR)
        texture += np.asarray(smooth)[..., None] * tint
    return texture


def _contrasting_color(
    random: np.random.Generator, class_index: int, surrounding: np.ndarray
) -> np.ndarray:
    """Draw a color of the class's hues that stands out of `surrounding` (3,)."""
    center, width = class_index / len(CLASS_NAMES), HUE_RANGE
    if class_index == DISTRACTOR:
        center, width = 0.0, 1.0
    while True:
        hue = (center + random.uniform(-width / 2, width / 2)) % 1.0
        rgb = colorsys.hsv_to_rgb(hue, random.uniform(0.5, 1), random.uniform(0.3, 1))
        color = 255 * np.array(rgb, np.float32)
        if np.abs(color - surrounding).mean() >= MIN_CONTRAST:
            return color


def _on_scene(layer: Layer, side: int) -> np.ndarray:
    covered = np.zeros((side, side), bool)
    height, width = layer.mask.shape
    covered[layer.y : layer.y + height, layer.x : layer.x + width] = layer.mask >= 128
    return covered


def _still_seen(
    layer: Layer, before: np.ndarray, after: np.ndarray, area: int, *, least: float
) -> bool:
    """Return whether a layer of `area` pixels, if hidden further, shows `least` of them."""
    if layer.class_index == DISTRACTOR or after.sum() == before.sum():
        return True
    return after.sum() >= least * area and min(_extent(after)) >= MIN_SIDE


def _bounds(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Return the xyxy of the pixels that are set."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _extent(mask: np.ndarray) -> tuple[float, float]:
    if not mask.any():
        return 0.0, 0.0
    x1, y1, x2, y2 = _bounds(mask)
    return x2 - x1, y2 - y1
