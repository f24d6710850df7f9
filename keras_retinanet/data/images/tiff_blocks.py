"""Strips and tiles of a TIFF, unpacked one by one.

libtiff, as Pillow calls it, unpacks a compressed TIFF whole. Here the bytes of one strip or tile
are put behind the header of a small TIFF of its own, with the same compression and colors, so that
every form that Pillow reads can be read in parts. Source: TIFF 6.0, sections 3, 7, 14, 15 and 22.
"""

import io
import os
from typing import Any, NamedTuple

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from keras_retinanet.files import open_regular
from keras_retinanet.files.images.decoding import as_rgb

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 273, 274, 277, 278, 279
PLANAR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 284, 322, 323, 324, 325
# What else a block needs to be unpacked: fill order, predictor, palette, extra samples, sample
# format, JPEG's tables, YCbCr's coefficients, subsampling, positioning and reference.
COPIED = (266, 317, 320, 338, 339, 347, 529, 530, 531, 532)
# One sample a pixel, where colors lie in planes of their own.
BLACK_IS_ZERO = 1
UNCOMPRESSED, OLD_JPEG = 1, 6
LONG = 4  # the type of 32 bits
# Of one block, which is unpacked whole.
MAX_BLOCK_PIXELS = 1 << 26
# Rows of an uncompressed strip, which can be cut anywhere, that are read at a time.
CUT_ROWS = 64


class Block(NamedTuple):
    """Where a strip or tile lies in the image and in the file."""

    left: int
    top: int
    width: int  # of what is stored; a tile may pass the image's end
    height: int
    offset: int
    size: int


class TiffBlocks:
    """An open TIFF, of whose first image rows are read.

    Attributes:
        refusal: why it cannot be read in parts; None: it can.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._stream = open_regular(path)
        image = TiffImageFile(self._stream)
        self._tags: Any = image.tag_v2
        self._width, self._height = image.size
        planes = self._tags.get(SAMPLES, 1)
        self._planes = planes if self._tags.get(PLANAR, 1) == 2 else 1
        self._blocks: list[list[Block]] = []
        self.refusal = self._refusal()

    def close(self) -> None:
        """Release the file."""
        self._stream.close()

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Return rows `top` to `bottom` as uint8 RGB (bottom - top, W, 3)."""
        pixels = np.empty((bottom - top, self._width, 3), np.uint8)
        planes = self._blocks[:3] if self._planes >= 3 else self._blocks[:1]
        for plane, blocks in enumerate(planes):
            channels = slice(plane, plane + 1) if len(planes) > 1 else slice(None)
            for block in blocks:
                first, last = max(top, block.top), min(bottom, block.top + block.height)
                if first >= last:
                    continue
                part = self._unpack(block)[first - block.top : last - block.top, :, channels]
                right = min(block.left + block.width, self._width)
                target = pixels[first - top : last - top, block.left : right, channels]
                target[:] = part[:, : right - block.left]
        return pixels

    def _unpack(self, block: Block) -> np.ndarray:
        """Return a block as uint8 RGB (h, w, 3)."""
        self._stream.seek(block.offset)
        packed = self._stream.read(block.size)
        if len(packed) < block.size:
            raise ValueError(f"{len(packed)} of {block.size} bytes of a strip or tile")
        with TiffImageFile(io.BytesIO(self._small_tiff(block, packed))) as image:
            return as_rgb(image)

    def _small_tiff(self, block: Block, packed: bytes) -> bytes:
        """Return a TIFF of one strip that has the bytes of `block`."""
        magic = b"II\x2a\0" if self._tags.prefix == b"II" else b"MM\0\x2a"
        directory = ImageFileDirectory_v2(magic + b"\0" * 4)
        for tag in (BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, *COPIED):
            if tag in self._tags:
                directory.tagtype[tag] = self._tags.tagtype[tag]
                directory[tag] = self._tags[tag]
        if self._planes > 1:
            directory[BITS], directory[SAMPLES] = self._tags[BITS][0], 1
            directory[PHOTOMETRIC] = BLACK_IS_ZERO
            directory.pop(338, None)
        directory[WIDTH], directory[LENGTH] = block.width, block.height
        directory[ROWS_PER_STRIP], directory[STRIP_BYTES] = block.height, len(packed)
        directory.tagtype[STRIP_OFFSETS] = LONG
        directory[STRIP_OFFSETS] = 0  # of what follows the directory, which Pillow adds
        stream = io.BytesIO()
        directory.save(stream)
        return stream.getvalue() + packed

    def _refusal(self) -> str | None:
        tags = self._tags
        if tags.get(ORIENTATION, 1) != 1:
            return f"stored turned (orientation {tags[ORIENTATION]})"
        if tags.get(COMPRESSION, 1) == OLD_JPEG:
            return "with JPEG of the kind before TIFF's technical note 2"
        self._blocks = self._planes_of_blocks()
        if not self._blocks:
            return "with strips or tiles missing"
        if max(block.width * block.height for block in self._blocks[0]) > MAX_BLOCK_PIXELS:
            return "packed as one piece or a few"
        return None

    def _planes_of_blocks(self) -> list[list[Block]]:
        """Return the strips or tiles of each plane; none where some are missing."""
        tags, is_tiled = self._tags, TILE_OFFSETS in self._tags
        width = tags[TILE_WIDTH] if is_tiled else self._width
        length = tags[TILE_LENGTH] if is_tiled else tags.get(ROWS_PER_STRIP, self._height)
        across, down = -(-self._width // width), -(-self._height // length)
        places = [(column * width, row * length) for row in range(down) for column in range(across)]
        offsets = tags[TILE_OFFSETS if is_tiled else STRIP_OFFSETS]
        sizes = tags[TILE_BYTES if is_tiled else STRIP_BYTES]
        if not len(places) * self._planes <= min(len(offsets), len(sizes)):
            return []
        planes = []
        for plane in range(self._planes):
            first = plane * len(places)
            blocks = [
                # The last strip ends with the image, the last tile does not.
                Block(left, top, width, length if is_tiled else min(length, self._height - top),
                      offsets[first + index], sizes[first + index])
                for index, (left, top) in enumerate(places)
            ]  # fmt: skip
            if not is_tiled and tags.get(COMPRESSION, 1) == UNCOMPRESSED:
                blocks = [cut for block in blocks for cut in _cut(block)]
            planes.append(blocks)
        return planes


def _cut(block: Block) -> list[Block]:
    """Return an uncompressed strip as several of `CUT_ROWS` rows."""
    row = block.size // block.height
    if row * block.height != block.size:
        return [block]
    return [
        block._replace(
            top=block.top + first,
            height=min(CUT_ROWS, block.height - first),
            offset=block.offset + first * row,
            size=min(CUT_ROWS, block.height - first) * row,
        )
        for first in range(0, block.height, CUT_ROWS)
    ]
