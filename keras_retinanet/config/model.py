"""The model's part of the configuration: every choice of the graph, its input and its detections.

The defaults are the paper's. Choices that only other systems' weights ask for name those systems.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

# What 32 bits hold, and floats that stay so when they multiply: no real choice is near these.
MAX_INT, MAX_FLOAT = 2**31 - 1, 10**6
PositiveInt = Annotated[int, Field(gt=0, le=MAX_INT)]
NaturalInt = Annotated[int, Field(ge=0, le=MAX_INT)]
# In pixels, and in pictures or boxes: what is reserved at once grows with them.
Side = Annotated[int, Field(gt=0, le=1 << 14)]
Count = Annotated[int, Field(gt=0, le=1 << 16)]
# Bounded, as is the heads' depth: a model file from anywhere must not reserve all memory.
Channels = Annotated[int, Field(gt=0, le=4096)]
PositiveFloat = Annotated[float, Field(gt=0, le=MAX_FLOAT)]
NaturalFloat = Annotated[float, Field(ge=0, le=MAX_FLOAT)]
Finite = Annotated[float, Field(ge=-MAX_FLOAT, le=MAX_FLOAT)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Padding = Literal["symmetric", "same"]
Norm = Literal["none", "group_norm", "batch_norm"]


@dataclass(frozen=True)
class BackboneConfig:
    """The trunk that gives C3, C4 and C5. `None` means: as the trunk was published."""

    # A name of `keras_retinanet.modeling.backbones.BACKBONES`.
    name: str = "resnet50"
    # None: random. "imagenet": the public ImageNet weights of this trunk. Else a file.
    weights: str | None = None
    # Bottlenecks put stride 2 in the first 1x1 (He et al. 2015, detectron2) or in the 3x3.
    stride_in_1x1: bool | None = None
    # "symmetric": explicit zeros on both sides, as every PyTorch system; "same": TensorFlow's.
    padding: Padding | None = None
    # Of ResNet's first convolution; None: as `padding`.
    stem_padding: Padding | None = None
    # Of the max pooling behind it; None: as `padding`.
    pool_padding: Padding | None = None
    # torchvision's COCO_V1 weights are used with 0.
    bn_epsilon: NaturalFloat | None = None
    # Batch norms keep statistics and factors. Only in a trunk that starts from loaded weights, for
    # frozen random statistics are noise.
    freeze_bn: bool = True
    # So many stages, the stem being the first, do not learn; only from loaded weights too.
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = 2


@dataclass(frozen=True)
class FPNConfig:
    """C3..C5 -> P3..P7 (RetinaNet paper, section 4)."""

    # Of every level.
    channels: Channels = 256
    # What P6 is a convolution of.
    p6_from: Literal["c5", "p5"] = "c5"
    # P7 is a convolution of relu(P6); false: of P6.
    relu_before_p7: bool = True
    # Of the convolutions, as the trunk's.
    padding: Padding = "symmetric"
    # Normalisation inside the pyramid.
    norm: Norm = "none"
    # "outputs": after each output, P6 and P7 being taken before; "merged": after each lateral sum
    # and after P6 and P7, so that what goes on is normalised (KerasHub).
    norm_at: Literal["outputs", "merged"] = "outputs"
    # Of `norm`; None: Keras's for batch norm (.001), PyTorch's for group norm (1e-5).
    norm_epsilon: PositiveFloat | None = None
    # Depthwise and pointwise convolutions instead of full ones: small models for phones.
    separable: bool = False


@dataclass(frozen=True)
class HeadConfig:
    """The class and the box subnet: same shape, separate weights, shared over the levels."""

    # Of each convolution of the towers.
    channels: Channels = 256
    # Convolutions in front of the last one.
    depth: Annotated[int, Field(ge=0, le=32)] = 4
    # Behind each convolution of the towers. From random weights, take group_norm.
    norm: Norm = "none"
    # Of `norm`; None: as the pyramid's.
    norm_epsilon: PositiveFloat | None = None
    # The tower's convolutions keep a bias although a norm follows (TensorFlow Model Garden).
    bias_before_norm: bool = False
    # As the pyramid's.
    separable: bool = False
    # pi of section 4.1: the foreground probability an untrained class head gives. Class head only.
    prior: Annotated[float, Field(gt=0, lt=1)] = 0.01


@dataclass(frozen=True)
class AnchorConfig:
    """Boxes in pixels of the network input; one size per level P3..P7."""

    # Side of a square anchor on each level, before `scales`.
    sizes: Annotated[tuple[PositiveFloat, ...], Field(min_length=5, max_length=5)] = (
        32.0,
        64.0,
        128.0,
        256.0,
        512.0,
    )
    # Every size comes in each of these scales: three to the octave in the paper.
    scales: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (
        1.0,
        2.0 ** (1 / 3),
        2.0 ** (2 / 3),
    )
    # Aspect ratios, at equal area.
    ratios: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.5, 1.0, 2.0)
    # What a ratio divides: "h/w" or "w/h".
    ratio_is: Literal["h/w", "w/h"] = "h/w"
    # Which of the two is the slow index among the anchors of a cell.
    order: Literal["ratio_outer", "scale_outer"] = "ratio_outer"
    # Centre of the first cell, in strides: .5 is the middle of the cell, 0 its corner.
    offset: Finite = 0.5
    # torchvision truncates the scaled sizes and rounds the half extents to whole pixels.
    rounded: bool = False
    # Sides of the ratios are whole at the stride, a quarter of the size: the width is rounded,
    # then that times the ratio; both are scaled up afterwards (odtk until March 2020).
    rounded_base: bool = False
    # One pixel is added to x2 and y2: the anchors of systems in which a side is x2 - x1 + 1, so
    # that every box here is [x1, x2 + 1) of theirs (odtk).
    inclusive: bool = False
    # "nominal": 8..128. "true": input side // feature side, as torchvision.
    stride: Literal["nominal", "true"] = "nominal"
    # Cut the anchors at the input's border, as KerasCV.
    clip: bool = False


@dataclass(frozen=True)
class BoxCoderConfig:
    """How a box is written relative to its anchor: delta = code(box, anchor) / scales."""

    # "xywh": shift of the centre in anchor sides, logarithms of width and height; "yxhw": the same,
    # in that order (TensorFlow Model Garden); "corners": shift of both corners (keras-retinanet).
    code: Literal["xywh", "yxhw", "corners"] = "xywh"
    # In the order of the code. fizyr's corners use .2, KerasCV's centres .1 .1 .2 .2.
    scales: Annotated[tuple[PositiveFloat, ...], Field(min_length=4, max_length=4)] = (
        1.0,
        1.0,
        1.0,
        1.0,
    )
    # Decoding cuts the logarithms of width and height at log(1000/16): "upper", only from above
    # (Detectron); "both", from below too (mmdet); "none", never (NVIDIA's odtk).
    log_clip: Literal["upper", "both", "none"] = "upper"


@dataclass(frozen=True)
class PreprocessingConfig:
    """Picture -> network input. Stored in the model file and used by every command and export."""

    # The short side is scaled to `short_side` unless the long one would then pass `long_side`.
    short_side: Side = 800
    # At most so many pixels for the long side.
    long_side: Side = 1333
    # "buckets": few shapes, so that nothing retraces; "exact": each picture padded to `multiple`;
    # "exact_beyond": to the next multiple above, even from a multiple (yhenon); "square": always
    # `long_side` both ways, rounded up to `multiple`.
    canvas: Literal["buckets", "exact", "exact_beyond", "square"] = "buckets"
    # Sides of the canvas are multiples of this.
    multiple: Side = 32
    # Side * scale becomes whole by rounding, half to "even"; by its "floor" (torchvision); or by
    # rounding "half_up", the short side exact (detectron2, mmdet).
    rounding: Literal["even", "floor", "half_up"] = "even"
    # "float": bilinear; "rounded": that, to whole grey levels (OpenCV); "pillow": Pillow's
    # bilinear, which averages when it shrinks, in whole numbers as it does.
    resize_method: Literal["float", "rounded", "pillow"] = "float"
    # Average where a picture shrinks, for "float" and "rounded".
    antialias: bool = False
    # What goes by the scale before its rounding instead of by the ratio of the rounded sides:
    # "boxes" on their way back (odtk, yhenon), or "both" those and the sampling of pixels
    # (keras-retinanet: OpenCV's fx).
    exact_scale: Literal["none", "boxes", "both"] = "none"
    # Black on both sides makes a square, which is resized to `long_side` whatever `canvas` says
    # (KerasHub, KerasCV). Detection alone: training pads last.
    pad_first: bool = False
    # In which the network takes its channels; pictures are RGB everywhere else.
    color_order: Literal["rgb", "bgr"] = "rgb"
    # In the colour order above, for pixels 0..255 (ImageNet's, as torchvision and most).
    mean: Annotated[tuple[Finite, ...], Field(min_length=3, max_length=3)] = (
        123.675,
        116.28,
        103.53,
    )
    # What the difference to the mean is divided by.
    std: Annotated[tuple[PositiveFloat, ...], Field(min_length=3, max_length=3)] = (
        58.395,
        57.12,
        57.375,
    )


@dataclass(frozen=True)
class DetectionConfig:
    """Logits -> boxes (section 4.1, Detectron's test options). For scoring, not for drawing."""

    # Lower scores are no detections. Drawing has a threshold of its own.
    score_threshold: Fraction = 0.05
    # So many of the best (anchor, class) pairs of each level go on; None: all of them.
    pre_nms_top_k: PositiveInt | None = 1000
    # "class": instead, so many of the best anchors of each class, over all levels.
    top_k_per: Literal["level", "class"] = "level"
    # Boxes suppress others of their class; "best_class": each anchor has its best class alone, and
    # boxes of all classes suppress each other (KerasHub, KerasCV).
    suppress: Literal["per_class", "best_class"] = "per_class"
    # Of two boxes that overlap by more the better stays.
    nms_iou: Fraction = 0.5
    # So many of a picture, the best.
    max_detections: Count = 100
    # Boxes are cut at the picture's border before the suppression (torchvision) or only after it
    # (detectron2), which can keep another box.
    clip_before_nms: bool = True
    # Where that border is: the picture's, the whole network input's, padding included, or nowhere.
    clip_to: Literal["picture", "canvas", "none"] = "picture"
    # The border lies so many pixels further in (keras-retinanet: 1).
    clip_margin: NaturalFloat = 0.0
    # Drop boxes that are empty once cut (detectron2; mmdet, which cuts before the suppression).
    drop_empty: bool = False
    # Output 0 stands for background and is never a detection (TensorFlow Model Garden).
    background_output: bool = False


@dataclass(frozen=True)
class ModelConfig:
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    fpn: FPNConfig = field(default_factory=FPNConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    anchors: AnchorConfig = field(default_factory=AnchorConfig)
    box_coder: BoxCoderConfig = field(default_factory=BoxCoderConfig)
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    detections: DetectionConfig = field(default_factory=DetectionConfig)
