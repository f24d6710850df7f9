"""yhenon/pytorch-retinanet: a state dict of its `retinanet.model.ResNet`.

Sources: retinanet/{model.py, anchors.py, utils.py, dataloader.py}. Its train.py saves whole models
(`torch.save(model)`): such a pickle calls that repository's code and is refused by the reader; its
published COCO file is a state dict.
"""

from collections.abc import Iterator

from keras_retinanet.checkpoints.families import family
from keras_retinanet.checkpoints.families.coco_names import coco_classes
from keras_retinanet.checkpoints.families.torch_style import conv_rows, trunk_name
from keras_retinanet.config import model as configs
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.filling import Row
from keras_retinanet.weight_files.torch_names import torch_resnet_rows

# The peer keeps every box that its suppression leaves; COCO's metric counts 100.
MANY_DETECTIONS = 1000
ASSUMPTIONS = (
    f"at most {MANY_DETECTIONS} detections, where the peer has no limit; images made smaller are "
    "not smoothed first, as scikit-image does in some versions"
)


def _preset(shapes: family.Shapes) -> family.Preset:
    names, ids = coco_classes(
        shapes["classificationModel.output.weight"][0] // family.ANCHORS_PER_CELL
    )
    config = configs.ModelConfig(
        backbone=configs.BackboneConfig(name=trunk_name(shapes), stride_in_1x1=False),
        box_coder=configs.BoxCoderConfig(scales=(0.1, 0.1, 0.2, 0.2), log_clip="none"),
        preprocessing=configs.PreprocessingConfig(
            short_side=608, long_side=1024, canvas="exact_beyond", exact_scale="boxes"
        ),
        detections=configs.DetectionConfig(
            pre_nms_top_k=None, max_detections=MANY_DETECTIONS, clip_to="canvas"
        ),
    )
    return family.Preset(config, names, ids, "Apache-2.0", ASSUMPTIONS)


def _rows(model: RetinaNet) -> Iterator[Row]:
    yield from torch_resnet_rows(model.backbone)
    for level in (3, 4, 5):
        yield from conv_rows(f"fpn.P{level}_1", f"fpn/lateral_c{level}")
        yield from conv_rows(f"fpn.P{level}_2", f"fpn/output_p{level}")
    yield from conv_rows("fpn.P6", "fpn/output_p6")
    yield from conv_rows("fpn.P7_2", "fpn/output_p7")
    for theirs, ours in (("classificationModel", "class_head"), ("regressionModel", "box_head")):
        for i in range(1, 5):
            yield from conv_rows(f"{theirs}.conv{i}", f"{ours}/conv{i}")
        yield from conv_rows(f"{theirs}.output", f"{ours}/final")


FAMILY = family.Family(
    "yhenon",
    "yhenon/pytorch-retinanet (github.com/yhenon/pytorch-retinanet)",
    family.has(r"fpn\.P7_2\.weight", r"classificationModel\.output\.weight"),
    _preset,
    _rows,
    unused=r".*\.num_batches_tracked",
)
