"""Networks with norms of every kind, for tests of what folds them."""

import dataclasses

import numpy as np

from keras_retinanet.config.model import BackboneConfig, FPNConfig, HeadConfig, ModelConfig
from keras_retinanet.modeling.retinanet import retinanet

FPN, HEAD = FPNConfig(channels=16), HeadConfig(channels=16, depth=2, prior=0.3)
# name -> (trunk, its options, FPN's options, heads' options, norms that no convolution takes in)
GRAPHS = {
    "resnet18": ("resnet18", {}, {}, {}, 0),
    "resnext, padding same": (
        "resnext50_32x4d",
        {"padding": "same", "stem_padding": "symmetric", "pool_padding": "same", "bn_epsilon": 0.0},
        {"padding": "same", "relu_before_p7": False},
        {},
        0,
    ),
    # P5 goes on to P6 as it is before its norm; the heads' norms are one a level.
    "lite0, all separable": (
        "efficientnet_lite0",
        {},
        {"separable": True, "norm": "batch_norm", "p6_from": "p5"},
        {"separable": True, "norm": "batch_norm"},
        2 + 2 * 2 * 5,  # P5's and P6's
    ),
    "group norm": (
        "resnet18",
        {},
        {"norm": "group_norm"},
        {"norm": "group_norm", "norm_epsilon": 1e-3, "bias_before_norm": True},
        0,
    ),
    # The laterals of P3 and P4 are sums.
    "norms at the sums": (
        "resnet18",
        {},
        {"norm": "batch_norm", "norm_at": "merged", "norm_epsilon": 1e-2},
        {"norm": "batch_norm", "bias_before_norm": True},
        2 + 2 * 2 * 5,
    ),
}


def shaken(name, rng):
    """A model whose every weight matters."""
    trunk, backbone, fpn, head, _ = GRAPHS[name]
    config = ModelConfig(
        backbone=BackboneConfig(**backbone),
        fpn=dataclasses.replace(FPN, **fpn),
        head=dataclasses.replace(HEAD, **head),
    )
    model = retinanet(trunk, 5, config=config)
    for variable in model.weights:
        kind = variable.path.split("/")[-1]
        if kind == "moving_variance":
            variable.assign(rng.uniform(0.5, 2, variable.shape))
        elif kind == "gamma":
            variable.assign(rng.uniform(0.3, 1, variable.shape))
        elif kind in ("moving_mean", "beta", "bias"):
            variable.assign(np.array(variable) + rng.normal(0, 0.3, variable.shape))
    return model


def largest_gap(found, expected):
    return max(float(np.abs(found[key] - expected[key]).max()) for key in expected)
