"""RetinaNet with ResNet and FPN or NAS-FPN of SpineNet's first release (github.com/tensorflow/tpu).

Sources: models/official/detection/modeling/architecture/{resnet,nn_blocks,nn_ops,fpn,nasfpn,heads}
and configs/{base_config,detection_config,retinanet_config}. Layers of the backbone are numbered by
kind, in the order of the code: the stem, then of each block the shortcut before its branch.

Two paddings: convolutions of the backbone pad both sides equally, its max pooling and the FPN as
TensorFlow does.
"""

import collections
import re
from collections.abc import Iterator
from dataclasses import replace

from keras_retinanet.checkpoints.families import family, spinenet, tpu_spinenet
from keras_retinanet.config.model import BackboneConfig, FPNConfig
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones.resnet import RESNETS
from keras_retinanet.modeling.retinanet import RetinaNet
from keras_retinanet.weight_files.filling import Row

KERNEL = re.compile(r"(?P<name>resnet\d+)/conv2d(_\d+)?/kernel")
# The table's sides, MODEL_ZOO.md; the release's default anchors.
PUBLISHED = {
    "resnet50": spinenet.Published(640, 4),
    "resnet101": spinenet.Published(1024, 4),
    "resnet152": spinenet.Published(1280, 4),
}
NAS_FPN_CELL = re.compile(r"fpn_cells/cell_(?P<repeat>\d+)/.*")
# Of a pyramid's seven maps, the first follows the five that it began with.
FIRST_MAP = 5


def _preset(shapes: family.Shapes) -> family.Preset:
    kernels = [match for name in shapes if (match := KERNEL.fullmatch(name))]
    name = kernels[0]["name"]
    # The stem's, three of each block, and the shortcuts of four stages.
    expected = {known: 1 + 3 * sum(RESNETS[known].blocks) + 4 for known in PUBLISHED}
    if len(kernels) != expected.get(name):
        raise UserError(
            f"expected one of {', '.join(PUBLISHED)}. Received: {name} with "
            f"{len(kernels)} convolutions, which cannot be imported."
        )
    return spinenet.preset(
        BackboneConfig(
            name=name,
            stride_in_1x1=False,
            padding="symmetric",
            pool_padding="same",
            bn_epsilon=tpu_spinenet.EPSILON,
        ),
        tpu_spinenet.heads_of(shapes),
        published=PUBLISHED[name],
        fpn=_neck(shapes),
        ratios=(1.0, 2.0, 0.5),
        inclusive=True,
        source="the release's default configuration",
        more=tpu_spinenet.LAST_PIXEL,
    )


def _neck(shapes: family.Shapes) -> FPNConfig:
    common = FPNConfig(norm="batch_norm", norm_epsilon=tpu_spinenet.EPSILON)
    if "fpn/l3/kernel" in shapes:
        channels = shapes["fpn/l3/kernel"][-1]
        return replace(common, channels=channels, p6_from="p5", padding="same")
    return replace(
        common,
        name="nas_fpn",
        channels=shapes["resample_l3/conv2d/kernel"][-1],
        repeats=len({m["repeat"] for name in shapes if (m := NAS_FPN_CELL.fullmatch(name))}),
    )


def _backbone_pairs(model: RetinaNet) -> Iterator[tuple[str, str]]:
    """Yield (our layer, their layer)."""
    blocks: dict[str, list[str]] = {}
    for layer in model.backbone.layers:
        if layer.weights:
            blocks.setdefault("_".join(layer.name.split("_")[:2]), []).append(layer.name)
    stem = [blocks.pop("stem_conv"), blocks.pop("stem_bn")]
    counts: collections.Counter[str] = collections.Counter()
    for names in (*stem, *blocks.values()):
        for name in sorted(names, key=lambda name: "shortcut" not in name):
            kind = spinenet.layer_kind(model.backbone.get_layer(name))
            place = f"{model.config.backbone.name}/{kind}"
            yield f"backbone/{name}", f"{place}_{counts[kind]}" if counts[kind] else place
            counts[kind] += 1


def _fpn_name(layer: str) -> str:
    """Return their name of our layer: lateral_c3 -> fpn/l3; output_p3 -> fpn/post_hoc_d3."""
    part, level = layer[:-1], int(layer[-1])
    if part == "output_p":
        return f"fpn/post_hoc_d{level}" if level <= 5 else f"fpn/p{level}"
    return {"lateral_c": "fpn/l{}", "norm_p": "fpn/p{}-bn"}[part].format(level)


def _nas_fpn_name(layer: str) -> str:
    """Return their name of our layer.

    lateral_c3 -> resample_l3/conv2d; its norm -> resample_l3/bn;
    repeat1_cell2_conv -> fpn_cells/cell_0/sub_policy1/op_after_combine6/conv; its norm -> .../bn.
    """
    stem = layer.removesuffix("_norm")
    if stem.startswith("lateral_c"):
        return f"resample_l{stem[-1]}/{'conv2d' if stem == layer else 'bn'}"
    repeat, cell = (int(number) - 1 for number in re.findall(r"\d+", stem))
    place = f"fpn_cells/cell_{repeat}/sub_policy{cell}/op_after_combine{FIRST_MAP + cell}"
    return f"{place}/{'conv' if stem == layer else 'bn'}"


def _rows(model: RetinaNet) -> Iterator[Row]:
    neck_name = _nas_fpn_name if model.config.fpn.name == "nas_fpn" else _fpn_name
    layers = {
        **dict(_backbone_pairs(model)),
        **{f"fpn/{x.name}": neck_name(x.name) for x in model.fpn.layers if x.weights},
        **dict(tpu_spinenet.head_pairs(model)),
    }
    for name in family.named_weights(model):
        layer, _, weight = name.rpartition("/")
        yield Row(f"{layers[layer]}/{weight}", name)


FAMILY = family.Family(
    "tpu_resnet",
    tpu_spinenet.FAMILY.origin,
    family.has(
        KERNEL.pattern,
        r"(fpn/l3|resample_l3/conv2d)/kernel",
        r"retinanet/class_net/class-predict/bias",
    ),
    _preset,
    _rows,
    unused=tpu_spinenet.STEP,
)
