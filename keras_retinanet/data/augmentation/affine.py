"""Free rotation, shear and translation: one affine map of an image onto its canvas, resampled once.

Shape letters: G ground truths, h w image, ch cw canvas. Sizes are (2,) (height, width), boxes xyxy,
points (x, y), all in pixels, whose centers are at halves.
"""

import math
from typing import Any, NamedTuple

import tensorflow as tf

from keras_retinanet.config import AugmentConfig

# An edge along an axis has this length across it, so that nothing is divided by zero.
_TINY = 1e-9


class Affine(NamedTuple):
    """A map of points: those of the canvas are `matrix` @ those of the image + `shift`.

    Attributes:
        matrix: (2, 2) float32.
        shift: (2,) float32.
    """

    matrix: Any
    shift: Any

    def __call__(self, points):
        """Return the places in the canvas of `points` (..., 2) of the image."""
        return tf.matmul(points, self.matrix, transpose_b=True) + self.shift

    def back(self, points):
        """Return the places in the image of `points` (..., 2) of the canvas."""
        return tf.matmul(points - self.shift, tf.linalg.inv(self.matrix), transpose_b=True)


def is_moving(config: AugmentConfig) -> bool:
    """Return whether `config` rotates, shears or translates."""
    return config.rotate > 0 or config.shear > 0 or config.translate > 0


def draw_affine(size, offset, config: AugmentConfig, *, seeds):
    """Draw a map around the center of an image of `size` that lies at `offset` in its canvas.

    Args:
        size, offset: (2,) int32 (height, width).
        seeds: {"rotate", "shear", "translate": (2,) int32}.

    Returns:
        An `Affine`: shear, then rotation, then translation by a fraction of the image's sides.
    """
    radians = math.radians(config.rotate)
    angle = tf.random.stateless_uniform([], seeds["rotate"], -radians, radians)
    cos, sin = tf.cos(angle), tf.sin(angle)
    radians = math.radians(config.shear)
    leans = tf.random.stateless_uniform([2], seeds["shear"], -radians, radians)
    across, down = tf.unstack(tf.tan(leans))
    rotation = tf.stack([[cos, -sin], [sin, cos]])
    matrix = rotation @ tf.stack([[1.0, across], [down, 1.0]])
    reach = config.translate
    moved = tf.random.stateless_uniform([2], seeds["translate"], -reach, reach)
    sides, place = (tf.cast(value[::-1], tf.float32) for value in (size, offset))
    center = sides / 2.0
    return Affine(matrix, center + place + moved * sides - tf.linalg.matvec(matrix, center))


def warp(image, affine: Affine, canvas, fill):
    """Return float32 `image` (h, w, 3) on a canvas (ch, cw) of the color `fill` (3,)."""
    fill = tf.constant(fill, tf.float32)
    inverse = tf.linalg.inv(affine.matrix)
    # The operation counts pixels from the center of the first.
    start = tf.linalg.matvec(inverse, 0.5 - affine.shift) - 0.5
    rows = tf.concat([inverse, start[:, None]], axis=1)
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=(image - fill)[None],
        transforms=tf.concat([tf.reshape(rows, [1, 6]), tf.zeros([1, 2])], axis=1),
        output_shape=canvas,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return warped[0] + fill


def move_boxes(boxes, affine: Affine, canvas, *, is_round):
    """Move `boxes` (G, 4) of an image onto its canvas.

    Args:
        is_round: (G,) bool: whether the object is the ellipse that touches the box's four sides,
            instead of all of the box.

    Returns:
        The bounds of the turned box or ellipse, cut to the bounds of what the canvas shows of the
        turned box, (G, 4); and (G,) float32, the share of the area of the bounds that is left.
    """
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2.0, (boxes[:, 2:] - boxes[:, :2]) / 2.0
    corner = tf.matmul(half, tf.abs(affine.matrix), transpose_b=True)
    ellipse = tf.sqrt(tf.matmul(half**2, affine.matrix**2, transpose_b=True))
    reach, center = tf.where(is_round[:, None], ellipse, corner), affine(center)
    low, high = _seen_bounds(boxes, affine, canvas)
    low, high = tf.maximum(low, center - reach), tf.minimum(high, center + reach)
    seen = tf.reduce_prod(tf.maximum(high - low, 0.0), axis=1)
    whole = tf.reduce_prod(2.0 * reach, axis=1)
    return tf.concat([low, high], axis=1), tf.math.divide_no_nan(seen, whole)


def _seen_bounds(boxes, affine: Affine, canvas):
    """Return the lowest and highest (x, y), (G, 2) each, of the turned boxes within the canvas.

    These are among the ends of the box's sides within the canvas, and the canvas's corners within
    the box. Of a box that is not seen the lowest is above the highest.
    """
    limits = tf.cast(canvas[::-1], tf.float32)
    corners = affine(tf.reshape(tf.gather(boxes, [0, 1, 2, 1, 2, 3, 0, 3], axis=1), [-1, 4, 2]))
    along = tf.roll(corners, -1, axis=1) - corners
    along = tf.where(tf.abs(along) < _TINY, _TINY, along)
    first, second = -corners / along, (limits - corners) / along
    begin = tf.maximum(tf.reduce_max(tf.minimum(first, second), axis=2), 0.0)
    end = tf.minimum(tf.reduce_min(tf.maximum(first, second), axis=2), 1.0)
    ends = [corners + share[..., None] * along for share in (begin, end)]  # (G, 4, 2) each
    edges = limits * tf.constant([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    inside = affine.back(edges)  # (4, 2)
    is_inside = tf.reduce_all(
        (inside >= boxes[:, None, :2]) & (inside <= boxes[:, None, 2:]), axis=2
    )  # (G, 4)
    points = tf.concat([*ends, tf.broadcast_to(edges, tf.shape(corners))], axis=1)
    is_seen = tf.concat([begin <= end, begin <= end, is_inside], axis=1)[..., None]
    far = tf.constant(math.inf)
    low = tf.reduce_min(tf.where(is_seen, points, far), axis=1)
    high = tf.reduce_max(tf.where(is_seen, points, -far), axis=1)
    return tf.clip_by_value(low, 0.0, limits), tf.clip_by_value(high, 0.0, limits)
