"""Encoded pictures: every usual format and mode gives the same uint8 RGB."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.data.images import decode_image, image_size, image_sizes
from keras_retinanet.errors import UserError


@pytest.fixture
def picture(rng):
    # Smooth, so that JPEG keeps it to a few levels.
    ramp = np.linspace(30, 220, 37)[None, :, None] * np.array([1, 0.7, 0.4])
    return np.broadcast_to(ramp, (20, 37, 3)).astype(np.uint8)


def encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_are_exact(picture, form):
    options = {"lossless": True} if form == "WEBP" else {}
    content = encoded(Image.fromarray(picture), form, **options)
    np.testing.assert_array_equal(decode_image(content), picture)
    assert image_size(content) == (20, 37)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_modes(picture, mode):
    image = Image.fromarray(picture).convert(mode)
    decoded = decode_image(encoded(image, "JPEG", quality=98, subsampling=0))
    assert decoded.dtype == np.uint8
    expected = np.asarray(image.convert("RGB"), np.int16)
    assert np.abs(decoded - expected).max() <= 6


def test_palette_alpha_grey_and_gif(picture):
    image = Image.fromarray(picture)
    alpha = image.convert("RGBA")
    alpha.putalpha(128)
    np.testing.assert_array_equal(decode_image(encoded(alpha, "PNG")), picture)
    palette = image.quantize(256)
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(decode_image(encoded(palette, "PNG")), expected)
    np.testing.assert_array_equal(decode_image(encoded(palette, "GIF")), expected)
    grey = image.convert("L")
    np.testing.assert_array_equal(decode_image(encoded(grey, "PNG"))[..., 1], np.asarray(grey))


def test_exif_rotation_is_not_applied(picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.fromarray(picture), "JPEG", exif=exif)
    assert image_size(content) == decode_image(content).shape[:2] == (20, 37)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff\xe0"])
def test_no_picture_is_the_users_error(content):
    with pytest.raises(UserError, match="whole picture"):
        decode_image(content)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_cut_off_picture_is_the_users_error(form, rng):
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = encoded(noise, form)
    assert image_size(content[: len(content) // 2]) == (64, 64)
    with pytest.raises(UserError, match="whole picture"):
        decode_image(content[: len(content) // 2])


def test_bomb_is_refused_by_its_header():
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    content += struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(UserError, match="whole picture"):
        decode_image(content)


def test_sizes_of_files_in_their_order(tmp_path, picture):
    paths = [tmp_path / name for name in ("a.png", "b.txt", "c.jpg", "missing.jpg")]
    paths[0].write_bytes(encoded(Image.fromarray(picture), "PNG"))
    paths[1].write_text("words")
    paths[2].write_bytes(encoded(Image.fromarray(picture[:7]), "JPEG"))
    assert image_sizes([str(path) for path in paths]) == [(20, 37), None, (7, 37), None]
