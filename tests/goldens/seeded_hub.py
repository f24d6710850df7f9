"""Seeded weights for KerasHub and KerasCV, under the names of their layers.

What `seeded_weights.py` is for state dicts. The names are of this form: "part/layer/weight", such
as "backbone/stack0_block0_1_conv/kernel" or "class_head/conv2d_0/bias"; kernels are (height,
width, in, out).
"""

import re
import zlib

import numpy as np

# Last batch norm of a residual branch: a small gain, so that 16 sums do not blow up. The last of
# a bottleneck has number 3, of a basic block number 2, which a bottleneck's middle one shares.
_BRANCH_END = re.compile(r"backbone/.*_[23]_bn/gamma")
_CLASS_BIAS = -3.0


def seeded(name: str, shape: tuple[int, ...], class_gain: float) -> np.ndarray:
    """Return the float32 array of the weight `name` of `shape`, equal on every machine.

    `class_gain` scales the class head's last convolution, so that a few scores pass .5.
    """
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    part, layer, weight = name.split("/")
    final = layer in ("logits_layer", "prediction_layer")
    if weight == "moving_variance":
        value = 1.0 + 0.2 * np.abs(noise)
    elif weight == "gamma":
        value = (0.5 if _BRANCH_END.fullmatch(name) else 1.0) * (1.0 + 0.1 * noise)
    elif weight == "kernel":
        gain = {"class_head": class_gain, "box_head": 0.1}[part] if final else np.sqrt(2.0)
        value = gain * noise / np.sqrt(np.prod(shape[:-1]))
    else:  # a bias, a norm's shift, a moving mean
        value = 0.1 * noise
        if final and part == "class_head":
            value += _CLASS_BIAS
    return value.astype("float32")
