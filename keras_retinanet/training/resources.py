"""Estimate the memory and time of a training step from the graph."""

import math
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import keras
import psutil
import tensorflow as tf

from keras_retinanet.errors import UserError
from keras_retinanet.modeling.recomputation import RECOMPUTED

GIB = 2**30
# Operations whose outputs the backward pass keeps; reshapes share their input's memory.
KEPT_OPS = {
    "Conv2D", "DepthwiseConv2dNative", "FusedBatchNormV3", "AddV2", "BiasAdd", "Relu", "Relu6",
    "MaxPool", "Pad", "Mul", "ResizeNearestNeighbor", "ConcatV2",
}  # fmt: skip
# A convolution's two gradients cost what it does.
CONVOLUTIONS = {
    f"{kind}{gradient}"
    for kind in ("Conv2D", "DepthwiseConv2dNative")
    for gradient in ("", "BackpropInput", "BackpropFilter")
}
# Memory of weights, gradients and optimizer slots, in multiples of the weights.
WEIGHT_COPIES = 5
# Forward plus backward, which costs two forward passes.
TRAIN_TO_FORWARD = 3
PROBE_SECONDS = 0.3


@dataclass(frozen=True)
class Estimate:
    """Memory and operations of a training step on one device."""

    bytes: int
    flops: float

    def seconds_per_step(self) -> float:
        return self.flops / convolution_speed()


def estimate_step(
    model: keras.Model, batch_size: int, canvas: tuple[int, int], *, micro_batch: int = 0
) -> Estimate:
    """Return the estimate for a step of `batch_size` inputs of `canvas` (h, w) pixels.

    Args:
        micro_batch: number of inputs that are computed at once; 0: all.
    """
    at_once = micro_batch or batch_size
    spec = tf.TensorSpec((at_once, *canvas, 3), tf.float32)
    graph = tf.function(lambda x: model(x, training=True)).get_concrete_function(spec).graph
    activations, flops = 0, 0.0
    again: Counter[str] = Counter()  # bytes of what is computed again
    last: dict[str, int] = {}  # of each piece, the output that is kept
    for operation in graph.get_operations():
        piece = re.search(rf"\b{RECOMPUTED}(_\d+)?/", operation.name)
        if operation.type in KEPT_OPS and operation.outputs[0].shape.is_fully_defined():
            output = operation.outputs[0]
            size = output.shape.num_elements() * output.dtype.size
            if piece:
                again[piece[0]] += size
                last[piece[0]] = size
            else:
                activations += size
        # Forward once more costs a third of all.
        flops += _convolution_flops(operation) * (1 + bool(piece) / TRAIN_TO_FORWARD)
    # Of the pieces, one at a time is there again.
    activations += sum(last.values()) + max(again.values(), default=0)
    weights = sum(math.prod(weight.shape) * 4 for weight in model.weights)
    copies, waiting = WEIGHT_COPIES, 0
    if micro_batch:
        copies += 1  # the sum of the gradients
        waiting = (batch_size - at_once) * math.prod(canvas) * 3 * 4
    pieces = batch_size / at_once
    return Estimate(activations + waiting + copies * weights, TRAIN_TO_FORWARD * flops * pieces)


def graph_flops(graph: tf.Graph) -> float:
    """Return the operations of the convolutions in a graph of known shapes, and their gradients."""
    return sum(_convolution_flops(operation) for operation in graph.get_operations())


def _convolution_flops(operation: tf.Operation) -> float:
    if operation.type not in CONVOLUTIONS:
        return 0.0
    if operation.type.endswith("BackpropFilter"):
        outputs, kernel = operation.inputs[2].shape, operation.outputs[0].shape
    elif operation.type.endswith("BackpropInput"):
        outputs, kernel = operation.inputs[2].shape, operation.inputs[1].shape
    else:
        outputs, kernel = operation.outputs[0].shape, operation.inputs[1].shape
    # The kernel: (h, w, input channels per group, outputs).
    per_output = kernel[0] * kernel[1] * (1 if "Depthwise" in operation.type else kernel[2])
    return 2.0 * outputs.num_elements() * per_output


def convolution_speed() -> float:
    """Measure and return the FLOP/s of this machine on a 3x3 convolution of a head."""
    images, kernel = tf.ones((1, 64, 64, 128)), tf.ones((3, 3, 128, 128))
    convolve = tf.function(lambda: tf.reduce_sum(tf.nn.conv2d(images + 0.0, kernel, 1, "SAME")))
    convolve()
    start, runs = time.perf_counter(), 0
    while time.perf_counter() - start < PROBE_SECONDS:
        convolve().numpy()
        runs += 1
    return runs * 2.0 * 64 * 64 * 128 * 128 * 9 / (time.perf_counter() - start)


def available_memory() -> int:
    """Return the bytes this process may still use: of the machine, or of its container if fewer."""
    available = psutil.virtual_memory().available
    group = Path("/sys/fs/cgroup")
    if not all((group / f"memory.{name}").exists() for name in ("max", "current", "stat")):
        return available
    if (limit := (group / "memory.max").read_text().strip()) == "max":
        return available
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    # The page cache counts as used, but is freed on demand.
    used = int((group / "memory.current").read_text()) - int(stat.get("inactive_file", 0))
    return min(available, int(limit) - used)


def check_memory(
    estimate: Estimate,
    batch_size: int,
    *,
    micro_batch: int = 0,
    replicas: int = 1,
    is_long: bool = False,
) -> None:
    """Raise a UserError with advice if a step of all replicas does not fit the memory of the CPU.

    A smaller batch is no advice where the run is so long (`is_long`) that nobody waits for it.
    The memory of a GPU is not known before the step: TensorFlow does not report it.
    """
    if tf.config.list_physical_devices("GPU"):
        print("The GPU's memory is not checked: --dry_run shows whether a step fits.")
        return
    available, needed = available_memory(), estimate.bytes * replicas
    if needed <= available:
        return
    own = batch_size // replicas
    fitting = (micro_batch or own) * available // needed  # images at once on each device
    if fitting and not is_long:
        piece = max(size for size in range(1, fitting + 1) if own % size == 0)
        advice = f"--set train.micro_batch={piece}, which computes the same in smaller pieces"
        if not micro_batch:
            advice = f"--batch_size {fitting * replicas}, or {advice}"
    else:
        advice = "a smaller --image_size or backbone"
    raise UserError(
        f"A step of {batch_size} images needs about {needed / GIB:.1f} GiB and "
        f"{available / GIB:.1f} GiB is free. Use {advice}."
    )


def peak_memory() -> int:
    """Return the peak memory of this process in bytes."""
    import resource  # absent on Windows, where TensorFlow has no releases of this line

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
