"""SpineNet's RetinaNet as first released (github.com/tensorflow/tpu): checkpoints of TensorFlow 1.

Sources: models/official/detection/modeling/architecture/{spinenet,spinenet_mbconv,nn_ops,
nn_blocks,heads}.py, configs/{base_config,detection_config}.py, configs/spinenet/*.yaml. Layers are
numbered by kind in each variable scope, in the order of the code.

Not the second release's graph: strides pad both sides equally, one 5x5 max pooling stands for two
of 3x3, epsilon is 1e-4, a box names its last pixel inside. The mobile ones have swish and sigmoids
where the second release's have hard ones.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator, Mapping

import numpy as np

from keras_retinanet.checkpoints.families import family, spinenet
from keras_retinanet.config.model import LEVELS, BackboneConfig
from keras_retinanet.modeling.backbones.spinenet_mobile import MOBILE_SPINENETS
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.filling import Row

ROOT = "spinenet"
MOBILE_ROOT = "spinenet_mbconv"
EPSILON = 1e-4
STEP = "global_step"
# Steps of the recipe with ReLU, 350 epochs; the others, with swish, took more.
RELU_STEPS = 162050
LAST_PIXEL = "; boxes end one pixel after the peer's x2 and y2, which name the last pixel inside"
# Our head -> its scope and the beginning of its layers' names.
HEADS = {"class_head": ("class_net", "class"), "box_head": ("box_net", "box")}


def _adapt(checkpoint: Checkpoint) -> Checkpoint:
    """Put the step where `_refine` finds it."""
    step = (
        {STEP: str(int(np.asarray(checkpoint.tensors[STEP])))} if STEP in checkpoint.tensors else {}
    )
    return dataclasses.replace(checkpoint, metadata={**checkpoint.metadata, **step})


def _refine(preset: family.Preset, metadata: Mapping[str, str]) -> family.Preset:
    """Tell the recipe with ReLU by its number of steps; no tensor differs."""
    if metadata.get(STEP) != str(RELU_STEPS):
        return preset
    relu = {"activation": "relu"}
    return preset.having(
        backbone=relu,
        head=relu,
        assumptions=preset.assumptions.replace(
            "activation swish", f"activation ReLU, after {RELU_STEPS} steps"
        ),
    )


def _preset(shapes: family.Shapes) -> family.Preset:
    backbone = _mobile(shapes) if f"{MOBILE_ROOT}/conv2d/kernel" in shapes else _large(shapes)
    return spinenet.preset(
        backbone,
        heads_of(shapes),
        published=spinenet.PUBLISHED[backbone.name],
        ratios=(1.0, 2.0, 0.5),
        inclusive=True,
        source=f"configs/spinenet, {backbone.name}",
        more=LAST_PIXEL,
    )


def _last_conv(shapes: family.Shapes, root: str) -> tuple[int, ...]:
    """Return the shape of the last convolution outside the blocks, of P7."""
    convs = sum(re.fullmatch(rf"{root}/conv2d(_\d+)?/kernel", name) is not None for name in shapes)
    return shapes[f"{root}/conv2d_{convs - 1}/kernel"]


def _large(shapes: family.Shapes) -> BackboneConfig:
    block = f"{ROOT}/sub_policy0/scale_permuted_block_2/"
    in_block = sum(name.startswith(block) and name.endswith("/kernel") for name in shapes)
    name = spinenet.spinenet_of(
        shapes[f"{ROOT}/conv2d_2/kernel"][-1],
        shapes[f"{ROOT}/sub_policy0/resample_with_alpha_resample_0_0/conv2d/kernel"][-1],
        in_block / 3,
        _last_conv(shapes, ROOT)[-1],
    )
    return BackboneConfig(
        name=name,
        padding="symmetric",
        bn_epsilon=EPSILON,
        activation="swish",
        single_pool=True,
    )


def _mobile(shapes: family.Shapes) -> BackboneConfig:
    # The first block's: expansion, the two of the gate, projection.
    width = shapes[f"{MOBILE_ROOT}/conv2d_4/kernel"][-1]
    return BackboneConfig(
        name=spinenet.mobile_of(width, _last_conv(shapes, MOBILE_ROOT)[-1]),
        padding="symmetric",
        bn_epsilon=EPSILON,
        activation="swish",
        smooth_gates=True,
    )


def heads_of(shapes: family.Shapes) -> spinenet.Heads:
    """Return what the tensors tell of the heads."""
    towers = [n for n in shapes if re.fullmatch(r"retinanet/class_net/class-\d+/bias", n)]
    return spinenet.Heads(
        class_outputs=shapes["retinanet/class_net/class-predict/bias"][-1],
        box_outputs=shapes["retinanet/box_net/box-predict/bias"][-1],
        channels=shapes[towers[0]][-1],
        depth=len(towers),
        norm_epsilon=EPSILON,
    )


def _rows(model: RetinaNet) -> Iterator[Row]:
    root = MOBILE_ROOT if model.config.backbone.name in MOBILE_SPINENETS else ROOT
    counts: collections.Counter[str] = collections.Counter()
    for unit in spinenet.units(model.backbone):
        for layer in unit.layers:
            kind = f"{root}/{unit.scope}{spinenet.layer_kind(layer)}"
            theirs = f"{kind}_{counts[kind]}" if counts[kind] else kind
            counts[kind] += 1
            for weight in layer.weights:
                named = spinenet.weight_name(layer, weight.name)
                yield Row(f"{theirs}/{named}", f"backbone/{layer.name}/{weight.name}")
    heads = dict(head_pairs(model))
    for name in family.named_weights(model):
        ours, _, weight = name.rpartition("/")
        if ours in heads:
            yield Row(f"{heads[ours]}/{weight}", name)


def head_pairs(model: RetinaNet) -> Iterator[tuple[str, str]]:
    """Yield (our layer, their layer)."""
    for ours, (scope, name) in HEADS.items():
        place = f"retinanet/{scope}/{name}"
        for i in range(model.config.head.depth):
            yield f"{ours}/conv{i + 1}", f"{place}-{i}"
            for level in LEVELS:
                yield f"{ours}/norm{i + 1}_p{level}", f"{place}-{i}-{level}"
        yield f"{ours}/final", f"{place}-predict"


FAMILY = family.Family(
    "tpu_spinenet",
    "TPU object detection and segmentation (github.com/tensorflow/tpu)",
    family.has(r"spinenet(_mbconv)?/sub_policy0/.*", r"retinanet/class_net/class-predict/bias"),
    _preset,
    _rows,
    unused=STEP,
    adapt=_adapt,
    refine=_refine,
)
