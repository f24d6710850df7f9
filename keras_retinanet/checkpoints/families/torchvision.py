"""torchvision's `retinanet_resnet50_fpn` (V1) and `retinanet_resnet50_fpn_v2` (V2) state dicts.

Source: torchvision/models/detection/{retinanet,anchor_utils,transform}.py and
ops/feature_pyramid_network.py. Older files name the same layers otherwise; `_adapt` renames them.
Backbones of other depths and any number of classes are recognized too.
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from keras_retinanet.checkpoints.families.coco_names import COCO91_IDS, COCO91_NAMES
from keras_retinanet.checkpoints.families.family import Family, Preset, Shapes, class_count
from keras_retinanet.checkpoints.families.torch_style import conv_rows, group_norm_rows, trunk_name
from keras_retinanet.config import model as configs
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.filling import Row
from keras_retinanet.weight_files.torch_names import torch_resnet_rows

TRUNK = "backbone.body."
CLASS_FINAL = "head.classification_head.cls_logits.weight"
BOX_FINAL = "head.regression_head.bbox_reg.weight"
GROUP_NORM = "head.classification_head.conv.0.1.weight"
P6 = "backbone.fpn.extra_blocks.p6.weight"
# `FrozenBatchNorm2d` has no counter; torchvision sets its epsilon to 0 for its own weights.
COUNTER = f"{TRUNK}bn1.num_batches_tracked"
# Names before torchvision .12 (FPN) and .13 (heads' towers, in V1 alone) -> today's.
_OLD_FPN = re.compile(r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)")
_OLD_TOWER = re.compile(r"(head\.\w+_head\.conv)\.(\d+)\.(weight|bias)")


def _adapt(checkpoint: Checkpoint) -> Checkpoint:
    """Today's names, without the prefix of a model that holds torchvision's as an attribute."""
    prefix = _prefix(checkpoint.tensors)
    tensors = {
        _renamed(name.removeprefix(prefix)): array
        for name, array in checkpoint.tensors.items()
        if name.startswith(prefix)
    }
    return dataclasses.replace(checkpoint, tensors=tensors)


def _prefix(names: Any) -> str:
    """What stands before "head." in all names: "" in torchvision's files, "model." in others."""
    return next((n.removesuffix(CLASS_FINAL) for n in names if n.endswith(CLASS_FINAL)), "")


def _renamed(name: str) -> str:
    name = _OLD_FPN.sub(r"\1.0.\2", name)
    # conv.0, .2, .4, .6 with ReLUs between -> conv.0.0, .1.0, .2.0, .3.0
    return _OLD_TOWER.sub(lambda m: f"{m[1]}.{int(m[2]) // 2}.0.{m[3]}", name)


def _recognises(shapes: Shapes, *, v2: bool) -> bool:
    prefix = _prefix(shapes)
    known = {f"{prefix}{name}" for name in (CLASS_FINAL, BOX_FINAL, P6, f"{TRUNK}conv1.weight")}
    return known <= set(shapes) and (f"{prefix}{GROUP_NORM}" in shapes) == v2


def _preset(shapes: Shapes, *, v2: bool) -> Preset:
    outputs, channels = shapes[CLASS_FINAL][:2]
    received = f"{BOX_FINAL} of shape {shapes[BOX_FINAL]}"
    count = class_count(outputs, shapes[BOX_FINAL][0], received)
    names, ids = [f"class_{i}" for i in range(count)], list(range(count))
    if count == len(COCO91_NAMES):
        names, ids = list(COCO91_NAMES), list(COCO91_IDS)
    exact_zero = not v2 and COUNTER not in shapes
    config = configs.ModelConfig(
        backbone=configs.BackboneConfig(
            name=trunk_name(shapes, TRUNK),
            stride_in_1x1=False,
            bn_epsilon=0.0 if exact_zero else 1e-5,
        ),
        fpn=configs.FPNConfig(
            channels=channels, p6_from="p5" if shapes[P6][1] == channels else "c5"
        ),
        head=configs.HeadConfig(channels=channels, norm="group_norm" if v2 else "none"),
        anchors=configs.AnchorConfig(offset=0.0, rounded=True, stride="true"),
        preprocessing=configs.PreprocessingConfig(canvas="exact", rounding="floor"),
        detections=configs.DetectionConfig(max_detections=300),
    )
    assumptions = _assumptions(count, exact_zero=exact_zero)
    return Preset(config, names, ids, "BSD-3-Clause", assumptions)


def _assumptions(count: int, *, exact_zero: bool) -> str:
    """What no tensor of the file tells."""
    texts = []
    if exact_zero:
        texts.append(
            "batch norms' epsilon 0, as torchvision sets it for its COCO_V1 weights (a model "
            "started from the backbone alone has 1e-5: model.backbone.bn_epsilon=1e-5)"
        )
    if count != len(COCO91_NAMES):
        texts.append("anchors, input size and thresholds are torchvision's defaults")
        texts.append("class names are unknown")
    return "; ".join(texts)


def _rows(model: RetinaNet) -> Iterator[Row]:
    yield from torch_resnet_rows(model.backbone, TRUNK)
    for i, level in enumerate((3, 4, 5)):
        yield from conv_rows(f"backbone.fpn.inner_blocks.{i}.0", f"fpn/lateral_c{level}")
        yield from conv_rows(f"backbone.fpn.layer_blocks.{i}.0", f"fpn/output_p{level}")
    for level in (6, 7):
        yield from conv_rows(f"backbone.fpn.extra_blocks.p{level}", f"fpn/output_p{level}")
    has_norm = model.config.head.norm == "group_norm"
    for theirs, final, ours in (
        ("head.classification_head", "cls_logits", "class_head"),
        ("head.regression_head", "bbox_reg", "box_head"),
    ):
        for i in range(model.config.head.depth):
            yield from conv_rows(f"{theirs}.conv.{i}.0", f"{ours}/conv{i + 1}", bias=not has_norm)
            if has_norm:
                yield from group_norm_rows(f"{theirs}.conv.{i}.1", f"{ours}/norm{i + 1}")
        yield from conv_rows(f"{theirs}.{final}", f"{ours}/final")


def _family(name: str, *, v2: bool) -> Family:
    return Family(
        name,
        "torchvision (github.com/pytorch/vision)",
        recognizes=lambda shapes: _recognises(shapes, v2=v2),
        preset=lambda shapes: _preset(shapes, v2=v2),
        rows=_rows,
        unused=r".*\.num_batches_tracked",
        adapt=_adapt,
    )


V1 = _family("torchvision_v1", v2=False)
V2 = _family("torchvision_v2", v2=True)
