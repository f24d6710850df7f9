"""TensorFlow Model Garden's RetinaNet (`retinanet_resnetfpn_coco`): its trainer's checkpoints.

Sources: official/vision/{configs/retinanet.py, modeling/retinanet_model.py,
modeling/backbones/resnet.py, modeling/layers/{nn_blocks,detection_generator}.py,
modeling/decoders/fpn.py, modeling/heads/dense_prediction_heads.py, ops/{anchor,preprocess_ops}.py}
and official/core/base_trainer.py. The layout was read from a checkpoint that release 2.20 wrote
(tests/goldens/layouts/model_garden_resnet50fpn.txt).

Evaluation swaps an exponential moving average in where training kept one; the published ResNet-50
was trained without.
"""

import dataclasses
import re
from collections.abc import Iterator

from keras_retinanet.checkpoints.families import family
from keras_retinanet.checkpoints.families.coco_names import BACKGROUND, COCO91_IDS, coco_classes
from keras_retinanet.config import model as configs
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones.resnet import RESNETS
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.filling import Row

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
AVERAGE = re.compile(r"(?P<variable>.+)/\.OPTIMIZER_SLOT/[^/]+/average")
# By the number of bottlenecks in all.
TRUNKS = {sum(RESNETS[name].blocks): name for name in ("resnet50", "resnet101", "resnet152")}
# The decoder's layers by depth in its graph, deepest first; what ties stands in the outputs' order.
DECODER = (
    *("lateral_c5", "lateral_c4", "output_p5", "lateral_c3"),
    *("output_p6", "output_p3", "output_p4", "output_p7"),
    *("norm_p3", "norm_p4", "norm_p5", "norm_p6", "norm_p7"),
)
BLOCK = "backbone/layer_with_weights-{}"
# The stem's convolution and batch norm come before the blocks.
FIRST_BLOCK = 2
# Boxes are cut at the square, padding included; output 0 is never a detection.
DETECTIONS = configs.DetectionConfig(
    pre_nms_top_k=5000, top_k_per="class", clip_to="canvas", background_output=True
)
ASSUMPTIONS = (
    "activation ReLU, FPN outputs joined by a sum, input 640 x 640, anchors of 4 strides: "
    "retinanet_resnetfpn_coco's, which a checkpoint does not tell"
)


def with_short_names(checkpoint: Checkpoint) -> Checkpoint:
    """Cut TensorFlow's suffix, and let averages stand in for the variables that they are of."""
    tensors = {name.removesuffix(VALUE): array for name, array in checkpoint.tensors.items()}
    for name in list(tensors):
        if average := AVERAGE.fullmatch(name):
            tensors[average["variable"]] = tensors.pop(name)
    return dataclasses.replace(checkpoint, tensors=tensors)


def _preset(shapes: family.Shapes) -> family.Preset:
    blocks = sum(name.endswith("/_conv3/kernel") for name in shapes)
    if blocks not in TRUNKS or "decoder/layer_with_weights-12/gamma" not in shapes:
        raise UserError(
            f"expected a Model Garden RetinaNet of {', '.join(TRUNKS.values())} with an FPN. "
            f"Received: a backbone with {blocks} bottlenecks, which cannot be imported."
        )
    outputs = shapes["head/_box_regressor/kernel"][-1]
    received = f"{outputs // 4} in head/_box_regressor"
    count = family.class_count(shapes["head/_classifier/kernel"][-1], outputs, received)
    names, ids = classes_of(count)
    return family.Preset(_config(TRUNKS[blocks], shapes), names, ids, "Apache-2.0", ASSUMPTIONS)


def _config(trunk: str, shapes: family.Shapes) -> configs.ModelConfig:
    return configs.ModelConfig(
        backbone=configs.BackboneConfig(
            name=trunk, stride_in_1x1=False, padding="same", pool_padding="same", bn_epsilon=1e-3
        ),
        fpn=configs.FPNConfig(
            channels=shapes["decoder/layer_with_weights-12/gamma"][0],
            p6_from="p5",
            padding="same",
            norm="batch_norm",
        ),
        head=configs.HeadConfig(
            channels=shapes["head/_classifier/kernel"][2],
            depth=sum(re.fullmatch(r"head/_cls_convs/\d+/kernel", n) is not None for n in shapes),
            norm="batch_norm",
            bias_before_norm=True,
        ),
        anchors=configs.AnchorConfig(ratio_is="w/h", order="scale_outer"),
        box_coder=configs.BoxCoderConfig("yxhw"),
        preprocessing=configs.PreprocessingConfig(640, 640, canvas="square", multiple=128),
        detections=DETECTIONS,
    )


def classes_of(count: int) -> tuple[list[str], list[int]]:
    """Return the class names and ids of this number of outputs, background first."""
    if count == len(COCO91_IDS):
        return coco_classes(count)
    return [BACKGROUND, *(f"class_{i}" for i in range(1, count))], list(range(count))


# ------------------------------------------------------------------------------------- names


def _trunk_names(trunk: str, layer: str) -> str:
    """Return their name of a layer of ours.

    stem_bn -> ...-1; stage2_block1_conv3 -> ...-2/_conv3; its shortcut_bn -> ...-2/_norm0.
    """
    if layer.startswith("stem_"):
        return BLOCK.format({"stem_conv": 0, "stem_bn": 1}[layer])
    stage, block, kind = layer.split("_", 2)
    before = sum(RESNETS[trunk].blocks[: int(stage.removeprefix("stage")) - 2])
    number = FIRST_BLOCK + before + int(block.removeprefix("block")) - 1
    named = {"shortcut_conv": "_shortcut", "shortcut_bn": "_norm0"}
    part = named.get(kind) or f"_{kind}".replace("_bn", "_norm")
    return f"{BLOCK.format(number)}/{part}"


def _pairs(model: RetinaNet) -> Iterator[tuple[str, str]]:
    """Yield (their layer, our layer)."""
    for layer in model.backbone.layers:
        if layer.weights:
            theirs = _trunk_names(model.config.backbone.name, layer.name)
            yield theirs, f"backbone/{layer.name}"
    for number, layer_name in enumerate(DECODER):
        yield f"decoder/layer_with_weights-{number}", f"fpn/{layer_name}"
    yield from head_pairs(model)


def head_pairs(model: RetinaNet) -> Iterator[tuple[str, str]]:
    """Yield (their layer, our layer) of both heads."""
    for kind, final, ours in (
        ("cls", "_classifier", "class_head"),
        ("box", "_box_regressor", "box_head"),
    ):
        for i in range(model.config.head.depth):
            yield f"head/_{kind}_convs/{i}", f"{ours}/conv{i + 1}"
            for number, level in enumerate(configs.LEVELS):
                yield f"head/_{kind}_norms/{number}/{i}", f"{ours}/norm{i + 1}_p{level}"
        yield f"head/{final}", f"{ours}/final"


def _rows(model: RetinaNet) -> Iterator[Row]:
    layers = {ours: theirs for theirs, ours in _pairs(model)}
    for name in family.named_weights(model):
        layer, _, weight = name.rpartition("/")
        yield Row(f"{layers[layer]}/{weight}", name)


FAMILY = family.Family(
    "model_garden",
    "TensorFlow Model Garden (github.com/tensorflow/models)",
    family.has(r"head/_cls_norms/0/0/.*", r"backbone/layer_with_weights-0/.*"),
    _preset,
    _rows,
    # Counters, and an optimizer's own values.
    unused=r"(global_step|save_counter|optimizer)(/.*)?|.*/\.OPTIMIZER_SLOT/.*",
    adapt=with_short_names,
)
