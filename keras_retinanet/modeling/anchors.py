"""Input size -> anchors (R, 4), P3..P7, in the order of the heads' outputs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_retinanet.config.model import LEVELS, AnchorConfig

# The paper's 32 px on P3 of stride 8, and so on.
STRIDES_PER_SIZE = 4


def feature_sizes(height: int | tf.Tensor, width: int | tf.Tensor) -> list[tuple[Any, Any]]:
    """Return five (height, width) pairs of P3..P7 for an input of `height` x `width` pixels.

    Every stride-2 layer here halves and rounds up, so level l has ceil(side / 2**l) cells. Python
    integers and scalar tensors both work.
    """
    # Never divide a negative number: ONNX's integer division rounds it the other way.
    return [
        ((height + 2**level - 1) // 2**level, (width + 2**level - 1) // 2**level)
        for level in LEVELS
    ]


def level_cells(height: int | tf.Tensor, width: int | tf.Tensor) -> list[Any]:
    """Return the number of cells of P3..P7: a level has this many times `per_cell` anchors."""
    return [rows * columns for rows, columns in feature_sizes(height, width)]


def spatial_shape(images: tf.Tensor) -> tuple[Any, Any]:
    """Return (height, width) of `images` (B, H, W, 3): Python integers where they are known."""
    dynamic = tf.shape(images)
    height, width = (
        dynamic[axis] if images.shape[axis] is None else images.shape[axis] for axis in (1, 2)
    )
    return height, width


@dataclass(frozen=True)
class Anchors(AnchorConfig):
    """Compute anchor boxes from the shape of the input alone.

    The defaults are the paper's 3 scales x 3 ratios on 32..512 px: sides of 32 to 813 px.
    """

    @property
    def per_cell(self) -> int:
        return len(self.scales) * len(self.ratios)

    def cell(self, size: float) -> np.ndarray:
        """Return the boxes (A, 4) of one cell around (0, 0), float32, for a level of `size` px."""
        scaled = np.array([size * scale for scale in self.scales], np.float32)
        if self.rounded:
            scaled = np.trunc(scaled)
        high, wide = self._ratio_sides(size)
        if self.order == "ratio_outer":
            heights, widths = np.outer(high, scaled), np.outer(wide, scaled)
        else:
            heights, widths = np.outer(scaled, high), np.outer(scaled, wide)
        half = np.stack([-widths, -heights, widths, heights], axis=-1).reshape(-1, 4) / 2
        half = np.round(half) if self.rounded else half
        return (half + [0, 0, 1, 1] if self.inclusive else half).astype(np.float32)

    def _ratio_sides(self, size: float) -> tuple[np.ndarray, np.ndarray]:
        """Return height and width (ratios,) of each ratio's box of area 1."""
        ratios = np.array(self.ratios, np.float32)
        root = np.sqrt(ratios)
        long, short = root, 1 / root
        if self.rounded_base:
            stride = np.float32(size / STRIDES_PER_SIZE)
            whole = np.round(stride * short)
            long, short = np.round(whole * ratios) / stride, whole / stride
        return (long, short) if self.ratio_is == "h/w" else (short, long)

    def __call__(self, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
        """Return all anchors (R, 4) float32 xyxy for an input of `height` x `width` pixels.

        Args:
            height, width: Python integers or scalar int32 tensors; any value from 1 up.
        """
        levels = zip(LEVELS, self.sizes, feature_sizes(height, width), strict=True)
        anchors = tf.concat(
            [self._level(level, size, rows, columns, height, width)
             for level, size, (rows, columns) in levels],
            axis=0,
        )  # fmt: skip
        if not self.clip:
            return anchors
        limit = tf.cast(tf.stack([width, height, width, height]), tf.float32)
        return tf.clip_by_value(anchors, 0.0, limit)

    def _level(
        self, level: int, size: float, rows: Any, columns: Any, height: Any, width: Any
    ) -> tf.Tensor:
        y_stride = x_stride = 2**level
        if self.stride == "true":
            y_stride, x_stride = height // rows, width // columns
        y = (tf.cast(tf.range(rows), tf.float32) + self.offset) * tf.cast(y_stride, tf.float32)
        x = (tf.cast(tf.range(columns), tf.float32) + self.offset) * tf.cast(x_stride, tf.float32)
        y, x = tf.meshgrid(y, x, indexing="ij")
        centers = tf.stack([x, y, x, y], axis=-1)  # (rows, columns, 4)
        return tf.reshape(centers[:, :, None, :] + self.cell(size), [-1, 4])
