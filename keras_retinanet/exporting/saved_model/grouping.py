"""Images of mixed sizes inside a graph: equal canvases go through the network together.

Shape letters: B images, M of them in a group, N detections.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from keras_retinanet.modeling.post_processing import DetectionBatch
from keras_retinanet.modeling.preprocessing import Preprocessing

# As many images go through the network at once, as in `RetinaNet.detect`: however many a client
# sends, the memory is bounded.
GROUP_SIZE = 8


class Prepared(NamedTuple):
    """Images as the network takes them, and the way back."""

    canvases: tf.TensorArray  # B times (ch, cw, 3) float32
    sizes: tf.Tensor  # (B, 4) int32: height and width of the resized image, and of its canvas
    ways_back: tf.Tensor  # (B, 8) float32: four factors, then four to subtract
    originals: tf.Tensor  # (B, 2) int32: height and width
    is_read: tf.Tensor  # (B,) bool


def prepare(preprocessing: Preprocessing, read: Callable[[Any], Any], count: Any) -> Prepared:
    """Return `count` images, letterboxed one by one.

    Args:
        preprocessing: the model's.
        read: index -> (image (H, W, 3) uint8, whether it could be read).
        count: B, a scalar int32.
    """
    kinds: dict[str, tuple[Any, list[int | None]]] = {
        "canvases": (tf.float32, [None, None, 3]),
        "sizes": (tf.int32, [4]),
        "ways_back": (tf.float32, [8]),
        "originals": (tf.int32, [2]),
        "is_read": (tf.bool, []),
    }
    arrays = [
        tf.TensorArray(dtype, size=count, element_shape=shape, infer_shape=False)
        for dtype, shape in kinds.values()
    ]

    def step(index, *arrays):
        picture, is_read = read(index)
        original = tf.shape(picture)[:2]
        canvas, size = preprocessing.letterbox(picture)
        back = way_back(preprocessing, size, original)
        sizes = tf.concat([size, tf.shape(canvas)[:2]], 0)
        values = (canvas, sizes, back, original, is_read)
        written = [array.write(index, value) for array, value in zip(arrays, values, strict=True)]
        return index + 1, *written

    _, canvases, *rest = tf.while_loop(lambda i, *_: i < count, step, (tf.constant(0), *arrays))
    return Prepared(canvases, *(array.stack() for array in rest))


def way_back(preprocessing: Preprocessing, size: Any, original: Any) -> tf.Tensor:
    """Return what moves boxes back from a canvas (8,): four factors, then four to subtract."""
    (y, x), (top, left) = preprocessing.way_back(size, tf.unstack(original, num=2))
    row = (x, y, x, y, left, top, left, top)
    return tf.stack([tf.cast(value, tf.float32) for value in row])


def detect_groups(
    pictures: Prepared, detect: Callable[[Any, Any], DetectionBatch], max_detections: Any
) -> DetectionBatch:
    """Return the detections of all images, boxes in pixels of their canvases.

    An image that could not be read has none, and costs nothing.

    Args:
        detect: canvases (M, ch, cw, 3), sizes (M, 2) -> `DetectionBatch`.
        max_detections: N, a Python integer or a scalar tensor.
    """
    count = tf.shape(pictures.sizes)[0]
    members = tf.where(pictures.is_read)[:, 0]  # of all groups
    unique, group_of = _groups(tf.gather(pictures.sizes[:, 2:], members))

    def step(group, *results):
        rows = tf.boolean_mask(members, group_of == group)  # (M,)
        canvases = pictures.canvases.gather(tf.cast(rows, tf.int32))
        found = detect(canvases, tf.gather(pictures.sizes[:, :2], rows))
        return group + 1, *(
            tf.tensor_scatter_nd_update(result, rows[:, None], part)
            for result, part in zip(results, found, strict=True)
        )

    length = max_detections if isinstance(max_detections, int) else None
    empty = DetectionBatch(
        boxes=tf.zeros(tf.stack([count, max_detections, 4])),
        scores=tf.zeros(tf.stack([count, max_detections])),
        classes=tf.zeros(tf.stack([count, max_detections]), tf.int32),
        num=tf.zeros(count[None], tf.int32),
    )
    shapes_kept = [[None, length, 4], [None, length], [None, length], [None]]
    _, *results = tf.while_loop(
        lambda group, *_: group < tf.shape(unique)[0],
        step,
        (tf.constant(0), *empty),
        shape_invariants=(tf.TensorShape([]), *map(tf.TensorShape, shapes_kept)),
    )
    return DetectionBatch(*results)


def _groups(shapes):
    """Return one row per group, and the group (P,) of each of the canvases of `shapes` (P, 2)."""
    is_same = tf.reduce_all(shapes[:, None, :] == shapes[None, :, :], axis=2)  # (P, P)
    up_to_it = tf.linalg.band_part(tf.cast(is_same, tf.int32), -1, 0)
    before = tf.reduce_sum(up_to_it, axis=1) - 1  # how many of its canvas come before it
    keys = tf.concat([shapes, before[:, None] // GROUP_SIZE], axis=1)
    return tf.raw_ops.UniqueV2(x=keys, axis=[0])


def responses(found: DetectionBatch, pictures: Prepared, class_ids: Any) -> dict[str, tf.Tensor]:
    """Return what an application gets: names of the TF Object Detection API, all float32.

    Args:
        class_ids: (K,) float32, the dataset's own.
    """
    is_row = tf.range(tf.shape(found.scores)[1]) < found.num[:, None]  # (B, N)
    factors, offsets = tf.split(pictures.ways_back[:, None, :], 2, axis=2)
    boxes = tf.where(is_row[..., None], found.boxes * factors - offsets, 0.0)
    x1, y1, x2, y2 = tf.unstack(boxes, axis=2)
    high, wide = tf.unstack(tf.cast(pictures.originals[:, None, :], tf.float32), axis=2)
    return {
        "detection_boxes": tf.stack([y1 / high, x1 / wide, y2 / high, x2 / wide], axis=2),
        "detection_scores": found.scores,
        "detection_classes": tf.where(is_row, tf.gather(class_ids, found.classes), 0.0),
        "num_detections": tf.cast(found.num, tf.float32),
        "detection_boxes_xyxy": boxes,
    }
