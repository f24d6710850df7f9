"""What TensorBoard shows of a run: scalars, precision-recall curves and pictures.

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

# Curves of this many classes, those with the most boxes: each takes 2.4 kB an evaluation.
CURVE_CLASSES = 100
ALL_CLASSES = "all classes"
# A tenth of the PNG that tf.summary.image makes: a hundred evaluations stay some 30 MB.
JPEG_QUALITY = 85


class EventLog:
    """The event files of a run in `folder`.

    Args:
        step: that the run goes on from. What it wrote past it before it was killed is void, and
            TensorBoard drops it.
    """

    def __init__(self, folder: Path, *, step: int):
        _mark_start(folder, step)
        self._writer = tf.summary.create_file_writer(str(folder))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add one value to each curve; a tag's part before the slash is its group."""
        with self._writer.as_default(step=step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)

    def precision_recall(self, points: OperatingPoints, class_names: list[str], step: int) -> None:
        """Add the curves at IoU .5: of all classes together, and of each that has a box to find."""
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
        """Add a picture (H, W, 3) uint8 RGB under `tag`, whose first description stays."""
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="jpeg", quality=JPEG_QUALITY)
        height, width = image.shape[:2]
        metadata = image_plugin.create_summary_metadata(None, description)
        with self._writer.as_default(step=step):
            tf.summary.write(tag, [str(width), str(height), stream.getvalue()], metadata=metadata)

    def flush(self) -> None:
        """Write what was added, so that a killed run has it."""
        self._writer.flush()


def curve_table(right: np.ndarray, wrong: np.ndarray, boxes: int) -> np.ndarray:
    """Return what TensorBoard's `pr_curves` plugin reads of one class.

    Args:
        right, wrong: (S,) counts of detections at evenly spaced thresholds from 0 to 1.
        boxes: how many there are to find.

    Returns:
        (6, S) float32: true positives, false positives, true negatives (0: a detector names no
        background), false negatives, precision (0 where nothing is detected), recall.
    """
    rows = [right, wrong, np.zeros_like(right), boxes - right]
    rows += [right / np.maximum(right + wrong, 1), right / max(boxes, 1)]
    return np.stack(rows).astype(np.float32)


def _mark_start(folder: Path, step: int) -> None:
    """Note that the run starts after `step`: all that earlier files hold past it is void."""
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    now = time.time()
    folder.mkdir(parents=True, exist_ok=True)
    # Files are read by name: no host's name sorts before a hyphen, so this one comes first.
    path = folder / f"events.out.tfevents.{int(now):010}.-start"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for event in (
            event_pb2.Event(wall_time=now, file_version="brain.Event:2"),
            event_pb2.Event(wall_time=now, step=step + 1, session_log=start),
        ):
            writer.write(event.SerializeToString())
