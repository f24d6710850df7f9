"""Decoding a part, or a smaller copy, gives the pixels that decoding everything would have."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_retinanet.data.images.windows import decode_window
from keras_retinanet.files.images.decoding import decode_image
from keras_retinanet.files.images.headers import PictureError, read_header


def encode(image, kind="JPEG", **options):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def smooth(height, width):
    y, x = np.mgrid[:height, :width]
    planes = [x / width, y / height, (x + y) / (height + width)]
    return (255 * np.stack(planes, -1)).astype(np.uint8)


def window(encoded, start, length, size, **options):
    parts = (np.array(part, np.int32) for part in (start, length, size))
    options |= zip(("start", "length", "size"), parts, strict=True)
    return decode_window(encoded, read_header(encoded), **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_crop_is_the_same_pixels(kind, rng):
    encoded = encode(rng.integers(0, 256, (90, 121, 3), np.uint8), kind)
    found = window(encoded, (13, 7), (50, 101), (50, 101))
    # At its border a JPEG crop lacks the neighbours that its chroma is smoothed with.
    inner = np.s_[1:-1, 1:-1]
    np.testing.assert_array_equal(found.pixels[inner], decode_image(encoded)[13:63, 7:108][inner])
    assert tuple(found.start) == (13, 7) and tuple(found.length) == (50, 101)


@pytest.mark.parametrize(
    ("size", "ratio"), [((46, 60), 1), ((45, 60), 2), ((22, 30), 4), ((11, 15), 8)]
)
def test_a_jpeg_is_scaled_down_as_far_as_the_target_allows(size, ratio):
    image = smooth(91, 123)
    found = window(encode(image, quality=95), (0, 0), (91, 123), size)
    assert found.pixels.shape[:2] == (-(-91 // ratio), -(-123 // ratio))
    # The window covers whole blocks: its scale is exactly the ratio.
    assert tuple(found.length) == tuple(ratio * side for side in found.pixels.shape[:2])
    means = image[:88, :120].reshape(88 // ratio, ratio, 120 // ratio, ratio, 3).mean((1, 3))
    part = found.pixels[: 88 // ratio, : 120 // ratio].astype(float)
    assert np.abs(part - means).mean() < 1.5


def test_a_scaled_crop_covers_what_was_asked_for():
    image = smooth(200, 200)
    found = window(encode(image, quality=95), (33, 51), (101, 77), (25, 19))
    assert tuple(found.start) == (32, 48) and tuple(found.length) == (104, 80)
    assert found.pixels.shape[:2] == (26, 20)
    whole = window(encode(image, quality=95), (0, 0), (200, 200), (50, 50)).pixels
    np.testing.assert_array_equal(found.pixels, whole[8:34, 12:32])


def test_of_a_damaged_jpeg_the_whole_is_decoded_and_told(rng, capfd):
    """So that its pixels do not depend on whether it is seen for the first time."""
    encoded = encode(rng.integers(0, 256, (90, 121, 3), np.uint8))
    middle = len(encoded) // 2
    damaged = encoded[:middle] + 24 * bytes([7]) + encoded[middle + 24 :]
    expected = decode_image(damaged)
    calls = []
    for start, length, size in (((13, 7), (50, 101), (50, 101)), ((0, 0), (90, 121), (9, 12))):
        found = window(damaged, start, length, size, on_damage=calls.append)
        (top, left), (height, width) = start, length
        part = expected[top : top + height, left : left + width]
        np.testing.assert_array_equal(found.pixels, part)
    assert calls == ["picture damaged"] * 2 and not capfd.readouterr().err


def test_png_is_never_scaled(rng):
    image = rng.integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(
        window(encode(image, "PNG"), (0, 0), (64, 64), (8, 8)).pixels, image
    )


def test_a_cut_off_picture_is_an_error():
    encoded = encode(smooth(64, 64))
    with pytest.raises(PictureError):
        window(encoded[: len(encoded) // 2], (0, 0), (64, 64), (8, 8))
