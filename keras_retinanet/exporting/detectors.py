"""An exported file as a detector: run as an application runs it, by its own facts.

Shape letters: B images, N detections, R anchors.
"""

import abc
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.config.files import model_config_from_dict
from keras_retinanet.modeling import boxes as box_ops
from keras_retinanet.modeling.anchors import Anchors, feature_sizes
from keras_retinanet.modeling.boxes import BoxCoder
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.post_processing import PostProcessing
from keras_retinanet.modeling.preprocessing import Preprocessing
from keras_retinanet.modeling.streaming import Streaming
from keras_retinanet.modeling.tiling import detect

# Network inputs (B, H, W, 3) -> the file's outputs, in its order.
Runner = Callable[[np.ndarray], list[np.ndarray]]


class ExportedFile:
    """The facts of an exported file, with the public attributes of a `RetinaNet`.

    Attributes:
        path: of the file or folder.
        facts: its description (`facts.model_facts`).
        config: the resolved `ModelConfig`, thresholds as exported.
        class_names, class_ids, metadata, preprocessing: as a `RetinaNet` has them.
        doubt: why it is loaded only if the caller trusts it; None: no doubt.
    """

    def __init__(self, path: Path, facts: dict[str, Any], *, doubt: str | None = None):
        self.path, self.facts, self.doubt = path, facts, doubt
        self.config = model_config_from_dict(facts["config"])
        self.preprocessing = Preprocessing(**vars(self.config.preprocessing))
        self.class_names = [str(name) for name in facts["class_names"]]
        self.class_ids = [int(class_id) for class_id in facts["class_ids"]]
        self.metadata = {str(name): str(text) for name, text in facts["metadata"].items()}


class ExportedDetector(ExportedFile, Streaming, abc.ABC):
    """The detections of an exported file.

    `prepare` resizes an image outside the file, `infer` runs the file and alone is timed, and
    `finish` moves boxes back to pixels of the image.

    Attributes:
        takes_batches: whether it takes more than one image at a time.
    """

    def __init__(self, path: Path, facts: dict[str, Any], *, takes_batches: bool):
        super().__init__(path, facts)
        self.takes_batches = takes_batches

    @abc.abstractmethod
    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """Return the file's input for a uint8 RGB image, and the image's (h, w) in it."""

    @abc.abstractmethod
    def infer(self, inputs: np.ndarray, sizes: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return the file's outputs by name, for (B, ...) of what `prepare` gave."""

    @abc.abstractmethod
    def finish(self, outputs: dict[str, np.ndarray], row: int, size, original_size) -> Detections:
        """Return image `row` of `outputs`, moved from its `size` to its `original_size`."""

    def detect(self, images, *, batch_size: int = 8) -> list[Detections]:
        """Detect objects in images of any sizes; as `RetinaNet.detect`, through the file."""
        return detect(self, images, batch_size=batch_size)

    def _detections(self, boxes, scores, classes) -> Detections:
        return Detections(
            np.asarray(boxes, np.float32),
            np.asarray(scores, np.float32),
            np.asarray(classes, np.int32),
            self.class_names,
        )


class WholePictures(ExportedDetector):
    """A SavedModel: images of any size in, boxes in their own pixels out."""

    def __init__(self, path: Path, facts: dict[str, Any]):
        super().__init__(path, facts, takes_batches=True)
        self._loaded = tf.saved_model.load(str(path))  # the signature alone would let it go
        self._signature = self._loaded.signatures["serving_default"]
        self._index = {class_id: index for index, class_id in enumerate(self.class_ids)}

    def prepare(self, image):
        return image, image.shape[:2]

    def infer(self, inputs, sizes=None):
        outputs = self._signature(images=tf.constant(inputs))
        return {name: value.numpy() for name, value in outputs.items()}

    def finish(self, outputs, row, size, original_size):
        num = int(outputs["num_detections"][row])
        ids = outputs["detection_classes"][row, :num]
        return self._detections(
            outputs["detection_boxes_xyxy"][row, :num],
            outputs["detection_scores"][row, :num],
            [self._index[int(class_id)] for class_id in ids],
        )


class CanvasInput(ExportedDetector):
    """A TFLite or ONNX file: canvases in, boxes in 0..1 of them or raw heads out.

    Its canvas has one size, or, where the facts name none, that of `Preprocessing.letterbox`.
    """

    def __init__(self, path: Path, facts: dict[str, Any], run: Runner, *, takes_batches: bool):
        super().__init__(path, facts, takes_batches=takes_batches)
        self._run = run
        self._names = [output["name"] for output in facts["outputs"]]
        self._dtype = np.dtype(facts["input"]["dtype"])
        self._stretches = facts["input"]["letterbox"] == "stretch"
        fixed = facts["input"]["image_size"]
        self.canvas = (int(fixed[0]), int(fixed[1])) if fixed else None

    def prepare(self, image):
        if self._stretches:
            canvas, size = tf.image.resize(image, self.canvas), self.canvas
        elif self.canvas is None:
            canvas, size = self.preprocessing.letterbox(image)
        else:
            canvas, size = self.preprocessing.letterbox_into(image, self.canvas)
        canvas = canvas.numpy()
        if self._dtype == np.uint8:
            canvas = np.clip(np.rint(canvas), 0, 255)
        return canvas.astype(self._dtype), size

    def infer(self, inputs, sizes=None):
        canvases = np.tile(np.array(inputs.shape[1:3]), (len(inputs), 1))
        return {**dict(zip(self._names, self._run(inputs), strict=True)), "canvas": canvases}

    def finish(self, outputs, row, size, original_size):
        found = self.on_canvas(outputs, row, size)
        if self._stretches:
            boxes = found.boxes * _corners(original_size) / _corners(size)
        else:
            boxes = self.preprocessing.boxes_to_picture(found.boxes, size, original_size)
        return dataclasses.replace(found, boxes=np.asarray(boxes, np.float32))

    def on_canvas(self, outputs: dict[str, np.ndarray], row: int, size) -> Detections:
        """Return image `row` of `outputs`, of `size` (h, w), in pixels of the canvas."""
        if "class_logits" in outputs:
            return self._detections(*self._decode(outputs, row, size))
        num = int(outputs["num"][row])
        boxes = outputs["boxes"][row, :num][:, [1, 0, 3, 2]]  # ymin, xmin, ... -> x1, y1, ...
        boxes = self._clip(boxes * _corners(outputs["canvas"][row]), size)
        return self._detections(boxes, outputs["scores"][row, :num], outputs["classes"][row, :num])

    def _clip(self, boxes, size):
        """Cut at the image's border, which such a file does not know: it clips at the canvas."""
        if self.config.detections.clip_to != "picture":
            return boxes
        height, width = (side - self.config.detections.clip_margin for side in size)
        return box_ops.clip(tf.constant(boxes), height, width).numpy()

    def _decode(self, outputs, row, size):
        """Turn raw heads into boxes (N, 4) xyxy of the canvas, scores (N,) and classes (N,)."""
        canvas = tuple(outputs["canvas"][row].tolist())
        anchors = Anchors(**vars(self.config.anchors))
        cells = [rows * cols * anchors.per_cell for rows, cols in feature_sizes(*canvas)]
        batch = PostProcessing(**vars(self.config.detections))(
            {name: outputs[name][row : row + 1] for name in ("class_logits", "box_deltas")},
            anchors(*canvas),
            cells,
            tf.constant([size]),
            BoxCoder(**vars(self.config.box_coder)),
            canvas,
        )
        num = int(batch.num[0])
        return (part[0, :num].numpy() for part in batch[:3])


def _corners(size) -> np.ndarray:
    """Return what `size` (h, w) does to the corners of boxes xyxy in 0..1."""
    return np.array([size[1], size[0], size[1], size[0]], np.float32)
