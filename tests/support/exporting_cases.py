"""Small models that find something, pictures of every kind, and a comparison of detections."""

import dataclasses
import io

import keras
import numpy as np
from PIL import Image

from keras_retinanet.config.model import (
    AnchorConfig,
    DetectionConfig,
    FPNConfig,
    HeadConfig,
    ModelConfig,
    PreprocessingConfig,
    TilesConfig,
)
from keras_retinanet.modeling.retinanet import RetinaNet, retinanet

SMALL = ModelConfig(
    fpn=FPNConfig(channels=16),
    head=HeadConfig(channels=16, depth=1, prior=0.1),
    anchors=AnchorConfig(sizes=(16.0, 24.0, 32.0, 48.0, 64.0)),
    preprocessing=PreprocessingConfig(short_side=64, long_side=96, multiple=16),
    detections=DetectionConfig(pre_nms_top_k=100, max_detections=20),
)
# Of a data set with gaps, as COCO's.
CLASS_IDS = [1, 7, 90]


def small_model(*, preprocessing=None, detections=None, tiles=None) -> RetinaNet:
    """A ResNet-18 whose random weights spread scores over .02 to .5."""
    config = dataclasses.replace(
        SMALL,
        preprocessing=dataclasses.replace(SMALL.preprocessing, **(preprocessing or {})),
        detections=dataclasses.replace(SMALL.detections, **(detections or {})),
        tiles=TilesConfig(**(tiles or {})),
    )
    names = ["cat", "dög", "a tree"]
    keras.utils.set_random_seed(0)  # whatever test builds the model first
    built = retinanet("resnet18", class_names=names, config=config)
    model = RetinaNet(built.config, names, class_ids=CLASS_IDS, load_weights=False)
    random = np.random.default_rng(1)
    for variable in model.weights:
        kind = variable.path.split("/")[-1]
        if kind == "gamma":
            variable.assign(random.uniform(0.5, 1, variable.shape))
        elif kind in ("moving_mean", "beta"):
            variable.assign(random.normal(0, 0.2, variable.shape))
    for head, scale in ((model.class_head, 0.05), (model.box_head, 0.01)):
        kernel = head.get_layer("final").kernel
        kernel.assign(random.normal(0, scale, kernel.shape))
        kernel = head.get_layer("conv1").kernel
        kernel.assign(random.normal(0, 0.15, kernel.shape))
    return model


def blobs(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture (height, width, 3) uint8 with structure at every scale."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (-(-height // 16), -(-width // 16), 3), np.uint8)
    picture = coarse.repeat(16, 0).repeat(16, 1)[:height, :width]
    return picture // 2 + random.integers(0, 128, picture.shape, np.uint8)


def encode(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def encoded_pictures() -> dict[str, bytes]:
    """Name -> a picture file, one of each kind that applications send."""
    rgb = Image.fromarray(blobs(60, 90))
    alpha = Image.fromarray(np.dstack([blobs(90, 60, 1), blobs(90, 60, 2)[..., 0]]), "RGBA")
    grey, palette = rgb.convert("L"), rgb.convert("P")
    deep = Image.fromarray(blobs(40, 40, 3)[..., 0].astype("u2") * 257)
    return {
        "jpeg": encode(rgb, "JPEG"),
        "jpeg, grey": encode(grey, "JPEG"),
        "jpeg, progressive": encode(rgb.rotate(90, expand=True), "JPEG", progressive=True),
        "png": encode(rgb, "PNG"),
        "png, palette": encode(palette, "PNG"),
        "png, alpha": encode(alpha, "PNG"),
        "png, 16 bits": encode(deep, "PNG"),
        "png, 1x1": encode(Image.new("RGB", (1, 1), (9, 90, 200)), "PNG"),
        "webp": encode(rgb, "WEBP"),
        "webp, lossless": encode(rgb, "WEBP", lossless=True),
        "webp, alpha": encode(alpha, "WEBP", lossless=True, exact=True),
        "bmp": encode(rgb, "BMP"),
        "bmp, alpha": encode(alpha, "BMP"),
        "bmp, palette": encode(palette, "BMP"),
        "bmp, grey": encode(grey, "BMP"),
        "gif": encode(palette, "GIF"),
        "gif, two frames": encode(palette, "GIF", save_all=True, append_images=[grey]),
    }


def bad_pictures() -> dict[str, bytes]:
    """Name -> bytes that are no whole picture of reasonable size."""
    rgb = Image.fromarray(blobs(60, 90))
    jpeg, png, bmp, gif, webp = (
        encode(rgb, form) for form in ("JPEG", "PNG", "BMP", "GIF", "WEBP")
    )
    frames = encode(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(90)], lossless=True)
    size = jpeg.index(b"\xff\xc0") + 5
    wide = b"\xff\x7f" * 4
    return {
        "nothing": b"",
        "a text": b"I am a text file",
        "first bytes alone": b"BM",
        "cut jpeg": jpeg[:-200],
        "cut png": png[:-200],
        "cut bmp": bmp[:-200],
        "cut gif": gif[:-200],
        "cut webp": webp[:-200],
        "huge jpeg": jpeg[:size] + wide[:4] + jpeg[size + 4 :],
        "huge png": png[:16] + b"\0\1\0\0" * 2 + png[24:],
        "huge bmp": bmp[:18] + b"\0\0\1\0" * 2 + bmp[26:],
        "huge gif": gif[:6] + b"\xff\xff" * 2 + gif[10:],
        "huge webp": frames[:20] + b"\0" * 4 + b"\xff" * 6 + frames[30:],
        "animated webp": frames,
        "bmp of 1 bit": encode(rgb.convert("1"), "BMP"),
        "tiff": encode(rgb, "TIFF"),
    }


def check_same(answers: dict, row: int, expected, class_ids=CLASS_IDS, box_gap=0.01) -> None:
    """Compare one picture's row of a signature's outputs with `detect`'s `Detections`."""
    num = int(answers["num_detections"][row])
    assert num == len(expected)
    found = {
        "boxes": answers["detection_boxes_xyxy"][row, :num],
        "scores": answers["detection_scores"][row, :num],
        "ids": answers["detection_classes"][row, :num],
    }
    ids = np.array(class_ids)[expected.classes]
    free = np.ones(num, bool)
    for index in range(num):  # equal scores may change places
        gaps = np.abs(found["boxes"] - expected.boxes[index]).max(1)
        gaps = np.where(free & (found["ids"] == ids[index]), gaps, np.inf)
        match = int(gaps.argmin())
        free[match] = False
        assert gaps[match] < box_gap
        assert abs(found["scores"][match] - expected.scores[index]) < 1e-5
    for name, values in answers.items():
        if name != "num_detections":
            np.testing.assert_array_equal(values[row, num:], 0)


def arrays(found):
    """A signature's outputs as NumPy."""
    return {name: values.numpy() for name, values in found.items()}
