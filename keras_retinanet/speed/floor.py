"""What the machine can do at best: a convolution and a matrix product, timed among the others."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

from keras_retinanet.exporting.folding import PRECISIONS
from keras_retinanet.speed.tables import Table, time_row
from keras_retinanet.speed.timing import Times

CONVOLUTION, MATMUL = "floor: 3x3 convolution", "floor: matrix product"
# A 3x3 convolution of a head on P3 of an 800x800 image.
SIDE, CHANNELS, KERNEL = 100, 256, 3
MATRIX_SIDE = 2048
FLOPS = {
    CONVOLUTION: 2.0 * SIDE**2 * CHANNELS**2 * KERNEL**2,
    MATMUL: 2.0 * MATRIX_SIDE**3,
}


class Floor(NamedTuple):
    """FLOP/s of the machine in `dtype`."""

    dtype: str
    speeds: dict[str, float]  # by the names of `FLOPS`

    def seconds(self, flops: float) -> float:
        """Return the least time of `flops` operations."""
        return flops / self.speeds[CONVOLUTION]


def floor_calls(precision: str) -> dict[str, Callable[[], object]]:
    """Return the calls to time among those of a network of this precision (`folded`)."""
    dtype = PRECISIONS[precision][1]

    def drawn(*shape: int) -> tf.Tensor:
        return tf.cast(tf.random.stateless_uniform(shape, (0, 0)), dtype)

    features, matrix = drawn(1, SIDE, SIDE, CHANNELS), drawn(MATRIX_SIDE, MATRIX_SIDE)
    kernel = drawn(KERNEL, KERNEL, CHANNELS, CHANNELS)
    convolve = tf.function(lambda x: tf.nn.conv2d(x, kernel, 1, "SAME"))
    multiply = tf.function(lambda x: tf.matmul(x, matrix))
    return {CONVOLUTION: lambda: convolve(features), MATMUL: lambda: multiply(matrix)}


def floor_of(times: Mapping[str, Times], precision: str) -> Floor:
    """Return the floor from the times of `floor_calls`, of which the fastest repeat counts."""
    speeds = {name: flops / min(times[name].seconds) for name, flops in FLOPS.items()}
    return Floor(PRECISIONS[precision][1], speeds)


def floor_table(times: Mapping[str, Times], floor: Floor) -> Table:
    """Return what the machine can do, for people."""
    rows = [
        time_row(name, times[name]) | {"GFLOP/s at best": floor.speeds[name] / 1e9}
        for name in FLOPS
    ]
    note = "`of floor` below: the time at this convolution's speed, as a share of the measured one."
    return Table(f"Floor: ms in {floor.dtype}", rows, [note])
