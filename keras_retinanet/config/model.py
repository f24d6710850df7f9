"""The model section of the configuration: graph, network input and post-processing.

The defaults are the paper's. An option that only another system's weights need names that system.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from keras_retinanet.config.options import (
    AnyNumber,
    Channels,
    Finite,
    NaturalFloat,
    PerChannel,
    PerCoordinate,
    PositiveFloat,
    PositivePerChannel,
    Side,
    option,
)
from keras_retinanet.config.post_processing import DetectionConfig
from keras_retinanet.config.tiles import TilesConfig

# Pyramid levels P3..P7. Level l has stride 2 ** l.
LEVELS = (3, 4, 5, 6, 7)
Padding = Literal["symmetric", "same"]
Norm = Literal["none", "group_norm", "batch_norm"]
Activation = Literal["relu", "relu6", "swish", "hard_swish"]
PerLevel = Annotated[
    tuple[PositiveFloat, ...], Field(min_length=len(LEVELS), max_length=len(LEVELS))
]


@dataclass(frozen=True)
class BackboneConfig:
    """The backbone that computes C3, C4 and C5, or P3 to P7. `None` keeps the published graph."""

    name: str = option(
        "resnet50",
        "Name of the backbone, such as resnet50, efficientnet_lite0 or spinenet49. SpineNets "
        "compute P3 to P7 themselves: no FPN follows, and `model.fpn` is not used.",
    )
    weights: str | None = option(
        None,
        'Initial weights: none for random ones, "imagenet" for the public ImageNet weights of this '
        'backbone, "imagenet_v2" for the newer ones of torchvision (ResNet, ResNeXt), or the path '
        "of a file.",
    )
    stride_in_1x1: bool | None = option(
        None,
        "Put the stride of a bottleneck into its first 1x1 convolution (He et al. 2015, "
        "detectron2) instead of its 3x3 convolution.",
    )
    padding: Padding | None = option(
        None,
        'Padding of convolutions with stride 2: "symmetric" pads both sides equally (PyTorch); '
        '"same" pads as TensorFlow does.',
    )
    stem_padding: Padding | None = option(
        None, "Padding of ResNet's first convolution; none: the same as `padding`."
    )
    pool_padding: Padding | None = option(None, "Padding of ResNet's max pooling; none: symmetric.")
    bn_epsilon: NaturalFloat | None = option(
        None, "Epsilon of the batch norms. torchvision's COCO_V1 weights are used with 0."
    )
    activation: Activation | None = option(
        None,
        "Activation of SpineNets; none: swish, or hard_swish in the mobile ones. The first release "
        "also published SpineNets with relu.",
    )
    single_pool: bool | None = option(
        None,
        "Shrink a map by 4 with one max pooling of 5 pixels (SpineNet's first release, for TPU) "
        "instead of two of 3 pixels.",
    )
    smooth_gates: bool | None = option(
        None,
        "Gate channels of mobile SpineNets with swish and a sigmoid (SpineNet's first release, for "
        "TPU) instead of ReLU and a hard sigmoid.",
    )
    stochastic_depth: Annotated[float, Field(ge=0, lt=1)] = option(
        0.0,
        "Probability that the last block of a SpineNet is skipped for an image of a training "
        "batch; it grows linearly from the first block to that one (Huang et al. 2016).",
    )
    freeze_bn: bool = option(
        True,
        "Freeze statistics, scale and shift of the batch norms; ignored unless weights are loaded.",
    )
    sync_bn: bool = option(
        False,
        "Compute the statistics of batch norms that train over the images of all devices instead "
        "of each device's own.",
    )
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = option(
        2,
        "Freeze the first N stages, counting the stem as stage 1; ignored unless weights are "
        "loaded.",
    )


@dataclass(frozen=True)
class FPNConfig:
    """The feature pyramid, C3..C5 -> P3..P7 (RetinaNet paper, section 4)."""

    name: Literal["fpn", "nas_fpn"] = option(
        "fpn",
        'Pyramid: "fpn"; or "nas_fpn" (Ghiasi et al. 2019), which reads of this section `repeats`, '
        "`channels`, `activation`, `norm`, `norm_epsilon` and `separable`.",
    )
    repeats: Annotated[int, Field(ge=1, le=32)] = option(
        7,
        '"nas_fpn": number of pyramids, each on the outputs of the one before. The paper stacks 7, '
        "Model Garden 5 by default.",
    )
    channels: Channels = option(256, "Number of channels of every level.")
    p6_from: Literal["c5", "p5"] = option("c5", "Input of the convolution that computes P6.")
    relu_before_p7: bool = option(True, "Apply a ReLU to P6 before the convolution to P7.")
    activation: Activation = option(
        "relu",
        "Activation before the convolution to P7, for `relu_before_p7`; of NAS-FPN before each "
        "convolution of a cell.",
    )
    padding: Padding = option(
        "symmetric", "Padding of the convolutions to P6 and P7; see `backbone.padding`."
    )
    norm: Norm = option("none", "Normalization inside the pyramid.")
    norm_at: Literal["outputs", "merged"] = option(
        "outputs",
        'Place of the normalization: "outputs" normalizes each output after P6 and P7 are taken; '
        '"merged" normalizes each lateral sum, P6 and P7 before they are used (KerasHub).',
    )
    norm_epsilon: PositiveFloat | None = option(
        None,
        "Epsilon of `norm`; none: 0.001 for batch norm (Keras), 1e-5 for group norm (PyTorch).",
    )
    separable: bool = option(
        False, "Use depthwise separable convolutions, for small models on phones."
    )


@dataclass(frozen=True)
class HeadConfig:
    """The class and box subnets: same shape, separate weights, shared over the levels."""

    channels: Channels = option(256, "Number of channels of each convolution in the towers.")
    depth: Annotated[int, Field(ge=0, le=32)] = option(
        4, "Number of convolutions before the last one."
    )
    norm: Norm = option(
        "none",
        "Normalization after each convolution of the towers. Choose group_norm to train from "
        "random weights.",
    )
    norm_epsilon: PositiveFloat | None = option(
        None, "Epsilon of `norm`; none: the same default as in the pyramid."
    )
    activation: Activation = option("relu", "Activation after each convolution of the towers.")
    bias_before_norm: bool = option(
        False, "Keep the bias of convolutions that a norm follows (TensorFlow Model Garden)."
    )
    separable: bool = option(False, "Use depthwise separable convolutions.")
    prior: Annotated[float, Field(gt=0, lt=1)] = option(
        0.01,
        "Foreground probability that an untrained class head predicts (pi in section 4.1). It does "
        "not affect the box head.",
    )


@dataclass(frozen=True)
class AnchorConfig:
    """Anchor boxes in pixels of the network input; one size per level P3..P7."""

    sizes: PerLevel = option(
        (32.0, 64.0, 128.0, 256.0, 512.0),
        "Side of a square anchor on each level, before `scales` apply.",
    )
    scales: AnyNumber = option(
        (1.0, 2.0 ** (1 / 3), 2.0 ** (2 / 3)),
        "Scales of each size. The paper uses three per octave.",
    )
    ratios: AnyNumber = option((0.5, 1.0, 2.0), "Aspect ratios of anchors with equal area.")
    ratio_is: Literal["h/w", "w/h"] = option("h/w", "Meaning of a ratio.")
    order: Literal["ratio_outer", "scale_outer"] = option(
        "ratio_outer", "Outer loop over the anchors of a cell: ratios or scales."
    )
    offset: Finite = option(
        0.5, "Center of the first cell in strides: 0.5 is the middle of the cell, 0 its corner."
    )
    rounded: bool = option(
        False, "Truncate the scaled sizes and round the half extents to integers (torchvision)."
    )
    rounded_base: bool = option(
        False,
        "Round the sides of each ratio at the stride, a quarter of the size: first the width, then "
        "that width times the ratio; both are scaled up afterwards (odtk until March 2020).",
    )
    inclusive: bool = option(
        False,
        "Add one pixel to x2 and y2: anchors of a system in which a side is x2 - x1 + 1 (odtk).",
    )
    stride: Literal["nominal", "true"] = option(
        "nominal",
        'Distance of cells: "nominal" is 8 to 128; "true" is input side // feature side '
        "(torchvision).",
    )
    clip: bool = option(False, "Clip the anchors at the border of the input (KerasCV).")


@dataclass(frozen=True)
class BoxCoderConfig:
    """Encoding of a box relative to its anchor: delta = code(box, anchor) / scales."""

    code: Literal["xywh", "yxhw", "corners"] = option(
        "xywh",
        'Code of a box: "xywh" is the shift of the center in anchor sides and the logarithms of '
        'width and height; "yxhw" is the same in that order (TensorFlow Model Garden); "corners" '
        "is the shift of both corners (keras-retinanet).",
    )
    scales: PerCoordinate = option(
        (1.0, 1.0, 1.0, 1.0),
        "Divisors of the delta, in the order of the code. fizyr's corners use 0.2, KerasCV's "
        "centers 0.1, 0.1, 0.2, 0.2.",
    )
    log_clip: Literal["upper", "both", "none"] = option(
        "upper",
        "Clipping of the logarithms of width and height at log(1000/16) during decoding: "
        '"upper" only from above (Detectron); "both" also from below (mmdet); "none" never (odtk).',
    )


@dataclass(frozen=True)
class PreprocessingConfig:
    """Image -> network input. Stored in the model file and used by every command and export."""

    short_side: Side = option(
        800, "Target of the short side in pixels, unless the long side would exceed `long_side`."
    )
    long_side: Side = option(1333, "Maximum of the long side in pixels.")
    canvas: Literal["buckets", "exact", "exact_beyond", "square"] = option(
        "buckets",
        'Size of the padded image: "buckets" uses few shapes, so that few graphs are traced; '
        '"exact" pads to `multiple`; "exact_beyond" pads to the next larger multiple, even from a '
        'multiple (yhenon); "square" pads both sides to `long_side`, rounded up to `multiple`.',
    )
    multiple: Side = option(32, "Number of pixels that the sides of the canvas are multiples of.")
    rounding: Literal["even", "floor", "half_up"] = option(
        "even",
        'Rounding of side * scale: to nearest with halves to "even", "floor" (torchvision), or '
        '"half_up" with an exact short side (detectron2, mmdet).',
    )
    resize_method: Literal["float", "rounded", "pillow"] = option(
        "float",
        'Resize method: "float" is bilinear; "rounded" is bilinear, rounded to integers (OpenCV); '
        '"pillow" is Pillow\'s bilinear in integers, which averages when it shrinks an image.',
    )
    antialias: bool = option(
        False, 'Average pixels where an image shrinks, for "float" and "rounded".'
    )
    exact_scale: Literal["none", "boxes", "both"] = option(
        "none",
        "Use the scale before rounding instead of the ratio of the rounded sides: "
        '"boxes" for boxes mapped back to the image (odtk, yhenon); "both" also for the sampling '
        "of pixels (keras-retinanet: OpenCV's fx).",
    )
    pad_first: bool = option(
        False,
        "Pad an image with black to a centered square, then resize it to `long_side`, whatever "
        "`canvas` is (KerasHub, KerasCV). Applies to detection only; training pads last.",
    )
    color_order: Literal["rgb", "bgr"] = option(
        "rgb", "Channel order of the network. Images are RGB everywhere else."
    )
    mean: PerChannel = option(
        (123.675, 116.28, 103.53),
        "Mean subtracted from pixels 0..255, in the order of `color_order`. The default is "
        "ImageNet's, as in torchvision.",
    )
    std: PositivePerChannel = option(
        (58.395, 57.12, 57.375), "Divisor after the mean is subtracted, in the same order."
    )


@dataclass(frozen=True)
class ModelConfig:
    """What a model file stores of its configuration."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    fpn: FPNConfig = field(default_factory=FPNConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    box_coder: BoxCoderConfig = field(default_factory=BoxCoderConfig)
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    detections: DetectionConfig = field(default_factory=DetectionConfig)
    tiles: TilesConfig = field(default_factory=TilesConfig)
