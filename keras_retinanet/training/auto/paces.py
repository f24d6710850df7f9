"""How fast a class of machines trains and what memory it takes: constants, so that plans repeat.

Measured with EfficientNet-Lite0 at 320 x 416 pixels, FPN and heads of 64 channels, on 2 cores: 12
images a second (AMD Zen 4), 5.6 (Intel Xeon). A plan is right within a factor of 2 or so;
`train.minutes` is what bounds a run.
"""

from typing import NamedTuple

from keras_retinanet.training.auto.facts import Machine

# Of the measured input.
PIXELS = 320 * 416
# Images a second at that input, for each core; for a GPU a guess, because none was at hand.
CORE_IMAGES = 4.0
GPU_IMAGES = 150.0
# Memory bandwidth is shared: a guess at how many cores still add to the pace.
USEFUL_CORES = 16
# An evaluation has no backward pass, which costs two forward passes.
EVALUATION_SPEEDUP = 3.0


class Cost(NamedTuple):
    """Time of a training step relative to EfficientNet-Lite0's, and its bytes for each pixel."""

    time: float
    bytes_per_pixel: int


# FPN and heads of 64 channels for the first ones, of 256 for those from ResNet-50 on. Times: of 4
# steps of 8 images (fewer of the largest), median, idle Xeon, 2026-11-27; bytes: `estimate_step`.
COSTS = {
    "efficientnet_lite0": Cost(1.0, 2400),
    "efficientnet_lite1": Cost(1.1, 3000),
    "efficientnet_lite2": Cost(1.4, 3200),
    "efficientnet_lite3": Cost(2.5, 4100),
    "efficientnet_lite4": Cost(3.3, 5600),
    "resnet18": Cost(1.3, 1400),
    "resnet34": Cost(2.4, 2000),
    "resnet50": Cost(6.0, 6000),
    "resnet101": Cost(9.2, 8000),
}
# Of those that were not measured.
LARGEST = Cost(13.0, 14000)


def images_per_second(backbone: str, pixels: int, machine: Machine) -> float:
    """Return how many images of `pixels` a machine of this class trains on in a second, about."""
    cores = min(machine.cores, USEFUL_CORES)
    rate = machine.gpus * GPU_IMAGES if machine.gpus else cores * CORE_IMAGES
    return rate * PIXELS / pixels / COSTS.get(backbone, LARGEST).time


def image_bytes(backbone: str, pixels: int) -> int:
    """Return the bytes that each image of a training step takes, about."""
    return COSTS.get(backbone, LARGEST).bytes_per_pixel * pixels
