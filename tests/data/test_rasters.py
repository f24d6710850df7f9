"""Images beyond the limit, read in parts: the same pixels as decoded whole, and what is refused."""

import errno
import io

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from keras_retinanet.data.images import tiff_blocks
from keras_retinanet.data.images.rasters import open_raster, parts_advice
from keras_retinanet.files.images import headers
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import PictureError

HEIGHT, WIDTH = 133, 177
LIMIT = 20_000
TIFFS = [("RGB", None), ("RGB", "tiff_lzw"), ("RGB", "tiff_adobe_deflate"), ("RGB", "jpeg"),
         ("RGB", "packbits"), ("L", "tiff_lzw"), ("RGBA", "tiff_lzw"), ("P", "tiff_lzw"),
         ("CMYK", "jpeg"), ("1", "group4"), ("I;16", "tiff_adobe_deflate")]  # fmt: skip


@pytest.fixture
def pixels(rng):
    blocks = rng.integers(0, 255, (14, 18, 3), np.uint8)
    return np.kron(blocks, np.ones((10, 10, 1), np.uint8))[:HEIGHT, :WIDTH]


@pytest.fixture
def opened(monkeypatch):
    """Give `open_raster` under a small limit, and close what it opened."""
    rasters = []

    def open_(path):
        monkeypatch.setattr(headers, "MAX_PIXELS", LIMIT)
        rasters.append(open_raster(path))
        return rasters[-1]

    yield open_
    for raster in rasters:
        raster.close()


def tiled_tiff(pixels, side=64):
    """Return an uncompressed TIFF of tiles, as tools for orthophotos write them."""
    down, right = (-length % side for length in pixels.shape[:2])
    padded = np.pad(pixels, ((0, down), (0, right), (0, 0)))
    tiles = [
        padded[top : top + side, left : left + side].tobytes()
        for top in range(0, padded.shape[0], side)
        for left in range(0, padded.shape[1], side)
    ]
    directory = ImageFileDirectory_v2()
    tags = {256: pixels.shape[1], 257: pixels.shape[0], 258: (8, 8, 8), 259: 1, 262: 2, 277: 3,
            322: side, 323: side, 325: tuple(len(tile) for tile in tiles)}  # fmt: skip
    for tag, value in tags.items():
        directory[tag] = value
    directory.tagtype[324] = 4
    directory[324] = tuple([10_000 + 3 * side * side * place for place in range(len(tiles))])
    stream = io.BytesIO()
    directory.save(stream)
    return stream.getvalue().ljust(10_000, b"\0") + b"".join(tiles)


def read_in_bands(raster, rows):
    spans = [(top, min(top + rows, raster.height)) for top in range(0, raster.height, rows)]
    return np.concatenate([raster.window(0, top, raster.width, end) for top, end in spans])


@pytest.mark.parametrize("strip", [16, None])
@pytest.mark.parametrize(("mode", "compression"), TIFFS)
def test_strips_have_the_pixels_of_the_whole(pixels, opened, tmp_path, mode, compression, strip):
    path = tmp_path / "a.tif"
    image = Image.fromarray(pixels)
    image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if mode == "I;16" else (
        image.convert(mode))  # fmt: skip
    image.save(path, compression=compression, tiffinfo={278: strip} if strip else {})
    whole = decode_image(path.read_bytes())
    raster = opened(path)
    assert (raster.height, raster.width) == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(read_in_bands(raster, 50), whole)
    np.testing.assert_array_equal(raster.window(30, 40, 90, 99), whole[40:99, 30:90])


def test_tiles_have_the_pixels_of_the_whole(pixels, opened, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiled_tiff(pixels))
    np.testing.assert_array_equal(decode_image(path.read_bytes()), pixels)
    np.testing.assert_array_equal(read_in_bands(opened(path), 40), pixels)


def test_an_image_within_the_limit_is_none(pixels, tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(pixels).save(path)
    assert open_raster(path) is None


def test_the_reduced_copy_has_the_means(pixels, opened, tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    Image.fromarray(pixels).save(path, compression="tiff_lzw")
    monkeypatch.setattr("keras_retinanet.data.images.rasters.REDUCED_SIDE", 50)
    copy, factor = opened(path).reduced()
    assert (copy.shape, factor) == ((34, 45, 3), 4)
    np.testing.assert_allclose(copy[5, 7], pixels[20:24, 28:32].mean(axis=(0, 1)), atol=0.5)


def test_no_more_than_a_band_is_unpacked(pixels, opened, tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    path.write_bytes(tiled_tiff(pixels, side=32))
    raster, read = opened(path), []
    unpack = tiff_blocks.TiffBlocks._unpack
    monkeypatch.setattr(
        tiff_blocks.TiffBlocks,
        "_unpack",
        lambda self, block: read.append(block) or unpack(self, block),
    )
    raster.window(0, 40, 50, 60)
    assert {block.top for block in read} == {32} and len(read) == 6
    raster.window(50, 40, 90, 60)  # of the same rows, which are kept
    assert len(read) == 6


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.png", {}, "a PNG"),
        ("a.jpg", {}, "a JPEG"),
        ("a.tif", {"tiffinfo": {274: 6}}, "stored turned"),
    ],
)
def test_what_has_no_parts_is_refused(pixels, opened, tmp_path, name, options, words):
    path = tmp_path / name
    Image.fromarray(pixels).save(path, **options)
    with pytest.raises(PictureError, match=words) as error:
        opened(path)
    assert "gdal_translate" in str(error.value) and str(path) in str(error.value)


def test_one_large_strip_is_refused(pixels, opened, tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    Image.fromarray(pixels).save(path, compression="tiff_lzw", tiffinfo={278: HEIGHT})
    monkeypatch.setattr(tiff_blocks, "MAX_BLOCK_PIXELS", 10_000)
    with pytest.raises(PictureError, match="packed as one piece or a few"):
        opened(path)
    Image.fromarray(pixels).save(path, tiffinfo={278: HEIGHT})  # uncompressed: cut anywhere
    monkeypatch.setattr(tiff_blocks, "MAX_BLOCK_PIXELS", 64 * WIDTH)
    np.testing.assert_array_equal(read_in_bands(opened(path), 50), pixels)


def test_a_damaged_part_is_named(pixels, opened, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiled_tiff(pixels)[:-5000])
    raster = opened(path)
    raster.window(0, 0, 64, 64)
    with pytest.raises(PictureError, match=r"a\.tif \(\d+ of 12288 bytes of a strip or tile\)"):
        raster.window(0, 100, 64, 133)


def test_advice_where_an_image_is_too_large():
    assert "--tile PX" in parts_advice(PictureError("", "huge picture"))
    assert "--tile PX" in parts_advice(OSError(errno.EFBIG, ""))
    assert parts_advice(PictureError("")) == parts_advice(OSError(errno.ENOENT, "")) == ""
