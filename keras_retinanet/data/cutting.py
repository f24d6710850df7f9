"""A data set of large images -> the data set of their tiles, which are cut when they are read.

Shape letters: N boxes of an image, T tiles.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from keras_retinanet.data.images.exif import turn_image
from keras_retinanet.data.images.rasters import open_raster
from keras_retinanet.data.problems import Problems
from keras_retinanet.data.records import Dataset, ImageRef, Record
from keras_retinanet.files.images import headers
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import PictureError
from keras_retinanet.files.images.image_formats import image_format
from keras_retinanet.modeling.tiling import tile_windows

# At this quality, without chroma subsampling, a second compression cannot be seen.
JPEG_QUALITY = 95
# Sources that have lost nothing yet.
LOSSLESS = ("PNG", "BMP", "GIF", "TIFF")
# From left, top, right, bottom to the pixels of a window.
Crop = Callable[[int, int, int, int], np.ndarray]


class TileReader:
    """Reads tiles, each an `ImageRef` whose `offset` is its number: PNG or JPEG, as its image is.

    Keeps the last image, for tiles are asked for image by image.

    Args:
        source: the data set of the images.
        owners: (T,) of each tile the number of its record in `source`.
        windows: (T, 4) xyxy in pixels.
    """

    def __init__(self, source: Dataset, owners: Sequence[int], windows: np.ndarray):
        self._images = [(r.image, r.orientation, (r.height, r.width)) for r in source.records]
        self._reader, self._owners, self._windows = source.reader, owners, windows
        self._last: tuple[int, Crop, bool] | None = None

    def __call__(self, image: ImageRef) -> bytes:
        owner = self._owners[image.offset]
        if self._last is None or self._last[0] != owner:
            self._last = None
            self._last = (owner, *self._open(owner))
        _, crop, is_lossless = self._last
        stream = io.BytesIO()
        tile = Image.fromarray(crop(*self._windows[image.offset].tolist()))
        if is_lossless:
            tile.save(stream, "PNG")
        else:
            tile.save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return stream.getvalue()

    def _open(self, owner: int) -> tuple[Crop, bool]:
        """Return what cuts an image, turned as its boxes are; whether it is stored without loss."""
        image, orientation, size = self._images[owner]
        if math.prod(size) > headers.MAX_PIXELS and (raster := open_raster(image.path)):
            _require_size((raster.height, raster.width), size, image)
            return raster.window, True
        encoded = self._reader(image)
        pixels = turn_image(decode_image(encoded), orientation)
        _require_size(pixels.shape[:2], size, image)
        is_lossless = image_format(encoded) in LOSSLESS
        return lambda left, top, right, bottom: pixels[top:bottom, left:right], is_lossless


def _require_size(found: tuple[int, ...], annotated: tuple[int, int], image: ImageRef) -> None:
    if found != annotated:
        raise PictureError(
            f"Expected an image of {annotated[1]} x {annotated[0]} pixels, as annotated. Received: "
            f"{found[1]} x {found[0]} in {image.path}."
        )


@dataclass(frozen=True)
class TileCounts:
    """What became of the images of a split.

    Attributes:
        images, boxes: of the source.
        tiles, tile_boxes: that are written; a box in two tiles counts twice.
        empty, kept: tiles without a box, and how many of them are written.
        lost: boxes of which no tile shows enough.
    """

    images: int
    boxes: int
    tiles: int
    tile_boxes: int
    empty: int
    kept: int
    lost: int


def cut_dataset(
    dataset: Dataset, *, side: int, overlap: float, min_visible: float, empty: float
) -> tuple[Dataset, TileCounts]:
    """Return the tiles of `dataset` as a data set of their own.

    A box is cut at the borders of its tile. It is dropped where less than `min_visible` of its
    area is left, as in training; a box to ignore where nothing is left.

    Args:
        side, overlap: as `tile_windows` takes them.
        empty: share of the tiles without a box to keep, evenly spread; 1: all.

    Raises:
        UserError: a side or an overlap out of range.
    """
    records: list[Record] = []
    owners: list[int] = []
    windows: list[np.ndarray] = []
    empties = kept = lost = 0
    for owner, record in enumerate(dataset.records):
        seen = np.zeros(len(record.boxes), bool)
        for name, window in _named_windows(record, side, overlap):
            tile, rows = _cut(record, window, min_visible)
            seen[rows] = True
            if not len(rows):
                empties += 1
                if int(empties * empty) == int((empties - 1) * empty):
                    continue
                kept += 1
            place = ImageRef(record.image.path, offset=len(records), length=0)
            records.append(replace(tile, image=place, image_id=name, file_name=name))
            owners.append(owner)
            windows.append(window)
        lost += int((~seen).sum())
    counts = TileCounts(
        images=len(dataset.records),
        boxes=sum(len(record.boxes) for record in dataset.records),
        tiles=len(records),
        tile_boxes=sum(len(record.boxes) for record in records),
        empty=empties,
        kept=kept,
        lost=lost,
    )
    reader = TileReader(dataset, owners, np.array(windows).reshape(-1, 4))
    problems = Problems(strict=dataset.problems.strict)
    return replace(dataset, records=records, reader=reader, problems=problems), counts


def _named_windows(record: Record, side: int, overlap: float) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the tiles of an image, row by row, each with a name that tells its row and column."""
    windows = tile_windows(record.height, record.width, tile=side, overlap=overlap)
    tops, rows = np.unique(windows[:, 1], return_inverse=True)
    lefts, columns = np.unique(windows[:, 0], return_inverse=True)
    digits = len(str(max(len(tops), len(lefts)) - 1))
    path = PurePosixPath(record.file_name)
    for row, column, window in zip(rows, columns, windows, strict=True):
        stem = f"{path.stem}_r{row:0{digits}d}_c{column:0{digits}d}"
        yield str(path.with_name(f"{stem}{path.suffix}")), window


def _cut(record: Record, window: np.ndarray, min_visible: float) -> tuple[Record, np.ndarray]:
    """Return the record of a tile, and which boxes of `record` it has."""
    left, top, right, bottom = window.tolist()
    # What lies outside the image was never seen, and is not what the cut takes away.
    limits = np.tile(np.array([record.width, record.height], np.float32), 2)
    whole = np.clip(record.boxes, 0, limits)
    cut = np.clip(whole, [left, top, left, top], [right, bottom, right, bottom])
    has_area = (cut[:, 2:] > cut[:, :2]).all(axis=1)
    shares = _areas(cut) / np.maximum(_areas(whole), np.finfo(np.float32).tiny)
    rows = np.flatnonzero(has_area & (record.ignore | (shares >= min_visible)))
    tile = replace(
        record,
        height=bottom - top,
        width=right - left,
        boxes=(cut[rows] - [left, top, left, top]).astype(np.float32),
        classes=record.classes[rows],
        ignore=record.ignore[rows],
        areas=(record.areas[rows] * shares[rows]).astype(np.float32),
        orientation=1,
    )
    return tile, rows


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).astype(np.float64).prod(axis=1)
