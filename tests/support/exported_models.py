"""A small untrained detector whose scores are spread out, as the consumer's tests export it."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_retinanet.config.files import load_config
from keras_retinanet.data.sources.shapes import draw
from keras_retinanet.modeling.retinanet import RetinaNet

SIDE = 160
NAMES = ["cat", "dog", "traffic light"]
IDS = [17, 18, 10]


def spread_model(**overrides) -> RetinaNet:
    """Returns a model of three classes that gives tens of detections in any picture."""
    keras.utils.set_random_seed(5)
    changes = {
        "model.fpn.channels": 16,
        "model.head.channels": 16,
        "model.head.depth": 1,
        "model.head.prior": 0.1,
        "model.preprocessing.short_side": SIDE,
        "model.preprocessing.long_side": SIDE,
        "model.detections.score_threshold": 0.3,
        **{f"model.{name}": value for name, value in overrides.items()},
    }
    model = RetinaNet(load_config("shapes", changes).model, NAMES, class_ids=IDS)
    for head in (model.class_head, model.box_head):
        for variable in head.trainable_variables:
            if variable.path.endswith("kernel"):
                variable.assign(variable * 5.0)
    return model


def write_pictures(folder: Path) -> list[Path]:
    """Writes scenes of several sizes and formats; returns their paths in the order of names."""
    folder.mkdir()
    shapes = {"a.png": (160, 160), "b.png": (240, 180), "c.jpg": (200, 256), "d.webp": (90, 40)}
    for number, (name, (height, width)) in enumerate(shapes.items()):
        scene = draw("test", number, 256)[:height, :width]
        Image.fromarray(scene).save(folder / name, quality=90, lossless=True)
    return sorted(folder.iterdir())


def with_facts(source: Path, target: Path, **changes) -> None:
    """Copies a TFLite file with other facts in it."""
    with zipfile.ZipFile(source) as archive:
        facts = json.loads(archive.read("model.json"))
        start = min(entry.header_offset for entry in archive.infolist())
    target.write_bytes(source.read_bytes()[:start])
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("model.json", json.dumps({**facts, **changes}))


def clear_threshold(scores: np.ndarray) -> float:
    """Returns the threshold, in hundredths, with 8 to 40 scores above, that no score is near."""
    steps = [step / 100 for step in range(100) if 8 <= (scores > step / 100).sum() <= 40]
    return max(steps, key=lambda step: np.abs(scores - step).min())
