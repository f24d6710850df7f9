"""What both releases of SpineNet's RetinaNet share: layers in the order of their code, presets.

A release numbers its layers as its code creates them: the stem, its two blocks, then block after
block the resampling of both parents and the block itself, and the outputs last.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keras import layers

from keras_retinanet.checkpoints.families import family
from keras_retinanet.checkpoints.families.model_garden import DETECTIONS, classes_of
from keras_retinanet.config import model as configs
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones.scale_permuted import Block
from keras_retinanet.modeling.backbones.spinenet import BLOCKS, SPINENETS
from keras_retinanet.modeling.backbones.spinenet_mobile import BLOCKS as MOBILE_BLOCKS
from keras_retinanet.modeling.backbones.spinenet_mobile import MOBILE_SPINENETS

PLAIN = "plain"


@dataclass(frozen=True)
class Published:
    """What a release says of a size beside its graph: the input's side, and anchors in strides."""

    side: int
    anchor_size: float


# Both releases' configurations, configs/spinenet and official/vision/configs/experiments/retinanet.
PUBLISHED = {
    "spinenet49s": Published(640, 3),
    "spinenet49": Published(640, 3),
    "spinenet96": Published(1024, 3),
    "spinenet143": Published(1280, 4),
    "spinenet190": Published(1280, 4),
    "spinenet49_mobile": Published(384, 3),
    "spinenet49s_mobile": Published(384, 3),
    "spinenet49xs_mobile": Published(256, 3),
}


@dataclass(frozen=True)
class Unit:
    """Layers that a release creates one after the other.

    Attributes:
        scope: variable scope in the first release, below the backbone's; "": none.
        kind: `PLAIN`, or the kind of a block.
        layers: our layers with weights.
    """

    scope: str
    kind: str
    layers: list[Any]


def units(backbone: Any) -> Iterator[Unit]:
    """Yield the layers of a SpineNet in the order of both releases' code."""
    is_mobile = backbone.name in MOBILE_SPINENETS
    table: Sequence[Block] = MOBILE_BLOCKS if is_mobile else BLOCKS
    resampling = "resample_with_sepconv" if is_mobile else "resample_with_alpha"
    named = [layer for layer in backbone.layers if layer.weights]

    def having(prefix: str) -> list[Any]:
        found = [layer for layer in named if layer.name.startswith(prefix)]
        return sorted(found, key=lambda layer: "shortcut" not in layer.name)

    def repeats(scope: str, prefix: str, kind: str) -> Iterator[Unit]:
        if is_mobile:
            own = [layer for layer in having(f"{prefix}_") if "_from" not in layer.name]
            yield Unit(scope, kind, own)
            return
        parts = (having(f"{prefix}_{repeat}_") for repeat in itertools.count(1))
        for part in itertools.takewhile(bool, parts):
            yield Unit(scope, kind, part)

    yield Unit("", PLAIN, having("stem_"))
    stem = sorted({"_".join(x.name.split("_")[:2]) for x in named if x.name.startswith("stage")})
    for prefix, block in zip(stem, table, strict=False):
        yield from repeats("", prefix, block.kind)
    for place in range(len(stem), len(table)):
        number = place - len(stem)
        for side, parent in enumerate(table[place].parents):
            scope = f"sub_policy{number}/{resampling}_resample_{number}_{side}/"
            yield Unit(scope, PLAIN, having(f"block{place}_from{parent}_"))
        scope = f"sub_policy{number}/scale_permuted_block_{place}/"
        yield from repeats(scope, f"block{place}", table[place].kind)
    for level in configs.LEVELS:
        yield Unit("", PLAIN, having(f"p{level}_"))


def layer_kind(layer: Any) -> str:
    """Return what Keras calls layers of this kind: "conv2d", "batch_normalization" ..."""
    if isinstance(layer, layers.BatchNormalization):
        return "batch_normalization"
    return "depthwise_conv2d" if isinstance(layer, layers.DepthwiseConv2D) else "conv2d"


def weight_name(layer: Any, name: str) -> str:
    """Return what TensorFlow's Keras called a weight of `layer`."""
    is_depthwise = isinstance(layer, layers.DepthwiseConv2D) and name == "kernel"
    return "depthwise_kernel" if is_depthwise else name


def spinenet_of(width: int, reduced: int, repeats: float, channels: int) -> str:
    """Return the SpineNet with these numbers.

    Args:
        width, reduced: channels of the stem's 3x3 convolutions, and of the first resampling.
        repeats: number of blocks in each place.
        channels: of P3..P7.

    Raises:
        UserError: there is none.
    """
    found = (width, reduced, repeats, channels)
    for name, spec in SPINENETS.items():
        stem = spec.width_of(BLOCKS[0])
        if found == (stem, int(stem * spec.alpha), spec.repeats, spec.channels):
            return name
    raise _unknown(SPINENETS, f"{found} for width, resampling, repeats and outputs")


def mobile_of(width: int, channels: int) -> str:
    """Return the mobile SpineNet with these channels of its first block's output and of P3..P7.

    Raises:
        UserError: there is none.
    """
    for name, spec in MOBILE_SPINENETS.items():
        if (width, channels) == (spec.width_of(MOBILE_BLOCKS[0]), spec.channels):
            return name
    raise _unknown(MOBILE_SPINENETS, f"{(width, channels)} channels of first block and outputs")


def _unknown(known: Any, received: str) -> UserError:
    return UserError(f"expected one of {', '.join(known)}. Received: {received}.")


@dataclass(frozen=True)
class Heads:
    """What a checkpoint tells of the heads.

    Attributes:
        class_outputs, box_outputs: channels of both last layers.
        channels, depth: of the towers.
        norm_epsilon: of their batch norms.
    """

    class_outputs: int
    box_outputs: int
    channels: int
    depth: int
    norm_epsilon: float

    def config_for(self, backbone: configs.BackboneConfig) -> configs.HeadConfig:
        """Return their options beside `backbone`, whose activation they have too."""
        return configs.HeadConfig(
            channels=self.channels,
            depth=self.depth,
            norm="batch_norm",
            norm_epsilon=self.norm_epsilon,
            activation=backbone.activation or configs.HeadConfig.activation,
            bias_before_norm=True,
            separable=backbone.name in MOBILE_SPINENETS,
        )


def preset(
    backbone: configs.BackboneConfig,
    heads: Heads,
    *,
    published: Published,
    fpn: configs.FPNConfig | None = None,
    ratios: tuple[float, ...],
    inclusive: bool,
    source: str,
    more: str = "",
) -> family.Preset:
    """Return the graph of a checkpoint and what surrounds it.

    Args:
        backbone: with every option of the release.
        heads: of the checkpoint.
        published: of this network.
        fpn: None: the backbone computes P3 to P7.
        ratios: of the anchors, in the release's order.
        inclusive: whether a side of an anchor is x2 - x1 + 1.
        source: which configuration was taken for granted, for `info`.
        more: at the end of the assumptions.
    """
    received = f"{heads.box_outputs // 4} in the box head"
    count = family.class_count(heads.class_outputs, heads.box_outputs, received)
    names, ids = classes_of(count)
    side = published.side
    config = configs.ModelConfig(
        backbone=backbone,
        fpn=fpn or configs.FPNConfig(),
        head=heads.config_for(backbone),
        anchors=configs.AnchorConfig(
            sizes=tuple(published.anchor_size * 2.0**level for level in configs.LEVELS),
            ratios=ratios,
            inclusive=inclusive,
            ratio_is="w/h",
            order="scale_outer",
        ),
        box_coder=configs.BoxCoderConfig("yxhw"),
        preprocessing=configs.PreprocessingConfig(side, side, canvas="square", multiple=128),
        detections=DETECTIONS,
    )
    assumptions = (
        f"activation {config.head.activation}, input {side} x {side}, anchors of "
        f"{published.anchor_size} strides: {source}'s, which a checkpoint does not tell{more}"
    )
    return family.Preset(config, names, ids, "Apache-2.0", assumptions)
