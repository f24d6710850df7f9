"""Write what TensorBoard shows of a run: scalars, precision-recall curves and images.

Shape letters: K classes, S thresholds.
"""

import io
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.image import metadata as image_plugin
from tensorboard.plugins.pr_curve import metadata as pr_curve

from keras_retinanet.evaluation.metrics.curves import OperatingPoints

# Maximum number of classes with curves, those with the most boxes: 2.4 kB each per evaluation.
CURVE_CLASSES = 100
ALL_CLASSES = "all classes"
# A tenth of the size of tf.summary.image's PNG: a hundred evaluations take about 30 MB.
JPEG_QUALITY = 85


class EventLog:
    """The event files of a run in `folder`.

    Args:
        step: step at which the run starts or resumes. TensorBoard drops what a killed run
            logged after it.
    """

    def __init__(self, folder: Path, *, step: int):
        _mark_start(folder, step)
        self._writer = tf.summary.create_file_writer(str(folder))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add one value to each curve; the part of a tag before the slash is its group."""
        with self._writer.as_default(step=step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)

    def precision_recall(self, points: OperatingPoints, class_names: list[str], step: int) -> None:
        """Add the curves at IoU .5: for all classes together, and for each class with a box."""
        right, wrong, boxes = points.right, points.wrong, points.boxes
        ranked = np.argsort(-boxes, kind="stable")[:CURVE_CLASSES]
        curves = {class_names[index]: index for index in np.sort(ranked) if boxes[index]}
        tables = {name: curve_table(right[i], wrong[i], boxes[i]) for name, i in curves.items()}
        tables = {ALL_CLASSES: curve_table(right.sum(0), wrong.sum(0), boxes.sum()), **tables}
        with self._writer.as_default(step=step):
            for name, table in tables.items():
                metadata = pr_curve.create_summary_metadata(name, "at IoU 0.5", table.shape[1])
                tf.summary.write(f"precision_recall/{name}", table, metadata=metadata)

    def picture(self, tag: str, image: np.ndarray, step: int, *, description: str) -> None:
        """Add an image (H, W, 3) uint8 RGB under `tag`, whose first description stays."""
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="jpeg", quality=JPEG_QUALITY)
        height, width = image.shape[:2]
        metadata = image_plugin.create_summary_metadata(None, description)
        with self._writer.as_default(step=step):
            tf.summary.write(tag, [str(width), str(height), stream.getvalue()], metadata=metadata)

    def flush(self) -> None:
        """Write what was added, so that it survives a kill."""
        self._writer.flush()


def curve_table(right: np.ndarray, wrong: np.ndarray, boxes: int) -> np.ndarray:
    """Return the table that TensorBoard's `pr_curves` plugin reads for one class.

    Args:
        right, wrong: (S,) counts of detections at evenly spaced thresholds from 0 to 1.
        boxes: number of ground-truth boxes.

    Returns:
        (6, S) float32: true positives, false positives, true negatives (0: a detector names no
        background), false negatives, precision (0 where nothing is detected), recall.
    """
    rows = [right, wrong, np.zeros_like(right), boxes - right]
    rows += [right / np.maximum(right + wrong, 1), right / max(boxes, 1)]
    return np.stack(rows).astype(np.float32)


def _mark_start(folder: Path, step: int) -> None:
    """Record that the run starts after `step`, so that later steps of earlier files are dropped."""
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    now = time.time()
    folder.mkdir(parents=True, exist_ok=True)
    # Files are read in the order of their names, and a hyphen sorts before every host name.
    path = folder / f"events.out.tfevents.{int(now):010}.-start"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for event in (
            event_pb2.Event(wall_time=now, file_version="brain.Event:2"),
            event_pb2.Event(wall_time=now, step=step + 1, session_log=start),
        ):
            writer.write(event.SerializeToString())
