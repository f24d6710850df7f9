"""What is timed where the user names no file: a network of random weights, a drawn image."""

import dataclasses
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from keras_retinanet.config import ModelConfig
from keras_retinanet.modeling.retinanet import RetinaNet, resolve
from keras_retinanet.modeling.saving import load

NUM_CLASSES = 80  # COCO's
# A drawn image is this much smaller than the network's input, as COCO's 480 px are than 800.
SMALLER = 0.6
# Pixels of a drawn image that share a color, before noise is added.
BLOCK = 16
NOISE = 32


@dataclass(frozen=True)
class Subject:
    """The network that is timed, as plain values that another process can receive.

    Attributes:
        path: a `.keras` file; None: a network of random weights, on which its time does not depend.
        config: of the network of random weights.
        num_classes: of it.
        image_size: (short, long) side of the input of the file's model; None: its own.
    """

    path: Path | None = None
    config: ModelConfig = field(default_factory=ModelConfig)
    num_classes: int = NUM_CLASSES
    image_size: tuple[int, int] | None = None

    def make(self) -> RetinaNet:
        """Load or build the model."""
        if self.path is None:
            names = [f"class_{index}" for index in range(self.num_classes)]
            # What is frozen where weights are loaded is frozen, but no file is read.
            return RetinaNet(resolve(self.config), names, load_weights=False)
        model = load(self.path)
        return model if self.image_size is None else _with_image_size(model, self.image_size)


def _with_image_size(model: RetinaNet, sides: tuple[int, int]) -> RetinaNet:
    preprocessing = dataclasses.replace(
        model.config.preprocessing, short_side=sides[0], long_side=sides[1]
    )
    changed = RetinaNet(
        dataclasses.replace(model.config, preprocessing=preprocessing),
        model.class_names,
        class_ids=model.class_ids,
        metadata=model.metadata,
        load_weights=False,
    )
    changed.set_weights(model.get_weights())
    return changed


def drawn_image(short_side: int, long_side: int) -> bytes:
    """Return a JPEG, the same at each call, that is resized to these sides (height, width)."""
    random = np.random.default_rng(0)
    height, width = (max(1, round(SMALLER * side)) for side in (short_side, long_side))
    blocks = random.integers(0, 256, (-(-height // BLOCK), -(-width // BLOCK), 3), np.uint8)
    image = blocks.repeat(BLOCK, 0).repeat(BLOCK, 1)[:height, :width].astype(int)
    image += random.integers(-NOISE, NOISE, image.shape)
    stream = io.BytesIO()
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()
