"""Seeded weights under Keras's own names: kernels are (height, width, in, out).

What `seeded_weights.py` is for state dicts, for keras-retinanet's `.h5` and TensorFlow Model
Garden's checkpoints: the golden outputs of both were computed with these arrays.
"""

import re
import zlib

import numpy as np

_CLASS = r"(pyramid_classification|head/_classifier|class_net/class-predict)"
_BOX = r"(pyramid_regression|head/_box_regressor|box_net/box-predict)"
_CLASS_KERNEL = re.compile(rf".*{_CLASS}/(pointwise_)?kernel.*")
_CLASS_BIAS = re.compile(rf".*{_CLASS}/bias.*")
_BOX_KERNEL = re.compile(rf".*{_BOX}/(pointwise_)?kernel.*")
# Last batch norm of a residual branch: a small gain, so that 16 sums do not blow up.
# In a ResNet-50 that numbers its norms, the stem's is without a number.
_NUMBERED = r"resnet50/batch_normalization_(4|7|10|14|17|20|23|27|30|33|36|39|42|46|49|52)"
_BRANCH_END = re.compile(
    rf".*(branch2c|_norm3|scale_permuted_block_\d+/batch_normalization_2|{_NUMBERED})/gamma.*"
)
# The stem that sees mean-subtracted 0..255 pixels, not scaled to unit variance.
_RAW_PIXEL_STEM = re.compile(r"conv1/conv1/kernel:0")


def seeded(name: str, shape: tuple[int, ...], class_gain: float) -> np.ndarray:
    """Return the float32 array of the weight `name` of `shape`, equal on every machine."""
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if "moving_variance" in name:
        value = 1.0 + 0.2 * np.abs(noise)
    elif "moving_mean" in name:
        value = 0.1 * noise
    elif _CLASS_BIAS.match(name):
        value = -5.0 + 0.1 * noise
    elif "gamma" in name:
        value = (0.3 if _BRANCH_END.match(name) else 1.0) * (1.0 + 0.1 * noise)
    elif "kernel" in name:
        gain = np.sqrt(2.0)
        if _CLASS_KERNEL.match(name):
            gain = class_gain
        elif _BOX_KERNEL.match(name):
            gain = 0.1
        inputs = shape[:2] if "depthwise_kernel" in name else shape[:-1]
        value = gain * noise / np.sqrt(np.prod(inputs))
        if _RAW_PIXEL_STEM.match(name):
            value /= 57.0
    else:  # a bias, or a norm's shift
        value = 0.1 * noise
    return value.astype("float32")
