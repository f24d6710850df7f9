"""Fuzzing: whatever a picture file holds, it is decoded to its size or refused as a picture.

By default a fiftieth runs; `pytest -m fuzz` runs all 10,000.
"""

import gc
import io
import random

import numpy as np
import psutil
import pytest
from faults.alarm import alarm
from faults.mutations import mutate_bytes, mutate_png
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_retinanet.data.images.exif import orientation
from keras_retinanet.files.images import headers
from keras_retinanet.files.images.decoding import decode_image, image_size
from keras_retinanet.files.images.headers import PictureError

FORMS = {
    "jpeg": ("RGB", "JPEG", {}),
    "progressive jpeg": ("RGB", "JPEG", {"progressive": True}),
    "grey jpeg": ("L", "JPEG", {}),
    "cmyk jpeg": ("CMYK", "JPEG", {}),
    "turned jpeg": ("RGB", "JPEG", {"exif": True}),
    "png": ("RGB", "PNG", {}),
    "palette png": ("P", "PNG", {"transparency": b"\0\x80"}),
    "grey png of 16 bits": ("I;16", "PNG", {}),
    "turned png": ("LA", "PNG", {"exif": True}),
    "bmp": ("P", "BMP", {}),
    "gif": ("P", "GIF", {"save_all": True}),
    "webp": ("RGB", "WEBP", {"exif": True}),
    "moving webp": ("RGBA", "WEBP", {"save_all": True, "lossless": True}),
    "tiff": ("RGB", "TIFF", {}),
}
MUTANTS, FRACTION, PER_DRAW, SECONDS = 10_080, 50, 10, 60
MAX_GROWTH = 200 << 20


def encode(mode: str, form: str, options: dict) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 33, 3), dtype=np.uint8)
    pixels[:, :16] = np.arange(24, dtype=np.uint8)[:, None, None] * 10
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        image = image.quantize(32) if mode == "P" else image.convert(mode)
    options = dict(options)
    if options.get("exif"):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    if options.get("save_all"):
        options["append_images"] = [image.transpose(Image.Transpose.ROTATE_180)]
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def check_mutant(content: bytes) -> None:
    try:
        with alarm(SECONDS):
            size = image_size(content)
            turn = orientation(content)
            decoded = decode_image(content)
    except PictureError as error:
        str(error).encode()
    except Exception as error:
        raise AssertionError(repr(content)) from error
    else:
        assert turn in range(1, 9)
        assert decoded.dtype == np.uint8 and decoded.shape == (*size, 3), repr(content)


@pytest.mark.long
@pytest.mark.parametrize(
    "share",
    [
        pytest.param(FRACTION, id="fiftieth"),
        pytest.param(1, id="all", marks=[pytest.mark.fuzz, pytest.mark.slow]),
    ],
)
@pytest.mark.parametrize("name", FORMS)
def test_mutated_pictures_are_decoded_or_refused(name, share, monkeypatch):
    # A changed header may promise any size: decoding what is allowed would take the whole run.
    monkeypatch.setattr(headers, "MAX_PIXELS", 1 << 20)
    sound = encode(*FORMS[name])
    assert decode_image(sound).shape == (24, 33, 3)
    mutations = (mutate_bytes, mutate_png) if name.endswith("png") else (mutate_bytes,)
    process, used = psutil.Process(), []
    draws = -(-MUTANTS // (len(FORMS) * share * PER_DRAW))

    @settings(
        max_examples=draws,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**63))
    def run(seed):
        rng = random.Random(seed)
        for _ in range(PER_DRAW):
            check_mutant(rng.choice(mutations)(sound, rng))
        used.append(process.memory_info().rss)

    run()
    assert len(used) >= draws
    gc.collect()
    assert process.memory_info().rss - used[len(used) // 10] < MAX_GROWTH
