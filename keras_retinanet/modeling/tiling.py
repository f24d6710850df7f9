"""Large images in overlapping tiles: small objects keep their pixels, seams leave no trace.

Shape letters: T tiles, N detections.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_retinanet.config.tiles import MAX_OVERLAP, MIN_TILE
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.composed import ComposedDetector
from keras_retinanet.modeling.detecting import Images, detect_images, image_arrays
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.numpy_boxes import corner_overlaps

if TYPE_CHECKING:
    from keras_retinanet.data.images.rasters import Raster

# A box that ends this close to a tile's edge, as a share of the tile, is taken to be cut by it.
CUT_MARGIN = 0.01
# What is cut is dropped if this share of it lies in a better box of its class.
COVERED = 0.7


def tile_windows(height: int, width: int, *, tile: int, overlap: float) -> np.ndarray:
    """Return the tiles of an image: evenly spread, all of one size, up to every border.

    Args:
        tile: side of a tile in pixels; a shorter side of the image is taken whole.
        overlap: the least share of a tile that it has in common with the next one, 0 to .9.

    Returns:
        (T, 4) int64 xyxy in pixels, row by row.

    Raises:
        UserError: a tile or an overlap out of range.
    """
    if not tile >= MIN_TILE:
        raise UserError(f"Expected tiles of at least {MIN_TILE} pixels. Received: tile={tile}.")
    if not 0 <= overlap <= MAX_OVERLAP:
        raise UserError(
            f"Expected tiles that overlap by 0 to {MAX_OVERLAP} of their side. "
            f"Received: overlap={overlap}."
        )
    tops, lefts = (_starts(side, tile, overlap) for side in (height, width))
    return np.array(
        [
            (left, top, left + min(tile, width), top + min(tile, height))
            for top in tops
            for left in lefts
        ]
    )


def _starts(side: int, tile: int, overlap: float) -> list[int]:
    if side <= tile:
        return [0]
    step = max(1, tile - math.ceil(tile * overlap))
    count = math.ceil((side - tile) / step) + 1
    return [round(start) for start in np.linspace(0, side - tile, count)]


def merge_tiles(
    found: Sequence[Detections],
    windows: np.ndarray,
    *,
    size: tuple[int, int],
    iou: float,
) -> Detections:
    """Merge the detections in the tiles of one image, by greedy suppression in each class.

    Boxes that no seam cuts come first, the best of them first; the cut ones follow. A box is
    dropped if one chosen before overlaps it by more than `iou`; a cut one also if it lies mostly
    within one of another tile: the rest of its object is there.

    Args:
        found: the detections of each tile, boxes in pixels of the tile.
        windows: (T, 4) the tiles, xyxy in pixels of the image; the whole image may be one.
        size: (height, width) of the image.
        iou: as for non-maximum suppression.

    Returns:
        Detections in pixels of the image, best first.
    """
    boxes = np.concatenate(
        [part.boxes + np.tile(window[:2], 2) for part, window in zip(found, windows, strict=True)]
    ).astype(np.float64)
    scores = np.concatenate([part.scores for part in found])
    classes = np.concatenate([part.classes for part in found])
    tiles = np.repeat(np.arange(len(windows)), [len(part) for part in found])
    is_cut = cut_by_seams(boxes, windows[tiles], size)
    order = np.lexsort((-scores, is_cut))
    chosen: list[int] = []
    for class_id in np.unique(classes):
        waiting = order[classes[order] == class_id]
        while len(waiting):
            first, waiting = waiting[0], waiting[1:]
            chosen.append(first)
            (shared,), (covered,) = corner_overlaps(boxes[first][None], boxes[waiting])
            part = is_cut[waiting] & (tiles[waiting] != tiles[first]) & (covered >= COVERED)
            waiting = waiting[~(part | (shared > iou))]
    rows = np.array(sorted(chosen), np.int64)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    return Detections(
        boxes[rows].astype(np.float32), scores[rows], classes[rows], found[0].class_names
    )


def cut_by_seams(boxes: np.ndarray, tiles: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return which boxes end at a seam: (N,) bool.

    Args:
        boxes: (N, 4) float xyxy in pixels of the image.
        tiles: (N, 4) the tile that each is from.
        size: (height, width) of the image, whose own borders are no seams.
    """
    height, width = size
    margins = np.maximum(1.0, CUT_MARGIN * np.tile(tiles[:, 2:] - tiles[:, :2], 2))
    is_seam = tiles != np.array([0, 0, width, height])
    return ((np.abs(boxes - tiles) <= margins) & is_seam).any(axis=1)


class Tiled(ComposedDetector):
    """Passes over the tiles of an image, and over all of it at once; see `with_tiles`.

    Each is one pass of `inner` by its three steps, whatever tiles `inner` itself is configured for.
    """

    def __init__(self, inner: Any, *, tile: int, overlap: float, whole: bool):
        super().__init__(inner)
        self.tile, self.overlap, self.whole = tile, overlap, whole

    def detect(self, images: Images, *, batch_size: int = 8) -> list[Detections]:
        """Detect objects in images of any sizes; as `RetinaNet.detect`, `batch_size` tiles at once.

        An image may give more than `max_detections`, which bounds each tile.
        """
        return [self._detect(image, batch_size) for image in image_arrays(images)]

    def detect_raster(self, raster: "Raster", *, batch_size: int = 8) -> Detections:
        """Detect objects in an image that is too large to decode; as `detect` does in one.

        The pass over the whole image sees a reduced copy (`Raster.reduced`).

        Raises:
            PictureError: the file is damaged.
        """
        size = raster.height, raster.width
        return self._merged(size, raster.window, lambda: _detect_reduced(self.inner, raster),
                            batch_size=batch_size)  # fmt: skip

    def _detect(self, image: np.ndarray, batch_size: int) -> Detections:
        def crop(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            return image[top:bottom, left:right]

        return self._merged(
            image.shape[:2],
            crop,
            lambda: detect_images(self.inner, image, batch_size=1)[0],
            batch_size=batch_size,
        )

    def _merged(
        self,
        size: tuple[int, ...],
        crop: Callable[[int, int, int, int], np.ndarray],
        detect_whole: Callable[[], Detections],
        *,
        batch_size: int,
    ) -> Detections:
        """Return the detections in all tiles of an image of `size` (h, w), and in the whole."""
        height, width = size
        windows = tile_windows(height, width, tile=self.tile, overlap=self.overlap)
        found: list[Detections] = []
        # In shares, because a detector of several passes copies its images.
        for start in range(0, len(windows), batch_size):
            crops = [crop(*window) for window in windows[start : start + batch_size].tolist()]
            found += detect_images(self.inner, crops, batch_size=batch_size)
        if len(windows) == 1:
            return found[0]
        if self.whole:
            # What is smaller than the overlap is whole in some tile, and seen better there.
            windows = np.concatenate([windows, [(0, 0, width, height)]])
            found.append(longer_than(self.overlap * self.tile, detect_whole()))
        iou = self.config.detections.nms_iou
        return merge_tiles(found, windows, size=(height, width), iou=iou)


def _detect_reduced(model: Any, raster: "Raster") -> Detections:
    """Return what `model` finds in the reduced copy of `raster`, in pixels of the raster."""
    image, factor = raster.reduced()
    (found,) = detect_images(model, image, batch_size=1)
    corners = np.tile(np.array([raster.width, raster.height], np.float32), 2)
    return dataclasses.replace(found, boxes=np.minimum(found.boxes * factor, corners))


def longer_than(pixels: float, found: Detections) -> Detections:
    """Return the detections whose longer side is more than `pixels`."""
    return found.select((found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1) > pixels)


def with_tiles(model: Any, *, tile: int, overlap: float = 0.2, whole: bool = True) -> Tiled:
    """Return a detector that runs on tiles of images larger than `tile`, and once on the whole.

    Args:
        model: a RetinaNet, an exported file, or what `with_test_time` gave.
        tile: side of a tile in pixels of the image, which the model resizes as any image.
        overlap: the least share of a tile that it has in common with the next; an object smaller
            than that is never cut in all tiles.
        whole: a pass over the resized image too, for objects larger than that.

    Raises:
        UserError: a tile or an overlap out of range.
    """
    tile_windows(1, 1, tile=tile, overlap=overlap)  # raises now, not at the first image
    return Tiled(model, tile=tile, overlap=overlap, whole=whole)


def is_tiled(model: Any) -> bool:
    """Return whether `model` detects in tiles: by `with_tiles`, or by its own configuration."""
    return isinstance(model, Tiled) or bool(model.config.tiles.side)


def with_own_tiles(model: Any) -> Any:
    """Return `model`, or its passes over the tiles that it is configured for (`config.tiles`).

    Args:
        model: a RetinaNet, an exported file or a composed detector.
    """
    tiles = model.config.tiles
    if not tiles.side or isinstance(model, Tiled):
        return model
    return with_tiles(model, tile=tiles.side, overlap=tiles.overlap, whole=tiles.whole)


def detect(model: Any, images: Images, *, batch_size: int) -> list[Detections]:
    """Return the detections of one image or of several, in tiles if `model` is configured for them.

    Raises:
        ValueError: as `image_arrays`.
    """
    detector = with_own_tiles(model)
    if detector is model:
        return detect_images(model, images, batch_size=batch_size)
    return detector.detect(images, batch_size=batch_size)
