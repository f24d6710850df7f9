"""How fast a class of machines trains and what memory it takes: constants, so that plans repeat.

Measured on 2 cores (AMD Zen 4: 12 images a second; Intel Xeon: 6) with EfficientNet-Lite0 at 320 x
416 pixels, FPN and heads of 64 channels; other backbones by the time of their steps beside it. A
plan is right within a factor of 2; `train.minutes` is what bounds a run.
"""

from typing import NamedTuple

from keras_retinanet.training.auto.facts import Machine

# Of the measured input.
PIXELS = 320 * 416
# Images a second at that input, for each core, and for a GPU of the last years ("not run").
CORE_IMAGES = 4.0
GPU_IMAGES = 150.0
# A CPU's memory bandwidth is shared: more cores than these add little.
USEFUL_CORES = 16
# An evaluation has no backward pass.
EVALUATION_SPEEDUP = 3.0


class Cost(NamedTuple):
    """Time of a training step relative to EfficientNet-Lite0's, and its bytes for each pixel."""

    time: float
    bytes_per_pixel: int


# FPN and heads of 64 channels for the first ones, of 256 for those from ResNet-50 on.
COSTS = {
    "efficientnet_lite0": Cost(1.0, 2400),
    "efficientnet_lite1": Cost(1.3, 3200),
    "efficientnet_lite2": Cost(1.5, 3500),
    "efficientnet_lite3": Cost(2.0, 4500),
    "efficientnet_lite4": Cost(2.8, 6000),
    "resnet18": Cost(1.2, 1600),
    "resnet34": Cost(1.8, 2200),
    "resnet50": Cost(4.5, 5800),
    "resnet101": Cost(6.5, 7800),
    "resnet152": Cost(9.0, 10000),
}
LARGEST = Cost(13.0, 14000)


def images_per_second(backbone: str, pixels: int, machine: Machine) -> float:
    """Return how many images of `pixels` a machine of this class trains on in a second, about."""
    cores = min(machine.cores, USEFUL_CORES)
    rate = machine.gpus * GPU_IMAGES if machine.gpus else cores * CORE_IMAGES
    return rate * PIXELS / pixels / COSTS.get(backbone, LARGEST).time


def image_bytes(backbone: str, pixels: int) -> int:
    """Return the bytes that each image of a training step takes, about."""
    return COSTS.get(backbone, LARGEST).bytes_per_pixel * pixels
