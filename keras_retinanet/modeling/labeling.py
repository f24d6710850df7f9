"""Anchors + padded ground truth -> the target of each anchor."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_retinanet.config import MatchConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling import boxes as box_ops

BACKGROUND = -1
IGNORED = -2
# An unmatched anchor with this fraction of its area in a crowd or difficult box is ignored.
IGNORE_COVERAGE = 0.5


class Targets(NamedTuple):
    """Per-anchor targets of a batch."""

    matches: tf.Tensor  # (B, R) int32: index of the matched box, BACKGROUND or IGNORED
    classes: tf.Tensor  # (B, R) int32: class id, BACKGROUND or IGNORED
    boxes: tf.Tensor  # (B, R, 4) float32 xyxy: the matched box; meaningless where none is


class Labeler(keras.layers.Layer):
    """Base of the labelers: padding, ignored boxes and targets around a rule for one image.

    Boxes marked `ignore` are never matched; an unmatched anchor with half its area in one is
    ignored. Padding (class -1) is never matched.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "trainable": False, "dtype": "float32"})

    def call(
        self,
        anchors: tf.Tensor,
        labels: Mapping[str, tf.Tensor],
        level_cells: Sequence[int | tf.Tensor] | None = None,
    ) -> Targets:
        """Return the `Targets` of a batch.

        Args:
            anchors: (R, 4) float32 xyxy in pixels of the network input.
            labels: "boxes" (B, G, 4) float32 xyxy in the same pixels; "classes" (B, G) int with
                -1 as padding; "ignore" (B, G) bool, may be absent.
            level_cells: number of cells of each level, as `anchors.level_cells` gives them; only
                rules that look at the levels need it.
        """
        boxes = tf.cast(labels["boxes"], tf.float32)
        classes = tf.cast(labels["classes"], tf.int32)
        ignore = labels.get("ignore")
        ignore = tf.zeros_like(classes, tf.bool) if ignore is None else tf.cast(ignore, tf.bool)
        # One image at a time bounds the memory to a few (R, G) arrays for any batch size.
        return tf.map_fn(
            lambda image: self._label_image(anchors, level_cells, *image),
            (tf.stop_gradient(boxes), classes, ignore),
            fn_output_signature=Targets(tf.int32, tf.int32, tf.float32),
            parallel_iterations=1,
        )

    def match(
        self,
        anchors: tf.Tensor,
        boxes: tf.Tensor,
        *,
        matchable: tf.Tensor,
        level_cells: Sequence[int | tf.Tensor] | None,
    ) -> tf.Tensor:
        """Return (R,) int32 for one image: index of the matched box, BACKGROUND or IGNORED.

        Args:
            anchors: (R, 4).
            boxes: (G, 4); G may be 0.
            matchable: (G,) bool, False for padding and ignored boxes, which match nothing.
            level_cells: as in `call`.
        """
        raise NotImplementedError

    def _label_image(
        self,
        anchors: tf.Tensor,
        level_cells: Sequence[int | tf.Tensor] | None,
        boxes: tf.Tensor,
        classes: tf.Tensor,
        ignore: tf.Tensor,
    ) -> Targets:
        # Padding matches nothing, and most rows are padding: leave it out of all (R, G) arrays.
        real = tf.where(classes >= 0)[:, 0]  # G from here on: the number of real boxes
        boxes, classes, ignore = (tf.gather(values, real) for values in (boxes, classes, ignore))
        matches = self.match(anchors, boxes, matchable=~ignore, level_cells=level_cells)
        matches = tf.where(
            (matches == BACKGROUND) & self._in_ignored(anchors, boxes, ignore), IGNORED, matches
        )
        is_matched, index = matches >= 0, tf.maximum(matches, 0)
        # One more box, so that an index is valid even for G = 0.
        boxes = tf.pad(boxes, [[0, 1], [0, 0]])
        classes = tf.pad(classes, [[0, 1]])
        real = tf.pad(tf.cast(real, tf.int32), [[0, 1]])
        return Targets(
            tf.where(is_matched, tf.gather(real, index), matches),
            tf.where(is_matched, tf.gather(classes, index), matches),
            tf.gather(boxes, index),
        )

    def _in_ignored(self, anchors: tf.Tensor, boxes: tf.Tensor, ignore: tf.Tensor) -> tf.Tensor:
        """Return (R,) bool: half of the anchor lies in one box with `ignore` (G,) set."""

        def compute() -> tf.Tensor:
            covered = box_ops.coverage(anchors, tf.boolean_mask(boxes, ignore))
            return tf.reduce_any(covered >= IGNORE_COVERAGE, axis=1)

        # Most images have none: skip a second (R, G) pass for them.
        none = tf.zeros(tf.shape(anchors)[:1], tf.bool)
        return tf.cond(tf.reduce_any(ignore), compute, lambda: none)


@keras.saving.register_keras_serializable(package="keras_retinanet")
class AnchorLabeler(Labeler):
    """Assign to each anchor the box with the highest IoU, if that is at least `positive_iou`.

    Below `negative_iou` an anchor is background, between the two it is ignored (RetinaNet paper,
    section 4, "Anchors"). Boxes marked `ignore` are never matched; an unmatched anchor with half
    its area in one is ignored. Padding (class -1) is never matched.

    Args:
        positive_iou, negative_iou: the two thresholds.
        low_quality: every box also takes the anchors with its highest IoU, if they overlap at all;
            such an anchor is assigned the box that *it* overlaps most, as in torchvision and
            detectron2.
    """

    def __init__(
        self,
        positive_iou: float = MatchConfig.positive_iou,
        negative_iou: float = MatchConfig.negative_iou,
        low_quality: bool = MatchConfig.low_quality,
        **kwargs: Any,
    ):
        if not 0 <= negative_iou <= positive_iou <= 1 or positive_iou == 0:
            raise UserError(
                "Expected 0 <= negative_iou <= positive_iou <= 1, positive_iou > 0. Received: "
                f"negative_iou={negative_iou}, positive_iou={positive_iou}."
            )
        super().__init__(**kwargs)
        self.positive_iou = positive_iou
        self.negative_iou = negative_iou
        self.low_quality = low_quality

    def match(
        self,
        anchors: tf.Tensor,
        boxes: tf.Tensor,
        *,
        matchable: tf.Tensor,
        level_cells: Sequence[int | tf.Tensor] | None,
    ) -> tf.Tensor:
        ious = box_ops.iou(anchors, boxes)  # (R, G)
        # Padding and ignored boxes lose to every real box, and to having no box.
        ious = tf.where(matchable[None, :], ious, -1.0)
        # A column of zeros defines the reductions for G = 0 and has no other effect.
        ious = tf.pad(ious, [[0, 0], [0, 1]])
        best = tf.argmax(ious, axis=1, output_type=tf.int32)  # (R,)
        best_iou = tf.reduce_max(ious, axis=1)

        matches = tf.where(best_iou < self.negative_iou, BACKGROUND, IGNORED)
        positive = best_iou >= self.positive_iou
        if self.low_quality:
            box_best = tf.reduce_max(ious, axis=0)  # (G + 1,)
            positive |= tf.reduce_any((ious == box_best) & (box_best > 0), axis=1)
        return tf.where(positive, best, matches)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "positive_iou": self.positive_iou,
            "negative_iou": self.negative_iou,
            "low_quality": self.low_quality,
        }
