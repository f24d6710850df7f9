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
from keras_retinanet.checkpoints.families.family import Family, Preset, Shapes, class_count, has
from keras_retinanet.checkpoints.families.torch_style import conv_rows, trunk_name
from keras_retinanet.config import model as configs
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.filling import Row
from keras_retinanet.weight_files.torch_names import torch_resnet_rows

CAFFE_COLOURS: dict[str, Any] = {
    "color_order": "bgr",
    "mean": (103.53, 116.28, 123.675),
    "std": (1.0, 1.0, 1.0),
}
NO_RELU = (
    "no ReLU before P7: the default of MMDetection's FPN, which its RetinaNet configurations leave "
    "as it is (import with --set model.fpn.relu_before_p7=true to change it)"
)
UNTOLD_STYLE = f"style {{}}: not written in the file; {NO_RELU}"
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
    outputs = shapes["bbox_head.retina_reg.weight"][0]
    received = f"{outputs // 4} in bbox_head.retina_reg.weight"
    class_outputs, channels = shapes["bbox_head.retina_cls.weight"][:2]
    names, ids = coco_classes(class_count(class_outputs, outputs, received))
    config = configs.ModelConfig(
        backbone=configs.BackboneConfig(name=trunk_name(shapes, "backbone."), stride_in_1x1=False),
        fpn=configs.FPNConfig(
            channels=shapes["neck.lateral_convs.0.conv.weight"][0], relu_before_p7=False
        ),
        head=configs.HeadConfig(channels=channels, depth=depth),
        anchors=configs.AnchorConfig(offset=0.0),
        box_coder=configs.BoxCoderConfig(log_clip="both"),
        preprocessing=configs.PreprocessingConfig(
            canvas="exact", rounding="half_up", resize_method="rounded"
        ),
        detections=configs.DetectionConfig(drop_empty=True),
    )
    return Preset(config, names, ids, "Apache-2.0", NO_RELU)


def _pytorch(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    return _named(preset, metadata).having(assumptions=UNTOLD_STYLE.format("pytorch"))


def _caffe(preset: Preset, metadata: Mapping[str, str]) -> Preset:
    return _named(preset, metadata).having(
        assumptions=UNTOLD_STYLE.format("caffe"),
        backbone={"stride_in_1x1": True},
        preprocessing=CAFFE_COLOURS,
    )


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
    relu = bool(_field(text, "relu_before_extra_convs", False))
    preset = preset.having(
        assumptions="" if relu else NO_RELU,
        backbone={"stride_in_1x1": _field(text, "style", "pytorch") == "caffe"},
        fpn={"relu_before_p7": relu},
    )
    mean, std = (_field(text, name, value=LIST) for name in ("mean", "std"))
    if mean and std:
        rgb = _field(text, "bgr_to_rgb", _field(text, "to_rgb", True))
        colours = {"color_order": "rgb" if rgb else "bgr", "mean": tuple(mean), "std": tuple(std)}
        preset = preset.having(preprocessing=colours)
    anchor_text = text.partition("anchor_generator")[2]
    for name, expected in ANCHOR_FIELDS.items():
        found = _field(anchor_text, name, expected)
        if found != expected:
            raise UserError(
                f"expected {name}={expected} in the file's anchor_generator. Received: {found}. "
                "Only the published RetinaNet's anchors can be imported."
            )
    return preset


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


def _rows(model: RetinaNet) -> Iterator[Row]:
    yield from torch_resnet_rows(model.backbone, "backbone.")
    for i, level in enumerate((3, 4, 5)):
        yield from conv_rows(f"neck.lateral_convs.{i}.conv", f"fpn/lateral_c{level}")
    for i, level in enumerate(configs.LEVELS):
        yield from conv_rows(f"neck.fpn_convs.{i}.conv", f"fpn/output_p{level}")
    for theirs, ours in (("cls", "class_head"), ("reg", "box_head")):
        for i in range(model.config.head.depth):
            yield from conv_rows(f"bbox_head.{theirs}_convs.{i}.conv", f"{ours}/conv{i + 1}")
        yield from conv_rows(f"bbox_head.retina_{theirs}", f"{ours}/final")


FAMILY = Family(
    "mmdet",
    "MMDetection (github.com/open-mmlab/mmdetection)",
    has(r"bbox_head\.retina_cls\.weight", r"neck\.fpn_convs\.4\.conv\.weight"),
    _preset,
    _rows,
    unused=r".*\.num_batches_tracked",
    refine=_refine,
    label="mmdet",
)
# The style by the user's word, for a file that does not tell: `--family` alone reaches these.
_BY_NAME = dataclasses.replace(FAMILY, recognizes=lambda shapes: False)
PYTORCH = dataclasses.replace(_BY_NAME, name="mmdet_pytorch", refine=_pytorch)
CAFFE = dataclasses.replace(_BY_NAME, name="mmdet_caffe", refine=_caffe)
