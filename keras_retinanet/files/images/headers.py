"""What an image file says of itself before its pixels: format, size, EXIF. Nothing is decoded.

The format is told by the first bytes, never by the name. JPEG and PNG are read here, because most
datasets are made of them; of the others Pillow's own readers are used, one format each, so that
no other parser of Pillow can be reached by a file.
"""

import io
import os
import struct
from typing import BinaryIO, NamedTuple

from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from keras_retinanet.errors import UserError
from keras_retinanet.files import open_regular, read_regular
from keras_retinanet.files.images.image_formats import image_format

# Twice Pillow's own limit, at which it refuses too: what promises more is a decompression bomb.
MAX_PIXELS = 178_956_970
# Kinds of `problems.KINDS`.
UNREADABLE, HUGE = "unreadable picture", "huge picture"
# Bytes of one file: that many pixels of RGB without any compression.
MAX_PICTURE_BYTES = 512 << 20
READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "WEBP": WebPImageFile,
    "TIFF": TiffImageFile,
}
# JPEG's frame headers (ITU T.81, table B.1): C4, C8 and CC among them are something else.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_END_OR_SCAN = (0xD9, 0xDA)
_APP1 = 0xE1
# Decoders look past rubbish between two markers; this much of it is a damaged file.
_MAX_RUBBISH = 4096
# Segments or chunks before the pixels: text and profiles make dozens, a file of nothing else takes
# minutes to pass over.
_MAX_PARTS = 10_000
# Pixels that all scans of a JPEG may pass over: a progressive one has about ten, and a hundred
# bytes make one more.
_MAX_SCANNED = 20 * MAX_PIXELS
_SCAN = b"\xff\xda"
# Width and length of a TIFF's tiles (TIFF 6.0, section 15).
_TILE_TAGS = (322, 323)
# JPEG's segments hold no more; a longer block in a PNG is none that a camera wrote.
_MAX_EXIF = 1 << 16


class PictureError(UserError):
    """An image that cannot be used.

    Attributes:
        kind: `UNREADABLE` or `HUGE`.
    """

    def __init__(self, message: str, kind: str = UNREADABLE):
        super().__init__(message)
        self.kind = kind


class Header(NamedTuple):
    """Format (a key of `READERS`), size in pixels, and the EXIF block from its byte order on."""

    kind: str
    height: int
    width: int
    exif: bytes


def read_picture(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of an image file. Raises OSError as `files.read_regular`."""
    return read_regular(path, max_bytes=MAX_PICTURE_BYTES)


def read_header(source: str | os.PathLike[str] | bytes, *, max_pixels: int | None = None) -> Header:
    """Return the header of an image file, or of its bytes.

    Args:
        max_pixels: what it may promise; None: `MAX_PIXELS`, what is decoded whole.

    Raises:
        PictureError: not readable, no image, or more than `max_pixels`.
    """
    shown = f"{len(source)} bytes" if isinstance(source, bytes) else f"file {source}"
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as stream:
            header = _read(stream)
    except Image.DecompressionBombError as error:
        raise _huge(shown, error) from error
    except Exception as error:  # Pillow's readers raise whatever their format's parser raised.
        raise unreadable(shown, error) from error
    if header.width < 1 or header.height < 1:
        raise unreadable(shown, f"{header.width} x {header.height} pixels")
    if header.width * header.height > (MAX_PIXELS if max_pixels is None else max_pixels):
        raise _huge(shown, f"{header.width} x {header.height} pixels")
    return header


def require_few_scans(encoded: bytes, header: Header) -> None:
    """Check that a JPEG's decoder will not be kept for minutes by scans of nothing.

    Raises:
        PictureError: it has too many for its size. Within a scan no two bytes look like another.
    """
    scans = encoded.count(_SCAN) if header.kind == "JPEG" else 0
    if scans * header.width * header.height > _MAX_SCANNED:
        raise _huge(
            f"{len(encoded)} bytes", f"{scans} scans of {header.width} x {header.height} pixels"
        )


def unreadable(shown: str, why: object) -> PictureError:
    """Return the error of an image, called `shown`, that cannot be decoded to its end."""
    return PictureError(
        "Expected a complete image (JPEG, PNG, BMP, GIF, WebP, TIFF). "
        f"Received: {shown} ({why}). Replace or remove the file."
    )


def _huge(shown: str, why: object) -> PictureError:
    return PictureError(
        f"Expected an image of at most {MAX_PIXELS} pixels. Received: {shown} ({why}). "
        "Make it smaller or remove the file.",
        HUGE,
    )


def _read(stream: BinaryIO) -> Header:
    start = stream.read(16)
    kind = image_format(start)
    if kind is None:
        raise ValueError("empty" if not start else "its first bytes are of no such format")
    if kind == "JPEG":
        return _read_jpeg(stream)
    if kind == "PNG":
        return _read_png(stream)
    stream.seek(0)
    with READERS[kind](stream) as image:
        width, height = image.size
        if kind == "TIFF":
            _check_tiles(image)
        # Pillow turns a TIFF by itself, its size with it: what is left to turn is nothing.
        exif = image.info.get("exif", b"") if kind == "WEBP" else b""
    return Header(kind, height, width, exif.removeprefix(b"Exif\0\0"))


def _check_tiles(image: ImageFile.ImageFile) -> None:
    """Raise an error for a TIFF with tiles, which are unpacked whole, larger than any image."""
    tile_width, tile_height = (image.tag_v2.get(tag, 0) for tag in _TILE_TAGS)  # type: ignore[attr-defined]
    if tile_width * tile_height > MAX_PIXELS:
        raise Image.DecompressionBombError(f"tiles of {tile_width} x {tile_height} pixels")


def _read_jpeg(stream: BinaryIO) -> Header:
    exif = b""
    stream.seek(2)
    for _ in range(_MAX_PARTS):
        marker = _next_marker(stream)
        if marker in _WITHOUT_LENGTH:
            continue
        if marker in _END_OR_SCAN:
            raise ValueError("no frame before its scan")
        (length,) = struct.unpack(">H", stream.read(2))
        if marker in _FRAMES:
            _, height, width = struct.unpack(">BHH", stream.read(5))
            return Header("JPEG", height, width, exif)
        content = stream.read(max(length - 2, 0))
        if marker == _APP1 and content.startswith(b"Exif\0\0") and not exif:
            exif = content[6:]
    raise ValueError(f"more than {_MAX_PARTS} segments before its frame")


def _next_marker(stream: BinaryIO) -> int:
    before = b""
    for _ in range(_MAX_RUBBISH):
        byte = stream.read(1)
        if before == b"\xff" and byte not in (b"\0", b"\xff", b""):  # \xff: a fill byte
            return byte[0]
        before = byte
    raise ValueError("cut off before its frame")


def _read_png(stream: BinaryIO) -> Header:
    stream.seek(8)
    length, name, width, height = struct.unpack(">I4sII", stream.read(16))
    if name != b"IHDR":
        raise ValueError("no IHDR at its start")
    exif = b""
    stream.seek(8 + 8 + length + 4)
    for _ in range(_MAX_PARTS):
        chunk = stream.read(8)
        if len(chunk) < 8:
            break
        length, name = struct.unpack(">I4s", chunk)
        if name in (b"IDAT", b"IEND"):
            break
        if name == b"eXIf":
            exif = stream.read(min(length, _MAX_EXIF))
            break
        stream.seek(length + 4, os.SEEK_CUR)
    else:
        raise ValueError(f"more than {_MAX_PARTS} chunks before its pixels")
    return Header("PNG", height, width, exif)
