"""The dataset that needs no file: scenes of four shapes, drawn from a seed.

Each class keeps to a part of the hues, as real objects often do, but color alone finds nothing:
distractors of no class have any hue, and the background is textured. Shapes hide each other by up
to 40%, so that a scene must be seen, not thresholded. Cluttered scenes hold less of what counts and
more of what does not: one to three small shapes, stars rarely, among dozens of distractors, many of
which are parts of shapes.
"""

import colorsys
import functools
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from keras_retinanet.config import DataConfig
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, make_record
from keras_retinanet.data.sources.shape_masks import CORNERS, distractor_mask, part_mask, shape_mask
from keras_retinanet.data.splits import match_split

CLASS_NAMES = list(CORNERS)
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
PLACING_ATTEMPTS = 30
CACHED_SCENES = 1024
CLUTTERED = ":cluttered"
DISTRACTOR = -1
# Cluttered scenes. A star is one object of twenty.
CLUTTERED_CLASSES = (0.4, 0.3, 0.25, 0.05)
CLUTTERED_OBJECTS = 3
CLUTTERED_DISTRACTORS = (24, 40)
CLUTTERED_SIDES = (14, 32)
CLUTTERED_PARTS = 0.5  # share of the distractors


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
        config: `shapes_train`, `shapes_val` (also the number of test scenes), `shapes_size` and
            `shapes_clutter`.
        split: "train", "val" or "test" (None: "train").

    Returns:
        Boxes are those of the visible part of each shape.

    Raises:
        UserError: there is no such split.
    """
    split = match_split(split or "train", list(STREAMS), "shapes")
    count = config.shapes_train if split == "train" else config.shapes_val
    side, cluttered = config.shapes_size, config.shapes_clutter
    records = []
    for index in range(count):
        layers, _ = lay_out(split, index, side, cluttered=cluttered)
        visible = visible_masks(layers, side)
        objects = [
            (_bounds(mask), layer.class_index, False, float(mask.sum()))
            for layer, mask in zip(layers, visible, strict=True)
            if layer.class_index != DISTRACTOR
        ]
        name = f"shapes:{split}:{index}:{side}{CLUTTERED if cluttered else ''}"
        image, size = ImageRef(name), (side, side)
        records.append(
            make_record(index, image, size, file_name=name, objects=objects, problems=Problems())
        )
    ids = list(range(1, len(CLASS_NAMES) + 1))
    return Dataset("shapes", split, CLASS_NAMES, ids, records, reader=read_scene)


def read_scene(image: ImageRef) -> bytes:
    """Return the BMP file of the scene that `image` names: "shapes:<split>:<index>:<side>".

    The name of a cluttered scene ends in ":cluttered".
    """
    _, split, index, side = image.path.removesuffix(CLUTTERED).split(":")
    return _encoded(split, int(index), int(side), image.path.endswith(CLUTTERED))


@functools.lru_cache(maxsize=CACHED_SCENES)
def _encoded(split: str, index: int, side: int, cluttered: bool) -> bytes:
    stream = io.BytesIO()
    # Noise hardly compresses: PNG would save little and take half as long as drawing does.
    Image.fromarray(draw(split, index, side, cluttered=cluttered)).save(stream, "BMP")
    return stream.getvalue()


def lay_out(
    split: str, index: int, side: int, *, cluttered: bool = False
) -> tuple[list[Layer], np.random.Generator]:
    """Return the layers of a scene, back to front, and the random state to color it with."""
    random = np.random.default_rng([SEED, STREAMS[split], index])
    order = _classes(random, side, cluttered)
    layers: list[Layer] = []
    # Of the shapes alone: distractors may be hidden.
    visible: list[np.ndarray] = []
    areas: list[int] = []
    for class_index in (order[i] for i in random.permutation(len(order))):
        # A crowded scene may have no place left for a shape; the first always has one.
        for _ in range(PLACING_ATTEMPTS):
            layer = _random_layer(random, class_index, side, cluttered=cluttered)
            covered = _on_scene(layer, side)
            if class_index != DISTRACTOR and min(_extent(covered)) < MIN_SIDE:
                continue
            left = [mask & ~covered for mask in visible]
            least = MIN_VISIBLE if random.random() < MUCH_HIDING else USUAL_VISIBLE
            hidden = zip(visible, left, areas, strict=True)
            if all(_still_seen(*row, least=least) for row in hidden):
                layers, visible = [*layers, layer], left
                if class_index != DISTRACTOR:
                    visible.append(covered)
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


def draw(split: str, index: int, side: int, *, cluttered: bool = False) -> np.ndarray:
    """Return the image of a scene: (side, side, 3) uint8 RGB."""
    layers, random = lay_out(split, index, side, cluttered=cluttered)
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


def _classes(random: np.random.Generator, side: int, cluttered: bool) -> list[int]:
    """Return the class of each layer to place, the distractors last."""
    if cluttered:
        count = int(random.integers(1, CLUTTERED_OBJECTS + 1))
        shapes = random.choice(len(CLASS_NAMES), count, p=CLUTTERED_CLASSES)
        distractors = random.integers(*CLUTTERED_DISTRACTORS)
    else:
        shapes = random.integers(len(CLASS_NAMES), size=_object_count(random, side))
        distractors = random.integers(2, 6)
    return shapes.tolist() + [DISTRACTOR] * int(distractors)


def _object_count(random: np.random.Generator, side: int) -> int:
    # A small scene cannot hold twelve shapes of a usual size.
    most = min(MAX_OBJECTS, max(MIN_OBJECTS, side // 21))
    return int(random.integers(MIN_OBJECTS, most + 1, 2).min())  # sparse scenes are more common


def _random_layer(
    random: np.random.Generator, class_index: int, side: int, *, cluttered: bool
) -> Layer:
    if cluttered:
        low, high = CLUTTERED_SIDES
    else:
        # Mostly 36..100 px in a scene of 256; the small and the large ones are rarer.
        low, high = (MIN_SIDE, MAX_SIDE) if random.random() < 0.08 else (36, 100)
    length = round(np.exp(random.uniform(np.log(low), np.log(min(high, 0.62 * side)))))
    if class_index != DISTRACTOR:
        mask = shape_mask(random, CLASS_NAMES[class_index], length)
    elif cluttered and random.random() < CLUTTERED_PARTS:
        mask = part_mask(random, length)
    else:
        mask = distractor_mask(random, length)
    height, width = mask.shape
    x, y = (int(random.integers(0, max(1, side - extent + 1))) for extent in (width, height))
    return Layer(class_index, mask[:side, :side], x, y)


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


def _still_seen(before: np.ndarray, after: np.ndarray, area: int, *, least: float) -> bool:
    """Return whether a shape of `area` pixels, if hidden further, shows `least` of them."""
    if after.sum() == before.sum():
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
