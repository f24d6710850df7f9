"""Rules about the images: the network's input, anchors, augmentation, rare classes."""

import math
import re
from typing import Any

import numpy as np

from keras_retinanet.config.model import LEVELS
from keras_retinanet.data.pipeline.plan import canvas_counts
from keras_retinanet.doctor.anchor_fitting import best_ious, coverage, fit, network_boxes
from keras_retinanet.errors import counted
from keras_retinanet.modeling.anchors import Anchors
from keras_retinanet.modeling.preprocessing import Preprocessing
from keras_retinanet.training.auto.decision import Decision, Situation
from keras_retinanet.training.auto.paces import images_per_second
from keras_retinanet.training.auto.run_rules import FEWEST_PASSES

# Side of the small objects (one in ten is smaller) in the network's input: three cells of P3.
SMALL_SIDE = 24.0
# Stride of P5: sides of the input are multiples of it.
CELL = 32
LONG_SIDES = (320, 416, 512, 640, 800, 1024, 1344)
# No smaller by choice, but only for want of time: boxes are then placed less exactly.
USUAL_SIDE = 416
# Tiles are for images in which half of the objects are smaller than this in the largest input that
# the time allows, and which are this many inputs long.
TINY_SIDE, TILED_FROM = 12.0, 1.5
LARGEST_TILE = 800
# Images that a run should see: its fewest passes, but these at least, and these are enough to
# learn something from any data set.
WORTH_SEEING, ENOUGH = 3_000, 8_000
# Anchors are this many strides wide: the paper's 4 for its 800 pixels, less for smaller inputs.
ANCHOR_STRIDES = 3
# Share of the boxes that those should reach; else anchors are fitted.
COVERED = 0.95
# From this factor between the images of the most frequent and of the rarest class on.
RARE = 10.0
# Classes in a smaller share of the images than this are repeated.
BALANCE = 0.03
# Names of classes that a flip would make wrong: a side of a body or a road, a letter, a digit.
SIDED = re.compile(r"(^|[\W_])(left|right)([\W_]|$)|^[a-z0-9]$", re.IGNORECASE)


def tiles(s: Situation) -> Decision | None:
    """Decide for tiles where objects would vanish in the largest input that the time allows."""
    if s.given & _sides(0, 1.0).keys():
        return None
    median = float(np.median(s.data.sides))
    # Objects of a few pixels are enlarged, at most twice: there is nothing more to see.
    zoom = min(2.0, max(1.0, SMALL_SIDE / median))
    if "model.tiles.side" in s.given:
        side = s.config.model.tiles.side
        return (
            Decision(_sides(_whole_cells(side * zoom), 1.0), f"tiles of {side}") if side else None
        )
    whole = max(_affordable(s), default=LONG_SIDES[0])
    seen = median * min(1.0, whole / s.data.long_side)
    if seen >= TINY_SIDE or s.data.long_side < TILED_FROM * USUAL_SIDE:
        return None
    wanted = max(USUAL_SIDE / zoom, 3 * float(np.percentile(s.data.sides, 95)))
    side = _whole_cells(min(wanted, LARGEST_TILE / zoom))
    return Decision(
        {"model.tiles.side": side} | _sides(_whole_cells(side * zoom), 1.0),
        f"half of the objects would be below {seen:.0f} px in whole images of {whole}; training, "
        "detection and evaluation see tiles",
    )


def input_size(s: Situation) -> Decision | None:
    """Decide the network's input: small objects should span cells, and time must suffice."""
    if s.given & _sides(0, 1.0).keys() or s.config.model.tiles.side:
        return None
    relative = s.data.relative_sides
    small = float(np.percentile(relative, 10)) if len(relative) else 1.0
    wanted = next((side for side in LONG_SIDES if side * small >= SMALL_SIDE), LONG_SIDES[-1])
    stored = next((side for side in LONG_SIDES if side >= s.data.long_side), LONG_SIDES[-1])
    affordable = _affordable(s)
    limits = {
        f"so that nine objects in ten have {SMALL_SIDE:.0f} px": max(wanted, USUAL_SIDE),
        f"the images have {s.data.long_side}": stored,
        "more pixels would leave too few steps": max(affordable, default=LONG_SIDES[0]),
    }
    reason, long = min(limits.items(), key=lambda item: item[1])
    return Decision(_sides(long, s.data.aspect), reason)


def _affordable(s: Situation) -> list[int]:
    """Return the long sides at which the run sees enough images."""
    needed = min(max(FEWEST_PASSES * s.data.images, WORTH_SEEING), ENOUGH)
    return [side for side in LONG_SIDES if _seen(s, side) >= needed]


def _seen(s: Situation, long: int) -> float:
    """Return how many images the run trains on at an input of this long side."""
    seconds = s.config.train.minutes * 60 or math.inf
    pixels = math.prod(_sides(long, s.data.aspect).values())
    return seconds * images_per_second(s.config.model.backbone.name, pixels, s.machine)


def _sides(long: int, aspect: float) -> dict[str, int]:
    return {
        "model.preprocessing.short_side": _whole_cells(long * aspect),
        "model.preprocessing.long_side": long,
    }


def _whole_cells(side: float) -> int:
    """Return `side` rounded up to what the cells of P3 to P5 fill."""
    return max(CELL, math.ceil(side / CELL) * CELL)


def canvas(s: Situation) -> Decision | None:
    """Decide for one square canvas where the images of each shape would not fill a batch."""
    preprocessing = Preprocessing(**vars(s.config.model.preprocessing))
    shapes = len(canvas_counts(s.data.dataset, preprocessing, tile=s.config.model.tiles.side))
    batch = s.config.train.batch_size
    if shapes == 1 or s.data.images >= shapes * batch:
        return None
    side = preprocessing.long_side
    return Decision(
        {"model.preprocessing.canvas": "square", "model.preprocessing.short_side": side},
        f"images of {shapes} shapes would not fill batches of {batch}, which are of one shape",
    )


def anchors(s: Situation) -> Decision | None:
    """Decide the anchors: 3 strides wide, or fitted where those miss boxes."""
    if s.config.train.weights is not None:
        return None
    start = Anchors(sizes=tuple(ANCHOR_STRIDES * 2.0**level for level in LEVELS))
    preprocessing = Preprocessing(**vars(s.config.model.preprocessing))
    tile = s.config.model.tiles.side
    boxes, canvases = network_boxes(s.data.dataset, preprocessing, tile=tile)
    before = coverage(best_ious(boxes, canvases, start)).at_50
    if before >= COVERED:
        reason = f"3 strides: {before:.1%} of the boxes have an anchor with IoU .5"
        return Decision({"model.anchors.sizes": start.sizes}, reason)
    fitted = fit(boxes, canvases, start, seed=s.config.train.seed)
    after = coverage(best_ious(boxes, canvases, fitted)).at_50
    return Decision(
        {f"model.anchors.{name}": getattr(fitted, name) for name in ("sizes", "scales", "ratios")},
        f"fitted: {after:.1%} of the boxes have an anchor with IoU .5; {before:.1%} had",
    )


def augmentation(s: Situation) -> Decision:
    """Decide the random changes of training images."""
    values: dict[str, Any] = {"data.augment.scale": (0.7, 1.4), "data.augment.color": 0.2}
    sided = [name for name in s.data.class_names if SIDED.search(name)]
    if sided:
        values["data.augment.flip"] = 0.0
        return Decision(values, f"without flips: a flipped {sided[0]} would be wrong")
    if s.data.has_no_up:
        values |= {"data.augment.flip_vertical": 0.5, "data.augment.rotate90": 0.5}
        return Decision(values, "the boxes show no up and down, as from above")
    return Decision(values, "besides flips to the other side")


def room(s: Situation) -> Decision:
    """Decide how many boxes of an image a batch holds."""
    most = counted(s.data.most_objects, "box")
    return Decision({"data.max_boxes": "auto"}, f"all of the fullest image, {most}")


def balance(s: Situation) -> Decision | None:
    """Decide whether images with rare classes are drawn more often."""
    counts = s.data.class_images
    present = counts[counts > 0]
    if not len(present) or present.max() < RARE * present.min():
        return None
    rarest = s.data.class_names[np.flatnonzero(counts == present.min())[0]]
    fewest = counted(int(present.min()), "image")
    return Decision(
        {"data.balance": BALANCE},
        f"{rarest} is in {fewest} only, the most frequent class in {present.max():,}",
    )
