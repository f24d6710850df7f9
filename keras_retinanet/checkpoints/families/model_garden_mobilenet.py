"""TensorFlow Model Garden's RetinaNet with MobileNetV2 and an FPN (`coco_mobilenetv2_tpu`).

Sources: official/vision/configs/experiments/retinanet/coco_mobilenetv2_tpu.yaml,
modeling/backbones/mobilenet.py, modeling/layers/nn_blocks.py and modeling/decoders/fpn.py, of
release 2.20. Stem and blocks are one layer each. The separable convolutions of the FPN make its 1x1
ones separable too: one factor per channel before the matrix, which is one matrix here.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterator

import numpy as np

from keras_retinanet.checkpoints.families import family, model_garden
from keras_retinanet.checkpoints.families.model_garden_spinenet import PARTS
from keras_retinanet.config import model as configs
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones.mobilenet_v2 import STAGES
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.filling import Row

DECODER = "decoder/layer_with_weights-{}"
LATERALS = [
    DECODER.format(number)
    for number, name in enumerate(model_garden.DECODER)
    if name.startswith("lateral_")
]
# Output channels of the blocks in their order.
CHANNELS = [stage.channels for stage in STAGES for _ in range(stage.blocks)]
# The convolution to 1280 channels of classifiers, which no detector's output needs.
UNREAD = model_garden.BLOCK.format(len(CHANNELS) + 1)
SIDE = 256
ANCHOR_SIZE = 3
ASSUMPTIONS = (
    f"activation ReLU6, FPN outputs joined by a sum, input {SIDE} x {SIDE}, anchors of "
    f"{ANCHOR_SIZE} strides: coco_mobilenetv2_tpu.yaml's, which a checkpoint does not tell"
)


def _adapt(checkpoint: Checkpoint) -> Checkpoint:
    """Multiply both halves of each separable 1x1 convolution of the FPN."""
    checkpoint = model_garden.with_short_names(checkpoint)
    tensors = dict(checkpoint.tensors)
    for layer in LATERALS:
        halves = f"{layer}/depthwise_kernel", f"{layer}/pointwise_kernel"
        if all(half in tensors for half in halves):
            depthwise, pointwise = (np.asarray(tensors.pop(half)) for half in halves)
            tensors[f"{layer}/kernel"] = depthwise * pointwise  # (1,1,in,1) * (1,1,in,out)
    return dataclasses.replace(checkpoint, tensors=tensors)


def _preset(shapes: family.Shapes) -> family.Preset:
    projections = (f"{model_garden.BLOCK.format(i)}/_conv2/kernel" for i in itertools.count(1))
    blocks = [shapes[name][-1] for name in itertools.takewhile(shapes.__contains__, projections)]
    norms = [DECODER.format(i) for i, name in enumerate(model_garden.DECODER) if "norm_" in name]
    levels = sum(f"{norm}/gamma" in shapes for norm in norms)
    if blocks != CHANNELS or levels != len(norms):
        raise UserError(
            "expected a Model Garden RetinaNet of MobileNetV2, whose blocks have "
            f"{CHANNELS} channels, with an FPN of P3 to P7. Received: blocks of {blocks}, "
            f"{levels} of the FPN's {len(norms)} norms. Other networks cannot be imported."
        )
    outputs = shapes["head/_box_regressor/bias"][-1]
    received = f"{outputs // 4} in head/_box_regressor"
    count = family.class_count(shapes["head/_classifier/bias"][-1], outputs, received)
    names, ids = model_garden.classes_of(count)
    config = _config(shapes, fpn_channels=shapes[f"{norms[0]}/gamma"][0])
    return family.Preset(config, names, ids, "Apache-2.0", ASSUMPTIONS)


def _config(shapes: family.Shapes, *, fpn_channels: int) -> configs.ModelConfig:
    return configs.ModelConfig(
        backbone=configs.BackboneConfig(name="mobilenet_v2", padding="same", bn_epsilon=1e-3),
        fpn=configs.FPNConfig(
            channels=fpn_channels,
            p6_from="p5",
            activation="relu6",
            padding="same",
            norm="batch_norm",
            separable=True,
        ),
        head=configs.HeadConfig(
            channels=shapes["head/_classifier/depthwise_kernel"][2],
            depth=sum(re.fullmatch(r"head/_cls_convs/\d+/bias", n) is not None for n in shapes),
            norm="batch_norm",
            activation="relu6",
            bias_before_norm=True,
            separable=True,
        ),
        anchors=configs.AnchorConfig(
            sizes=tuple(ANCHOR_SIZE * 2.0**level for level in configs.LEVELS),
            ratio_is="w/h",
            order="scale_outer",
        ),
        box_coder=configs.BoxCoderConfig("yxhw"),
        preprocessing=configs.PreprocessingConfig(SIDE, SIDE, canvas="square", multiple=128),
        detections=model_garden.DETECTIONS,
    )


def _backbone_pairs(model: RetinaNet) -> Iterator[tuple[str, str]]:
    """Yield (their layer, our layer): stage2_block1_expand_bn -> ...-2/_norm0."""
    blocks: list[str] = []
    for layer in model.backbone.layers:
        if not layer.weights:
            continue
        ours = f"backbone/{layer.name}"
        if layer.name.startswith("stem_"):
            kind = {"stem_conv": "_conv0", "stem_bn": "_norm0"}[layer.name]
            yield f"{model_garden.BLOCK.format(0)}/{kind}", ours
            continue
        stage, number, part = layer.name.split("_", 2)
        block = f"{stage}_{number}"
        if block not in blocks:
            blocks.append(block)
        yield f"{model_garden.BLOCK.format(len(blocks))}/{PARTS[part]}", ours


def _rows(model: RetinaNet) -> Iterator[Row]:
    pairs = [
        *_backbone_pairs(model),
        *((DECODER.format(i), f"fpn/{name}") for i, name in enumerate(model_garden.DECODER)),
        *model_garden.head_pairs(model),
    ]
    layers = {ours: theirs for theirs, ours in pairs}
    for name in family.named_weights(model):
        layer, _, weight = name.rpartition("/")
        # Of a depthwise convolution alone; a separable one says so itself.
        prefix = "depthwise_" if layer.endswith("_depthwise_conv") else ""
        yield Row(f"{layers[layer]}/{prefix}{weight}", name)


def _recognizes(shapes: family.Shapes) -> bool:
    block = f"{model_garden.BLOCK.format(1)}/_conv1/depthwise_kernel.*"
    return model_garden.FAMILY.recognizes(shapes) and family.has(block, r"decoder/.*")(shapes)


FAMILY = family.Family(
    "model_garden_mobilenet",
    model_garden.FAMILY.origin,
    _recognizes,
    _preset,
    _rows,
    unused=rf"{model_garden.FAMILY.unused}|{UNREAD}/.*",
    adapt=_adapt,
)
