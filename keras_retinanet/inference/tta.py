"""Test-time augmentation: average the detections of an image, its mirror image and other sizes."""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_retinanet.errors import UserError
from keras_retinanet.exporting.detectors import CanvasInput
from keras_retinanet.inference.merging import fuse
from keras_retinanet.modeling.composed import ComposedDetector
from keras_retinanet.modeling.detecting import Images, detect_images, image_arrays
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.preprocessing import Preprocessing
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.modeling.tiling import with_own_tiles

# Beyond these the network input is too small for anything or too large for the memory.
SCALES = (0.2, 5.0)
# Of P7, in pixels.
COARSEST_STRIDE = 128
# Boxes of two passes that overlap by more are of one object: the value of the fusion's authors.
FUSION_IOU = 0.55
# Chosen by AP on BCCD's validation part (benchmarks/test_time.py).
DEFAULT_SCALES = (1.0, 1.25)


@dataclasses.dataclass(frozen=True)
class OtherSize(Preprocessing):
    """Images at another size than the model's `own`, on canvases that keep its phase.

    A strided convolution padded as TensorFlow's "same" looks at even sides half a stride off where
    it looks at odd ones. A canvas with the own one's remainder leaves each cell where it learned
    to be.
    """

    own: Preprocessing = dataclasses.field(kw_only=True)

    def canvas_size(
        self, height: int, width: int, short_side: int | None = None
    ) -> tuple[int, int]:
        """Return the (height, width) that a resized image of `height` x `width` is padded to."""
        own = self.own.canvas_size(*self.own.resized_size(height, width))
        rows, columns = (
            side + (own_side - side) % COARSEST_STRIDE
            for side, own_side in zip((height, width), own, strict=True)
        )
        return rows, columns


class ResizedModel:
    """A RetinaNet with another `Preprocessing`: its steps, no more."""

    takes_batches = True
    prepare, finish = RetinaNet.prepare, RetinaNet.finish

    def __init__(self, model: RetinaNet, preprocessing: Preprocessing):
        self.preprocessing, self.class_names = preprocessing, model.class_names
        self.infer = model.infer


def takes_scales(detector: Any) -> bool:
    """Return whether `detector` can be given images of another size than its own."""
    return isinstance(detector, RetinaNet) or (
        isinstance(detector, CanvasInput) and detector.canvas is None
    )


def at_scale(detector: Any, scale: float) -> Any:
    """Return `detector` with images resized to `scale` times its own network input.

    Raises:
        UserError: it resizes images to a size of its own.
    """
    if scale == 1:
        return detector
    if not takes_scales(detector):
        raise UserError(
            "Expected scale 1 alone, for this file resizes images to its own size. "
            f"Received: scale={scale:g}. Give a .keras file, or an .onnx file without --image_size."
        )
    own = detector.preprocessing
    sides = {
        name: max(1, round(getattr(own, name) * scale)) for name in ("short_side", "long_side")
    }
    preprocessing = OtherSize(**{**vars(own), **sides}, own=own)
    if isinstance(detector, RetinaNet):
        return ResizedModel(detector, preprocessing)
    changed = copy.copy(detector)
    changed.preprocessing = preprocessing
    return changed


class TestTime(ComposedDetector):
    """Passes over an image and its mirror image, at several sizes; see `with_test_time`."""

    __test__ = False  # no test, though pytest goes by the name

    def __init__(self, inner: Any, *, scales: Sequence[float], flip: bool):
        super().__init__(inner)
        self._at_scale = {scale: at_scale(inner, scale) for scale in scales}
        # Of each pass its scale, and whether it sees the mirror image.
        self.views = [
            (scale, mirrored)
            for mirrored in ((False, True) if flip else (False,))
            for scale in self._at_scale
        ]

    def detect(self, images: Images, *, batch_size: int = 8) -> list[Detections]:
        """Detect objects in images of any sizes; as `RetinaNet.detect`."""
        detector = with_own_tiles(self)
        if detector is not self:
            return detector.detect(images, batch_size=batch_size)
        return self._fused_passes(list(image_arrays(images)), batch_size)

    def infer(
        self, inputs: np.ndarray, sizes: np.ndarray | None = None
    ) -> dict[str, list[Detections]]:
        """Return the detections in images (B, H, W, 3) of one size, none of them in tiles."""
        return {"found": self._fused_passes(list(inputs), len(inputs))}

    def _fused_passes(self, images: list[np.ndarray], batch_size: int) -> list[Detections]:
        passes = self.passes(images, batch_size=batch_size)
        return [self.fused(found) for found in zip(*passes, strict=True)]

    def passes(self, images: list[np.ndarray], *, batch_size: int = 8) -> list[list[Detections]]:
        """Return the detections of each of `views` in each image, in pixels of that image."""
        mirror_images = [np.ascontiguousarray(image[:, ::-1]) for image in images]
        passes = []
        for scale, mirrored in self.views:
            shown = mirror_images if mirrored else images
            found = detect_images(self._at_scale[scale], shown, batch_size=batch_size)
            if mirrored:
                found = [mirror(f, i.shape[1]) for f, i in zip(found, images, strict=True)]
            passes.append(found)
        return passes

    def fused(self, passes: Sequence[Detections]) -> Detections:
        """Return the weighted average of the detections of several passes over one image."""
        limits = self.config.detections
        boxes, scores, classes = fuse(
            np.concatenate([found.boxes for found in passes]),
            np.concatenate([found.scores for found in passes]),
            np.concatenate([found.classes for found in passes]),
            iou=FUSION_IOU,
            passes=len(passes),
        )
        # What few passes found, weakly, falls below the threshold that each pass had.
        rows = np.flatnonzero(scores >= limits.score_threshold)[: limits.max_detections]
        return Detections(
            boxes[rows].astype(np.float32),
            scores[rows].astype(np.float32),
            classes[rows],
            self.class_names,
        )


def mirror(found: Detections, width: int) -> Detections:
    """Return detections of an image's mirror image in the image itself, `width` pixels wide."""
    boxes = found.boxes.copy()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return dataclasses.replace(found, boxes=boxes)


def with_test_time(
    model: Any, *, scales: Sequence[float] | None = None, flip: bool = True
) -> TestTime:
    """Return a detector that runs once per scale on each image, and twice per scale with `flip`.

    Args:
        model: a RetinaNet or an exported file.
        scales: factors of the model's network input; 1 is its own size. None: `DEFAULT_SCALES`,
            or 1 alone for a file that takes no other.
        flip: run on the mirror image too.

    Raises:
        UserError: a scale out of `SCALES`, or one that the model cannot have.
    """
    if scales is None:
        scales = DEFAULT_SCALES if takes_scales(model) else (1.0,)
    if not scales or not all(SCALES[0] <= scale <= SCALES[1] for scale in scales):
        raise UserError(
            f"Expected scales of {SCALES[0]:g} to {SCALES[1]:g} times the network input. "
            f"Received: {', '.join(f'{scale:g}' for scale in scales) or 'none'}."
        )
    return TestTime(model, scales=scales, flip=flip)
