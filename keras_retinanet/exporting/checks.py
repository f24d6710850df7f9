"""After an export: the written file, run as an application runs it, against its source.

Shape letters: N wanted and M given detections of one image.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from keras_retinanet.config import DetectionConfig
from keras_retinanet.data.records import Dataset
from keras_retinanet.evaluation.runner import evaluate
from keras_retinanet.exporting.detectors import CanvasInput, ExportedDetector
from keras_retinanet.exporting.exported import load_exported
from keras_retinanet.modeling import boxes as box_ops
from keras_retinanet.modeling.detecting import detect_images
from keras_retinanet.modeling.detections import Detections
from keras_retinanet.modeling.retinanet import RetinaNet


class ExportFailed(Exception):
    """The written file does not do what its source does; the message says by how much."""


class Tolerance(NamedTuple):
    """When two detections of one class are the same, and which share of them must be."""

    iou: float
    score: float
    share: float


# By precision. A gross error must fail, rounding must not: how good a file is, AP tells.
TOLERANCES = {
    "float32": Tolerance(0.98, 0.001, 0.98),
    "float16": Tolerance(0.9, 0.02, 0.95),
    "bfloat16": Tolerance(0.8, 0.08, 0.8),
    "dynamic": Tolerance(0.6, 0.2, 0.8),
    "int8": Tolerance(0.5, 0.3, 0.7),
}
# Boxes with corners up to this many pixels apart are the same, however small they are.
NEAR = 0.1


class Agreement(NamedTuple):
    """How detections agree: how many were compared, how many have a partner, and how far off."""

    compared: int = 0
    matched: int = 0
    pixels: float = 0.0
    score: float = 0.0

    def plus(self, other: "Agreement") -> "Agreement":
        return Agreement(
            self.compared + other.compared,
            self.matched + other.matched,
            max(self.pixels, other.pixels),
            max(self.score, other.score),
        )


def check_export(model: RetinaNet, path, pictures: Iterable[np.ndarray]) -> Agreement:
    """Load what was exported, run it on `pictures` and compare with `model`.

    A file that takes canvases is compared on its canvas: what letterboxing to another size costs
    is not an error of the export; `verify_export` measures it.

    Args:
        model: the source, with the thresholds as exported.
        path: the written file or folder.
        pictures: uint8 RGB (H, W, 3).

    Raises:
        ExportFailed: classes differ, or too few detections agree for the precision.
        UserError: the file cannot be loaded.
    """
    detector = load_exported(path)
    if (detector.class_names, detector.class_ids) != (model.class_names, model.class_ids):
        raise ExportFailed(f"{path} has other classes than its source.")
    precision = detector.facts["precision"]
    tolerance = TOLERANCES[precision]
    total = Agreement()
    for picture in pictures:
        wanted, given = _both(model, detector, picture)
        total = total.plus(compare(wanted, given, tolerance, model.config.detections))
    if total.matched < tolerance.share * total.compared:
        raise ExportFailed(
            f"Expected at least {tolerance.share:.0%} of the detections of a {precision} file to "
            f"be its source's. Received: {total.matched} of {total.compared}."
        )
    return total


def _both(model: RetinaNet, detector: ExportedDetector, picture: np.ndarray):
    """Return the `Detections` of the model and of the file, of the very same pixels."""
    inputs, size = detector.prepare(picture)
    outputs = detector.infer(inputs[None])
    if not isinstance(detector, CanvasInput):
        (wanted,) = detect_images(model, picture, batch_size=1)  # one pass, as the file's
        return wanted, detector.finish(outputs, 0, size, size)
    canvas = inputs.shape[:2]  # taken for an image of that size, so that both clip alike
    batch = model.infer(inputs[None])
    boxes, scores, classes = (part[0, : int(batch.num[0])] for part in batch[:3])
    wanted = Detections(boxes, scores, classes, model.class_names)
    return wanted, detector.on_canvas(outputs, 0, canvas)


def compare(
    wanted: Detections, given: Detections, tolerance: Tolerance, settings: DetectionConfig
) -> Agreement:
    """Return how two sets of one image's detections agree, each way.

    Left out are those that rounding may rightly drop: near the threshold, or where the most
    detections of an image are found, near the last score.
    """
    least = settings.score_threshold
    if max(len(wanted), len(given)) >= settings.limit:
        least = max(least, wanted.scores.min(initial=1), given.scores.min(initial=1))
    least += tolerance.score
    same = wanted.classes[:, None] == given.classes[None, :]  # (N, M)
    gaps = np.abs(wanted.scores[:, None] - given.scores[None, :])
    overlaps = box_ops.iou(wanted.boxes, given.boxes).numpy()
    offsets = np.abs(wanted.boxes[:, None] - given.boxes[None]).max(axis=2, initial=0)
    # A box that was cut to nothing overlaps not even itself.
    near = (overlaps >= tolerance.iou) | (offsets <= NEAR)
    partners = same & (gaps <= tolerance.score) & near
    rows, columns = wanted.scores >= least, given.scores >= least
    total = Agreement(
        int(rows.sum() + columns.sum()),
        int(partners.any(axis=1)[rows].sum() + partners.any(axis=0)[columns].sum()),
    )
    if not partners[rows].any():
        return total
    # Of its partners each detection is held against the nearest.
    offsets[~partners] = np.inf
    best = offsets.argmin(axis=1)
    found = np.flatnonzero(rows & partners.any(axis=1))
    return total._replace(
        pixels=float(offsets[found, best[found]].max()), score=float(gaps[found, best[found]].max())
    )


class Verified(NamedTuple):
    """AP in points of 100 and median milliseconds per image, before and after the export."""

    ap: tuple[float, float]
    milliseconds: tuple[float, float]

    @property
    def drop(self) -> float:
        return self.ap[0] - self.ap[1]


def verify_export(model: RetinaNet, path, dataset: Dataset, *, progress: bool = True) -> Verified:
    """Score the source and the exported file on a dataset, one image at a time.

    Raises:
        UserError: the class names do not map.
    """
    metrics = [
        evaluate(detector, dataset, batch_size=1, progress=progress)
        for detector in (model, load_exported(path))
    ]
    before, after = metrics
    return Verified(
        (100 * before["AP"], 100 * after["AP"]), (before["ms_per_picture"], after["ms_per_picture"])
    )
