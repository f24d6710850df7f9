"""Encoded pictures: every usual format and mode gives the same uint8 RGB."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from keras_retinanet.errors import UserError
from keras_retinanet.files.images import jpegs
from keras_retinanet.files.images.decoding import (
    decode_image,
    image_size,
    image_sizes,
)
from keras_retinanet.files.images.headers import PictureError


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
    with pytest.raises(UserError, match="complete image"):
        decode_image(content)


def test_cut_off_picture_is_the_users_error(rng):
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = encoded(noise, "PNG")
    assert image_size(content[: len(content) // 2]) == (64, 64)
    with pytest.raises(UserError, match="complete image"):
        decode_image(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {}),
        ("RGB", {"progressive": True}),
        ("RGB", {"subsampling": 2}),
        ("L", {"progressive": True}),
        ("CMYK", {}),
    ],
)
def test_cut_off_jpeg_has_the_pixels_of_pillow(mode, options, rng, capfd, monkeypatch):
    """As viewers show it, counted; TensorFlow's decoder prints nothing about it."""
    noise = Image.fromarray(rng.integers(0, 256, (80, 96, 3), dtype=np.uint8)).convert(mode)
    stream = io.BytesIO()
    noise.save(stream, "JPEG", **options)
    content = stream.getvalue()
    calls = []
    for kept in (0.5, 0.9):
        part = content[: int(kept * len(content))]
        found = decode_image(part, on_damage=calls.append)
        with monkeypatch.context() as patch, Image.open(io.BytesIO(part)) as image:
            patch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
            np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))
    # Whole but for the marker of the end.
    np.testing.assert_array_equal(
        decode_image(content[:-2], on_damage=calls.append), decode_image(content)
    )
    assert calls == ["picture cut off"] * 3 and not capfd.readouterr().err


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_damaged_jpeg_is_told_and_has_the_pixels_of_pillow(mode, options, rng, capfd):
    noise = Image.fromarray(rng.integers(0, 256, (80, 96, 3), dtype=np.uint8)).convert(mode)
    content = encoded(noise, "JPEG", **options)
    middle = len(content) // 2
    for damaged in (
        content[:middle] + 24 * bytes([7]) + content[middle + 24 :],
        content[:middle] + content[middle + 200 :],
    ):
        calls = []
        found = decode_image(damaged, on_damage=calls.append)
        with Image.open(io.BytesIO(damaged)) as image:
            expected = np.asarray(image.convert("RGB"))
        # Each makes three colors of four in its own way.
        levels = 2 if mode == "CMYK" else 0
        np.testing.assert_allclose(found.astype(int), expected.astype(int), rtol=0, atol=levels)
        assert calls == ["picture damaged"]
    assert not capfd.readouterr().err


def test_what_a_jpeg_is_warned_of_although_it_is_whole(rng, capfd):
    content = encoded(Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)), "JPEG")
    revision, last_scan = content.index(b"JFIF") + 5, content.rindex(b"\xff\xda")
    spectral_end = last_scan + 6 + 2 * content[last_scan + 4]
    for place, value in ((revision, 9), (spectral_end, 3)):
        changed = content[:place] + bytes([value]) + content[place + 1 :]
        calls = []
        found = decode_image(changed, on_damage=calls.append)
        np.testing.assert_array_equal(found, decode_image(content))
        assert calls == []
    assert not capfd.readouterr().err


def test_jpeg_without_a_pixel_is_the_users_error():
    content = encoded(Image.new("RGB", (64, 64), (200, 10, 10)), "JPEG")
    start = content.rindex(b"\xff\xda")
    for cut in (start + 2, start + 14, start + 15):
        with pytest.raises(UserError, match="complete image"):
            decode_image(content[:cut])


def bomb():
    """A PNG of 33 bytes that promises 30,000 x 30,000 pixels."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    return content + struct.pack(">I", zlib.crc32(chunk))


def test_bomb_is_refused_by_its_header():
    with pytest.raises(PictureError, match=r"at most 178956970 pixels.*30000 x 30000") as caught:
        decode_image(bomb())
    assert caught.value.kind == "huge picture"


def test_jpeg_of_more_pixels_than_another_reader_saw_takes_no_memory(picture, monkeypatch):
    content = encoded(Image.fromarray(picture), "JPEG")
    assert jpegs.decode_sound(content).shape == picture.shape
    monkeypatch.setattr(jpegs, "MAX_PIXELS", picture.shape[0] * picture.shape[1] - 1)
    assert jpegs.decode_sound(content) is None


def test_sizes_of_files_in_their_order(tmp_path, picture):
    paths = [tmp_path / name for name in ("a.png", "b.txt", "c.jpg", "missing.jpg")]
    paths[0].write_bytes(encoded(Image.fromarray(picture), "PNG"))
    paths[1].write_text("words")
    paths[2].write_bytes(encoded(Image.fromarray(picture[:7]), "JPEG"))
    fault = "unreadable picture"
    assert image_sizes([str(path) for path in paths]) == [(20, 37), fault, (7, 37), fault]
    paths[1].write_bytes(bomb())
    assert image_sizes([str(paths[1])]) == ["huge picture"]


# ------------------------------------------------------- what cameras, scanners and tools write


def chunk(name, content):
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png_of_16_bits(values, color_type):
    """Encodes (H, W, C) uint16: written here by hand, for Pillow writes no colours of 16 bits."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_png_of_16_bits_keeps_the_upper_8(rng, color_type, channels):
    values = rng.integers(0, 65536, (20, 37, channels)).astype(np.uint16)
    colors = values[..., :3] if channels > 2 else values[..., :1].repeat(3, axis=2)
    decoded = decode_image(png_of_16_bits(values, color_type))
    np.testing.assert_array_equal(decoded, colors >> 8)
    assert decoded.max() > 250 and decoded.min() < 5


def test_tiff_of_16_bits_keeps_the_upper_8(rng):
    values = rng.integers(0, 65536, (20, 37)).astype(np.uint16)
    decoded = decode_image(encoded(Image.fromarray(values), "TIFF"))
    np.testing.assert_array_equal(decoded, (values >> 8)[..., None].repeat(3, axis=2))


def test_pixels_without_a_range_are_refused(rng):
    content = encoded(Image.fromarray(rng.random((20, 37)).astype(np.float32)), "TIFF")
    with pytest.raises(PictureError, match="32 bits"):
        decode_image(content)


@pytest.mark.parametrize("bits", ["1", "L", "LA", "P"])
def test_png_modes(picture, bits):
    image = Image.fromarray(picture)
    image = image.quantize(16) if bits == "P" else image.convert(bits)
    # What the palette or the grey value says, looked up by NumPy.
    if bits == "P":
        expected = np.array(image.getpalette()).reshape(-1, 3)[np.asarray(image)]
        options = {"transparency": b"\0\x80" * 8}
    else:
        grey = np.asarray(image)
        grey = grey[..., 0] if bits == "LA" else grey.astype(np.uint8) * (255 if bits == "1" else 1)
        expected, options = grey[..., None].repeat(3, axis=2), {}
    np.testing.assert_array_equal(decode_image(encoded(image, "PNG", **options)), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_bmp_modes(picture, mode):
    image = Image.fromarray(picture)
    image = image.quantize(64) if mode == "P" else image.convert(mode)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode_image(encoded(image, "BMP")), expected)


def test_bmp_from_the_top_down(picture):
    content = bytearray(encoded(Image.fromarray(picture), "BMP"))
    (start,) = struct.unpack_from("<I", content, 10)
    struct.pack_into("<i", content, 22, -20)
    # 37 pixels of 3 bytes, filled up to a multiple of 4.
    rows = np.frombuffer(bytes(content[start : start + 20 * 112]), np.uint8).reshape(20, 112)
    content[start : start + 20 * 112] = rows[::-1].tobytes()
    np.testing.assert_array_equal(decode_image(bytes(content)), picture)


@pytest.mark.parametrize("form", ["WEBP", "GIF", "TIFF", "PNG"])
def test_of_several_pictures_the_first(picture, form):
    image = Image.fromarray(picture).quantize(64)
    expected = np.asarray(image.convert("RGB"))
    later = [Image.fromarray(255 - picture).quantize(64)]
    options = {"lossless": True} if form == "WEBP" else {}
    if form == "WEBP":
        image, later = image.convert("RGB"), [frame.convert("RGB") for frame in later]
    content = encoded(image, form, save_all=True, append_images=later, **options)
    np.testing.assert_array_equal(decode_image(content), expected)


@pytest.mark.parametrize("form", ["WEBP", "GIF"])
def test_transparency_is_dropped(picture, form):
    if form == "WEBP":
        image, options = Image.fromarray(picture).convert("RGBA"), {"lossless": True, "exact": True}
        image.putalpha(Image.fromarray(np.arange(20 * 37, dtype=np.uint8).reshape(20, 37)))
        expected = picture
    else:
        image, options = Image.fromarray(picture).quantize(64), {"transparency": 3}
        expected = np.array(image.getpalette()).reshape(-1, 3)[np.asarray(image)]
    np.testing.assert_array_equal(decode_image(encoded(image, form, **options)), expected)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_against_the_colours_it_was_made_of(picture, mode, progressive):
    image = Image.fromarray(picture).convert(mode)
    content = encoded(image, "JPEG", quality=98, subsampling=0, progressive=progressive)
    stored = np.asarray(image, np.float64)
    if mode == "CMYK":  # the textbook's: what ink leaves of the light
        stored = (255 - stored[..., :3]) * (255 - stored[..., 3:]) / 255
    elif mode == "L":
        stored = stored[..., None]
    assert np.abs(decode_image(content) - stored).max() <= 6


def adobe_transform(content, transform):
    """Returns the JPEG with the colour transform of its Adobe marker replaced; None: no marker."""
    start = content.index(b"Adobe")
    if transform is None:
        return content[: start - 4] + content[start + 12 :]
    return content[: start + 11] + bytes([transform]) + content[start + 12 :]


def test_ycck_and_cmyk_without_adobes_marker(picture):
    # Pillow writes CMYK inverted, as Adobe does, and says so by the marker.
    cmyk = np.asarray(Image.fromarray(picture).convert("CMYK"))
    content = encoded(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=98, subsampling=0)
    # YCCK: the same bytes, read as the YCbCr of the inverted CMY.
    stored = 255 - cmyk.astype(np.float64)
    y, cb, cr, k = np.moveaxis(stored, 2, 0)
    red = y + 1.402 * (cr - 128)
    green = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    blue = y + 1.772 * (cb - 128)
    # libjpeg stores 255 - R as C, and what is inverted once more is R again.
    ycck = np.stack([255 - red, 255 - green, 255 - blue], 2).clip(0, 255)
    expected = ycck * k[..., None] / 255
    decoded = decode_image(adobe_transform(content, 2))
    assert np.abs(decoded - expected).max() <= 8
    # Without the marker nothing is inverted: the stored bytes are the ink.
    plain = decode_image(adobe_transform(content, None))
    ink = cmyk.astype(np.float64) / 255
    assert np.abs(plain - 255 * ink[..., :3] * ink[..., 3:]).max() <= 6
