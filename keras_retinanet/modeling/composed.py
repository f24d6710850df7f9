"""Detectors that run another one several times on an image: in tiles, mirrored, resized."""

import abc
from typing import Any

import numpy as np

from keras_retinanet.modeling.detecting import Images
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.streaming import Streaming


class ComposedDetector(Streaming, abc.ABC):
    """The detections of several passes of `inner`, with the public attributes of a `RetinaNet`.

    `prepare` and `finish` do nothing: each pass of `infer` has its own.

    Args:
        inner: a RetinaNet, an exported file, or another of these.
    """

    takes_batches = True

    def __init__(self, inner: Any):
        self.inner = inner
        self.config, self.preprocessing = inner.config, inner.preprocessing
        self.class_names, self.class_ids = inner.class_names, inner.class_ids
        self.metadata = inner.metadata

    @abc.abstractmethod
    def detect(self, images: Images, *, batch_size: int = 8) -> list[Detections]:
        """Detect objects in images of any sizes; as `RetinaNet.detect`."""

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """Return a uint8 RGB image (H, W, 3) as it is, and its (height, width)."""
        return image, image.shape[:2]

    def infer(
        self, inputs: np.ndarray, sizes: np.ndarray | None = None
    ) -> dict[str, list[Detections]]:
        """Return the detections in images (B, H, W, 3) of one size."""
        return {"found": self.detect(list(inputs), batch_size=len(inputs))}

    def finish(
        self, outputs: dict[str, Any], row: int, size: Any, original_size: Any
    ) -> Detections:
        """Return the detections of image `row`."""
        return outputs["found"][row]
