"""Images beyond `MAX_PIXELS`, read in bands of rows: never the whole raster is in memory.

Of a TIFF only the strips or tiles of a band are unpacked. Other formats cannot be read in parts
(TensorFlow crops no JPEG beyond the same limit, Pillow none at all): they are refused with a line
that says what to convert them to.
"""

import errno
import math
import os
import weakref
from pathlib import Path

import numpy as np

from keras_retinanet.data.images.tiff_blocks import TiffBlocks
from keras_retinanet.files.images import headers
from keras_retinanet.files.images.headers import Header, PictureError, read_header

# Of a reduced copy, in pixels: more than any network input, and enough to look at.
REDUCED_SIDE = 4096
# Rows that are read at a time for it.
ROWS = 256
# More pixels than any file has.
NO_LIMIT = 1 << 62


class Raster:
    """A large image of which windows are read; keeps the last band of rows.

    Attributes:
        height, width: in pixels.
    """

    def __init__(self, path: Path, header: Header, blocks: TiffBlocks):
        self.height, self.width = header.height, header.width
        self._path, self._blocks = path, blocks
        weakref.finalize(self, blocks.close)  # for one that nobody closes
        self._span, self._band = (0, 0), np.zeros((0, 0, 3), np.uint8)
        self._reduced: tuple[np.ndarray, int] | None = None

    def window(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """Return a window as uint8 RGB (bottom - top, right - left, 3).

        Windows that are asked for row by row cost one reading of each row.

        Raises:
            PictureError: the file is damaged there.
        """
        if (top, bottom) != self._span:
            self._span, self._band = (0, 0), np.zeros((0, 0, 3), np.uint8)
            self._band = self._read(top, bottom)
            self._span = top, bottom
        return self._band[:, left:right]

    def reduced(self) -> tuple[np.ndarray, int]:
        """Return a copy (h, w, 3), of some thousand pixels a side, and how much smaller it is."""
        if self._reduced is None:
            self._reduced = self._reduce()
        return self._reduced

    def close(self) -> None:
        """Release the file."""
        self._blocks.close()

    def _reduce(self) -> tuple[np.ndarray, int]:
        factor = math.ceil(max(self.height, self.width) / REDUCED_SIDE)
        step = factor * max(1, ROWS // factor)
        parts = [
            _mean_blocks(self._read(top, min(top + step, self.height)), factor)
            for top in range(0, self.height, step)
        ]
        return np.concatenate(parts), factor

    def _read(self, top: int, bottom: int) -> np.ndarray:
        try:
            return self._blocks.rows(top, bottom)
        except PictureError:
            raise
        except Exception as error:  # Pillow's plugins raise whatever their parser raised.
            raise headers.unreadable(f"file {self._path}", error) from error


def open_raster(path: str | os.PathLike[str]) -> Raster | None:
    """Open an image beyond `MAX_PIXELS`; None: it has fewer and is decoded whole.

    Raises:
        PictureError: it is no image, or one that cannot be read in bands.
    """
    path = Path(path)
    header = read_header(path, max_pixels=NO_LIMIT)
    if header.height * header.width <= headers.MAX_PIXELS:
        return None
    if header.kind != "TIFF":
        raise _whole_only(path, header, f"a {header.kind}")
    blocks = TiffBlocks(path)
    if blocks.refusal is not None:
        blocks.close()
        raise _whole_only(path, header, blocks.refusal)
    return Raster(path, header, blocks)


def raster_size(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return (height, width) of an image beyond `MAX_PIXELS` that can be read in parts, or None."""
    try:
        raster = open_raster(path)
    except (PictureError, OSError):
        return None
    if raster is None:
        return None
    raster.close()
    return raster.height, raster.width


def parts_advice(error: Exception) -> str:
    """Return what to add to the error of an image that was decoded whole; "" for another one."""
    is_huge = isinstance(error, PictureError) and error.kind == headers.HUGE
    is_huge |= isinstance(error, OSError) and error.errno == errno.EFBIG
    advice = (
        " With --tile PX, predict and evaluate read a large TIFF in parts; dataset tile cuts it."
    )
    return advice if is_huge else ""


def _whole_only(path: Path, header: Header, why: str) -> PictureError:
    return PictureError(
        f"Expected a TIFF of strips or tiles: an image beyond {headers.MAX_PIXELS} pixels is read "
        f"in parts. Received: {path}, {header.width} x "
        f"{header.height} pixels, {why}. Convert it, for example with: "
        "gdal_translate -co TILED=YES -co COMPRESS=DEFLATE IN OUT.tif",
        headers.HUGE,
    )


def _mean_blocks(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Return the means of blocks of `factor` x `factor` pixels; the last ones repeat the edge."""
    down, right = (-side % factor for side in pixels.shape[:2])
    padded = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge")
    rows, columns = (side // factor for side in padded.shape[:2])
    blocks = padded.reshape(rows, factor, columns, factor, 3)
    return np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)
