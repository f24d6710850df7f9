"""MMDetection's RetinaNets (`configs/retinanet`), versions 2 and 3.

Sources: mmdet/models/{necks/fpn.py, dense_heads/retina_head.py, dense_heads/base_dense_head.py},
mmdet/models/task_modules/{prior_generators/anchor_generator.py, coders/delta_xywh_bbox_coder.py}.

There are two styles with the same names and shapes. "pytorch": RGB divided by its deviation, and a
bottleneck's stride in its 3x3; "caffe": BGR minus its mean, the stride in the first 1x1. A file
tells them apart by the configuration that its training wrote into it, or by its published name.
"""

import ast
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from keras_retinanet.checkpoints.families.coco_names import COCO80_IDS, COCO80_NAMES, coco_classes
from keras_retinanet.checkpoints.families.family import Family, Preset, Shapes
from keras_retinanet.checkpoints.families.resnet_names import conv_rows
from keras_retinanet.checkpoints.families.trunk_names import trunk_name
from keras_retinanet.config.model import LEVELS
from keras_retinanet.config.schema import (
    AnchorConfig,
    BackboneConfig,
    BoxCoderConfig,
    DetectionConfig,
    FPNConfig,
    HeadConfig,
    ModelConfig,
    PreprocessingConfig,
)
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.filling import Row
from keras_retinanet.weight_files.torch_names import torch_resnet_rows

ANCHORS_PER_CELL = 9
CAFFE_COLOURS: dict[str, Any] = {
    "color_order": "bgr",
    "mean": (103.53, 116.28, 123.675),
    "std": (1.0, 1.0, 1.0),
}
NO_RELU = (
    "no ReLU before P7: the default of MMDetection's FPN, which its RetinaNet configurations leave "
    "as it is (import with --set model.fpn.relu_before_p7=true to change it)"
)
# What our graph takes for granted of `anchor_generator`; another value would move every box.
ANCHOR_FIELDS = {
    "octave_base_scale": 4,
    "scales_per_octave": 3,
    "ratios": [0.5, 1.0, 2.0],
    "strides": [8, 16, 32, 64, 128],
}

LIST = r"\[[^\]]*\]"
VALUE = rf"{LIST}|\([^)]*\)|'[^']*'|\"[^\"]*\"|[\w.+-]+"
TOWER_CONV = re.compile(r"bbox_head\.cls_convs\.\d+\.conv\.weight")


def _preset(shapes: Shapes) -> Preset:
    """The pytorch style; `_refine` changes what the file says otherwise."""
    depth = len([name for name in shapes if TOWER_CONV.fullmatch(name)])
    anchors, remainder = divmod(shapes["bbox_head.retina_reg.weight"][0], 4)
    if anchors != ANCHORS_PER_CELL or remainder:
        raise UserError(
            f"expected {ANCHORS_PER_CELL} anchors a cell. Received: {anchors} in "
            "bbox_head.retina_reg.weight. Other anchors cannot be told from the file."
        )
    names, ids = coco_classes(shapes["bbox_head.retina_cls.weight"][0] // anchors)
    config = ModelConfig(
        backbone=BackboneConfig(name=trunk_name(shapes, "backbone."), stride_in_1x1=False),
        fpn=FPNConfig(channels=shapes["neck.lateral_convs.0.conv.weight"][0], relu_before_p7=False),
        head=HeadConfig(channels=shapes["bbox_head.retina_cls.weight"][1], depth=depth),
        anchors=AnchorConfig(offset=0.0),
        box_coder=BoxCoderConfig(log_clip="both"),
        preprocessing=PreprocessingConfig(
            canvas="exact", rounding="half_up", resize_method="rounded"
        ),
        detections=DetectionConfig(drop_empty=True),
    )
    metadata = {
        "family": "mmdet",
        "origin": "MMDetection (github.com/open-mmlab/mmdetection)",
        "license": "Apache-2.0",
        "assumptions": NO_RELU,
    }
    return Preset(config, names, ids, metadata)


def _pytorch(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    return _assuming(_named(preset, metadata), style="pytorch")


def _caffe(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    preset = _with(preset, "backbone", stride_in_1x1=True)
    preset = _with(preset, "preprocessing", **CAFFE_COLOURS)
    return _assuming(_named(preset, metadata), style="caffe")


def _refine(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    """The style and the neck by the file's own configuration, else by its published name."""
    text = metadata.get("meta.config") or metadata.get("meta.cfg")
    if text:
        return _configured(_named(preset, metadata), text)
    name = metadata.get("file_name", "").lower()
    trunk = preset.config.backbone.name
    if "caffe" in name:
        return _caffe(preset, metadata)
    # MMDetection published no caffe style of the other backbones.
    if name.startswith("retinanet_") or trunk not in ("resnet50", "resnet101"):
        return _pytorch(preset, metadata)
    raise UserError(
        "expected a file that tells its style: its configuration inside, or a published name such "
        f"as retinanet_r50_caffe_fpn_1x_coco. Received: {name or 'neither'}. Give --family "
        "mmdet_pytorch (RGB, stride in the 3x3) or --family mmdet_caffe (BGR, stride in the 1x1)."
    )


def _configured(preset: Preset, text: str) -> Preset:
    style = _field(text, "style", "pytorch")
    preset = _with(preset, "backbone", stride_in_1x1=style == "caffe")
    mean, std = (_field(text, name, value=LIST) for name in ("mean", "std"))
    if mean and std:
        rgb = _field(text, "bgr_to_rgb", _field(text, "to_rgb", True))
        colours = {"color_order": "rgb" if rgb else "bgr", "mean": tuple(mean), "std": tuple(std)}
        preset = _with(preset, "preprocessing", **colours)
    relu = bool(_field(text, "relu_before_extra_convs", False))
    preset = _with(preset, "fpn", relu_before_p7=relu)
    anchor_text = text.partition("anchor_generator")[2]
    for name, expected in ANCHOR_FIELDS.items():
        found = _field(anchor_text, name, expected)
        if found != expected:
            raise UserError(
                f"expected {name}={expected} in the file's anchor_generator. Received: {found}. "
                "Only the published RetinaNet's anchors can be imported."
            )
    metadata = preset.metadata | {"assumptions": "" if relu else NO_RELU}
    return dataclasses.replace(preset, metadata=metadata)


def _field(text: str, name: str, default: Any = None, *, value: str = VALUE) -> Any:
    """The value of the first `name=value` of a Python configuration; nothing is run."""
    found = re.search(rf"\b{name}\s*=\s*({value})", text)
    try:
        return ast.literal_eval(found[1]) if found else default
    except (ValueError, SyntaxError):  # an expression: not what a dumped configuration holds
        return default


def _named(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    """The class names that the file holds, where they are as many as its outputs."""
    for key in ("meta.CLASSES", "meta.dataset_meta.classes", "meta.dataset_meta.CLASSES"):
        count = sum(name.startswith(f"{key}.") for name in metadata)
        names = [metadata.get(f"{key}.{i}", "") for i in range(count)]
        if len(names) == len(preset.class_names) and len(set(names)) == count:
            ids = COCO80_IDS if names == COCO80_NAMES else range(1, count + 1)
            return dataclasses.replace(preset, class_names=names, class_ids=list(ids))
    return preset


def _with(preset: Preset, part: str, **changes: Any) -> Preset:
    """`preset` with fields of one part of its configuration changed."""
    changed = dataclasses.replace(getattr(preset.config, part), **changes)
    return dataclasses.replace(preset, config=dataclasses.replace(preset.config, **{part: changed}))


def _assuming(preset: Preset, *, style: str) -> Preset:
    assumptions = f"style {style}: not written in the file; {NO_RELU}"
    return dataclasses.replace(preset, metadata=preset.metadata | {"assumptions": assumptions})


def _rows(model: RetinaNet) -> Iterator[Row]:
    yield from torch_resnet_rows(model.backbone, "backbone.")
    for i, level in enumerate((3, 4, 5)):
        yield from conv_rows(f"neck.lateral_convs.{i}.conv", f"fpn/lateral_c{level}")
    for i, level in enumerate(LEVELS):
        yield from conv_rows(f"neck.fpn_convs.{i}.conv", f"fpn/output_p{level}")
    for theirs, ours in (("cls", "class_head"), ("reg", "box_head")):
        for i in range(model.config.head.depth):
            yield from conv_rows(f"bbox_head.{theirs}_convs.{i}.conv", f"{ours}/conv{i + 1}")
        yield from conv_rows(f"bbox_head.retina_{theirs}", f"{ours}/final")


def _recognises(shapes: Shapes) -> bool:
    return {"bbox_head.retina_cls.weight", "neck.fpn_convs.4.conv.weight"} <= set(shapes)


def _never(_shapes: Shapes) -> bool:
    return False


_COUNTERS = r".*\.num_batches_tracked"
FAMILY = Family("mmdet", _recognises, _preset, _rows, unused=_COUNTERS, refine=_refine)
# The style by the user's word, for a file that does not tell: `--family` alone reaches these.
PYTORCH = Family("mmdet_pytorch", _never, _preset, _rows, unused=_COUNTERS, refine=_pytorch)
CAFFE = Family("mmdet_caffe", _never, _preset, _rows, unused=_COUNTERS, refine=_caffe)
