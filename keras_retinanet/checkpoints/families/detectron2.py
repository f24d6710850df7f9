"""detectron2's RetinaNets: the model zoo's `.pkl` files and `.pth` files of its own training.

Source: detectron2/modeling/{meta_arch/retinanet,backbone/{resnet,fpn},anchor_generator}.py,
configs/Base-RetinaNet.yaml, and data/transforms (Pillow's resize of BGR bytes).
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping

import numpy as np

from keras_retinanet.checkpoints.families.coco_names import coco_classes
from keras_retinanet.checkpoints.families.family import Family, Preset, Shapes, class_count, has
from keras_retinanet.checkpoints.families.torch_style import conv_rows, trunk_name
from keras_retinanet.config import model as configs
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.checkpoint import Checkpoint
from keras_retinanet.weight_files.filling import Row
from keras_retinanet.weight_files.torch_names import torch_resnet_rows

TRUNK = "backbone.bottom_up."
CLASS_FINAL, BOX_FINAL = "head.cls_score.weight", "head.bbox_pred.weight"
P6 = "backbone.top_block.p6.weight"
KNOWN = [CLASS_FINAL, BOX_FINAL, P6, "backbone.fpn_lateral3.weight", f"{TRUNK}stem.conv1.weight"]
MEAN_BGR = (103.53, 116.28, 123.675)
PIXELS = ("pixel_mean", "pixel_std")
TOWER_CONV = re.compile(r"head\.cls_subnet\.\d+\.weight")
_BLOCK = re.compile(r"res([2-5])\.(\d+)\.(conv[123]|shortcut)\.(norm\.)?(\w+)")


def _adapt(checkpoint: Checkpoint) -> Checkpoint:
    """The colors, which are tensors here, become text that `_refine` reads."""
    colours = {
        name: ",".join(str(value) for value in np.ravel(checkpoint.tensors[name]))
        for name in PIXELS
        if name in checkpoint.tensors
    }
    return dataclasses.replace(checkpoint, metadata=checkpoint.metadata | colours)


def _preset(shapes: Shapes) -> Preset:
    outputs, channels = shapes[CLASS_FINAL][:2]
    received = f"{BOX_FINAL} of shape {shapes[BOX_FINAL]}"
    names, ids = coco_classes(class_count(outputs, shapes[BOX_FINAL][0], received))
    trunk = {
        f"{match[1]}{_torch_name(match[2])}": shape
        for name, shape in shapes.items()
        if (match := re.fullmatch(rf"({re.escape(TRUNK)})(.+)", name))
    }
    depth = len([name for name in shapes if TOWER_CONV.fullmatch(name)])
    config = configs.ModelConfig(
        backbone=configs.BackboneConfig(name=trunk_name(trunk, TRUNK), stride_in_1x1=True),
        fpn=configs.FPNConfig(
            channels=channels, p6_from="p5" if shapes[P6][1] == channels else "c5"
        ),
        head=configs.HeadConfig(channels=channels, depth=depth),
        anchors=configs.AnchorConfig(offset=0.0, order="scale_outer"),
        preprocessing=configs.PreprocessingConfig(
            canvas="exact",
            rounding="half_up",
            resize_method="pillow",
            color_order="bgr",
            mean=MEAN_BGR,
            std=(1.0, 1.0, 1.0),
        ),
        detections=configs.DetectionConfig(clip_before_nms=False, drop_empty=True),
    )
    assumptions = "the model zoo's anchors, input size and thresholds"
    return Preset(config, names, ids, "CC BY-SA 3.0", assumptions)


def _refine(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    """Other colors than the zoo's come with a backbone of torchvision's kind."""
    mean, std = (
        tuple(float(value) for value in metadata[name].split(",")) if name in metadata else None
        for name in PIXELS
    )
    if mean is None or std is None or len(mean) != 3 or len(std) != 3:
        return preset
    # ImageNet's red is its brightest: the larger end tells the order.
    order = "bgr" if mean[0] <= mean[2] else "rgb"
    is_caffe = bool(np.allclose(std, 1.0))
    assumptions = preset.assumptions
    if not is_caffe:
        assumptions += "; stride in the 3x3 (model.backbone.stride_in_1x1=true changes it)"
    return preset.having(
        assumptions=assumptions,
        backbone={"stride_in_1x1": is_caffe},
        preprocessing={"color_order": order, "mean": mean, "std": std},
    )


def _torch_name(name: str) -> str:
    """res3.0.conv1.weight -> layer2.0.conv1.weight; of the names that tell a backbone's kind."""
    match = _BLOCK.fullmatch(name)
    if not match:
        return name
    norm = match[4] or ""
    return f"layer{int(match[1]) - 1}.{match[2]}.{match[3]}.{norm}{match[5]}"


def _detectron_name(name: str) -> str:
    """layer2.0.bn1.weight -> res3.0.conv1.norm.weight, bn1.bias -> stem.conv1.norm.bias."""
    name = re.sub(r"\bbn(\d)\.", r"conv\1.norm.", name)
    name = name.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
    if not name.startswith("layer"):
        return f"stem.{name}"
    return re.sub(r"^layer(\d)", lambda match: f"res{int(match[1]) + 1}", name)


def _rows(model: RetinaNet) -> Iterator[Row]:
    for row in torch_resnet_rows(model.backbone):
        yield row._replace(theirs=f"{TRUNK}{_detectron_name(row.theirs)}")
    for level in (3, 4, 5):
        yield from conv_rows(f"backbone.fpn_lateral{level}", f"fpn/lateral_c{level}")
        yield from conv_rows(f"backbone.fpn_output{level}", f"fpn/output_p{level}")
    for level in (6, 7):
        yield from conv_rows(f"backbone.top_block.p{level}", f"fpn/output_p{level}")
    for subnet, final, ours in (
        ("cls_subnet", "cls_score", "class_head"),
        ("bbox_subnet", "bbox_pred", "box_head"),
    ):
        for i in range(model.config.head.depth):  # a ReLU stands between two
            yield from conv_rows(f"head.{subnet}.{2 * i}", f"{ours}/conv{i + 1}")
        yield from conv_rows(f"head.{final}", f"{ours}/final")


FAMILY = Family(
    "detectron2",
    "detectron2 (github.com/facebookresearch/detectron2)",
    recognizes=has(*map(re.escape, KNOWN)),
    preset=_preset,
    rows=_rows,
    unused=r"anchor_generator\..*|pixel_mean|pixel_std|.*\.num_batches_tracked",
    adapt=_adapt,
    refine=_refine,
)
