"""NVIDIA's Object Detection Toolkit (retinanet-examples), ResNet and ResNeXt backbones.

Sources: odtk/{model.py, box.py, data.py, infer.py, backbones/fpn.py}, and retinanet/box.py of
release 19.04, which the published COCO weights belong to. Its anchors have whole sides at the
level's stride before they are scaled; since March 2020 they are exact, and one pixel wider in the
coder. Files written since then also hold `ratios` and `scales`, which tells the two apart.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from keras_retinanet.checkpoints.families.coco_names import coco_classes
from keras_retinanet.checkpoints.families.family import Family, Preset, Shapes, has
from keras_retinanet.checkpoints.families.torch_style import conv_rows, trunk_name
from keras_retinanet.config import model as configs
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.filling import Row
from keras_retinanet.weight_files.torch_names import torch_resnet_rows

# Our backbone -> the peer's name of it with its pyramid.
BACKBONES = {
    "resnet18": "ResNet18FPN",
    "resnet34": "ResNet34FPN",
    "resnet50": "ResNet50FPN",
    "resnet101": "ResNet101FPN",
    "resnet152": "ResNet152FPN",
    "resnext50_32x4d": "ResNeXt50_32x4dFPN",
    "resnext101_32x8d": "ResNeXt101_32x8dFPN",
}
RATIOS = (1.0, 2.0, 0.5)
SCALES = tuple(2 ** (i / 3) for i in range(3))
EDGES = (
    "boxes end one pixel after the peer's x2 and y2, which name the last pixel inside; input "
    "resized as its Pillow loader does, not its DALI one"
)


def _prefix(shapes: Shapes) -> str:
    """Return "backbones.ResNet50FPN.", whatever the backbone's name."""
    found = {".".join(name.split(".")[:2]) for name in shapes if name.startswith("backbones.")}
    if len(found) != 1 or found.isdisjoint(f"backbones.{name}" for name in BACKBONES.values()):
        raise UserError(
            f"expected one backbone among {', '.join(BACKBONES.values())}. "
            f"Received: {', '.join(sorted(found))}. Other backbones cannot be imported."
        )
    return f"{found.pop()}."


def _preset(shapes: Shapes) -> Preset:
    """With the anchors of release 19.04; `_refine` takes those that the file names."""
    trunk = trunk_name(shapes, f"{_prefix(shapes)}features.")
    outputs = shapes["box_head.8.weight"][0]
    anchors = outputs // 4
    if outputs % 4 or shapes["cls_head.8.weight"][0] % anchors:
        raise UserError(
            f"expected upright boxes, 4 outputs an anchor. Received: {outputs} in "
            "box_head.8.weight. Rotated boxes cannot be imported."
        )
    names, ids = coco_classes(shapes["cls_head.8.weight"][0] // anchors)
    config = configs.ModelConfig(
        backbone=configs.BackboneConfig(name=trunk, stride_in_1x1=False),
        anchors=configs.AnchorConfig(
            scales=SCALES, ratios=RATIOS, order="scale_outer", rounded_base=True
        ),
        box_coder=configs.BoxCoderConfig(log_clip="none"),
        preprocessing=configs.PreprocessingConfig(
            canvas="exact",
            multiple=128,
            rounding="floor",
            resize_method="pillow",
            exact_scale="boxes",
        ),
        detections=configs.DetectionConfig(clip_to="canvas"),
    )
    assumptions = f"anchors of release 19.04, for the file names none; {EDGES}"
    return Preset(config, names, ids, "BSD-3-Clause", assumptions)


def _refine(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    if any(name.startswith("angles") for name in metadata):
        raise UserError(
            "expected upright boxes. Received: a file with `angles`. "
            "Rotated boxes cannot be imported."
        )
    return _float_anchors(preset, metadata) if "ratios.0" in metadata else preset


def _float_anchors(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    anchors: dict[str, Any] = {"rounded_base": False, "inclusive": True}
    if ratios := _floats(metadata, "ratios"):
        anchors["ratios"] = ratios
    if scales := _floats(metadata, "scales"):
        # Multiples of the stride; ours are of `sizes`, which are 4 strides.
        anchors["scales"] = tuple(scale / 4 for scale in scales)
    return preset.having(assumptions=EDGES, anchors=anchors)


def _floats(metadata: Mapping[str, str], name: str) -> tuple[float, ...]:
    count = sum(key.startswith(f"{name}.") for key in metadata)
    return tuple(float(metadata[f"{name}.{i}"]) for i in range(count))


def _rows(model: RetinaNet) -> Iterator[Row]:
    prefix = f"backbones.{BACKBONES[model.config.backbone.name]}"
    yield from torch_resnet_rows(model.backbone, f"{prefix}.features.")
    for level in (3, 4, 5):
        yield from conv_rows(f"{prefix}.lateral{level}", f"fpn/lateral_c{level}")
        yield from conv_rows(f"{prefix}.smooth{level}", f"fpn/output_p{level}")
    for level in (6, 7):
        yield from conv_rows(f"{prefix}.pyramid{level}", f"fpn/output_p{level}")
    for theirs, ours in (("cls_head", "class_head"), ("box_head", "box_head")):
        for i in range(4):
            yield from conv_rows(f"{theirs}.{2 * i}", f"{ours}/conv{i + 1}")
        yield from conv_rows(f"{theirs}.8", f"{ours}/final")


FAMILY = Family(
    "odtk",
    "NVIDIA ODTK (github.com/NVIDIA/retinanet-examples)",
    has(r"cls_head\.8\.weight", r"box_head\.8\.weight", r"backbones\..*"),
    _preset,
    _rows,
    # The backbone's own classifier is saved with it and never used.
    unused=r".*\.num_batches_tracked|backbones\.\w+\.features\.fc\.(weight|bias)",
    refine=_refine,
    label="odtk",
)
# Weights trained since March 2020 whose file was stripped to its state dict: by the user's word.
FLOAT_ANCHORS = dataclasses.replace(
    FAMILY, name="odtk_float_anchors", recognizes=lambda shapes: False, refine=_float_anchors
)
