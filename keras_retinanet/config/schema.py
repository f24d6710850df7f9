"""Typed configuration: frozen dataclasses whose defaults are the paper (YAML: `config_files`).

Only builders and commands read these; every part below takes plain values, so that
`retinanet("resnet50", num_classes=80)` works in a notebook without YAML.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from keras_retinanet.config.model import (
    AnchorConfig,
    BackboneConfig,
    BoxCoderConfig,
    Count,
    DetectionConfig,
    FPNConfig,
    Fraction,
    HeadConfig,
    ModelConfig,
    NaturalFloat,
    NaturalInt,
    PositiveFloat,
    PositiveInt,
    PreprocessingConfig,
    Side,
)

__all__ = [
    "AnchorConfig",
    "AugmentConfig",
    "BackboneConfig",
    "BoxCoderConfig",
    "Config",
    "DataConfig",
    "DetectionConfig",
    "EvaluateConfig",
    "FPNConfig",
    "HeadConfig",
    "LossConfig",
    "MatchConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PredictConfig",
    "PreprocessingConfig",
    "ScheduleConfig",
    "TrainConfig",
]

# ------------------------------------------------------------------------------------------- data


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training pictures; all off but the flip, as in the paper's Table 1."""

    # Probability of a flip left to right.
    flip: Fraction = 0.5
    # Probability of a flip upside down.
    flip_vertical: Fraction = 0.0
    # Probability of a turn by 90, 180 or 270 degrees.
    rotate90: Fraction = 0.0
    # Multi-scale: the short side is drawn from these (empty: preprocessing.short_side always).
    short_sides: tuple[Side, ...] = ()
    # Scale jitter: the resized picture is scaled again by a factor from this range, then
    # cropped to, or padded in, the same canvas. Large-scale jitter (Ghiasi et al. 2021): .1, 2.
    scale: Annotated[tuple[PositiveFloat, PositiveFloat], Field()] = (1.0, 1.0)
    # Brightness, contrast and saturation change by up to this fraction.
    color: Fraction = 0.0
    # Hue turns by up to this fraction of the circle.
    hue: Fraction = 0.0
    # Probability of SSD's photometric distortion (Liu et al. 2016, section 3.6).
    photometric: Fraction = 0.0
    # Probability that a rectangle is filled with noise (Zhong et al. 2017).
    erase: Fraction = 0.0
    # Probability of blending two pictures.
    mixup: Fraction = 0.0
    # Probability of joining four pictures.
    mosaic: Fraction = 0.0
    # Probability of pasting boxes of another picture; each of them then comes half the time.
    copy_paste: Fraction = 0.0
    # A box is dropped when a crop leaves less than this fraction of its area.
    min_visible: Fraction = 0.1


@dataclass(frozen=True)
class DataConfig:
    """Which pictures and boxes. `source` is the DATASET word of the command line."""

    # coco, voc, csv, yolo, openimages, kitti, tfrecord, tfds or shapes.
    source: str = "coco"
    # None: the source's usual place (data/coco, ...).
    data_dir: str | None = None
    # `tfds`: the data set's name, such as coco/2017. `voc`: a year of the devkit.
    name: str | None = None
    # An annotation file, instead of the source's own layout.
    annotations: str | None = None
    # The folder of its pictures.
    images: str | None = None
    # The part to train on; None: the source's own training part.
    split: str | None = None
    # The part that the best model is selected on; None: the source's own, else a tenth is held out;
    # "none": train on everything.
    val_split: str | None = None
    # Keep these classes alone, in this order (empty: all).
    classes: tuple[str, ...] = ()
    # VOC boxes start at 1 in a VOCdevkit and at 0 elsewhere; None: decided by the folder.
    one_based: bool | None = None
    # Ground truth per picture is padded to this; more than it holds are dropped and counted.
    max_boxes: Count = 100
    # The first problem of the data is an error, instead of being repaired or skipped and counted.
    strict: bool = False
    # Read pictures that annotations place outside the data folder (absolute names, "..").
    allow_outside: bool = False
    # "stored": pixels as stored, which is what COCO's boxes are on. "apply": turn the picture, and
    # its boxes with it, as its EXIF orientation says.
    exif: Literal["stored", "apply"] = "stored"
    # Keep resized pictures: "memory", or a folder for TFRecord shards. None: decode every time.
    cache: str | None = None
    # `csv` only: a file with a class name a line (`name,id` also); None: the names in use, sorted.
    class_file: str | None = None
    # `openimages` only: a box also counts for the classes above its own, as the challenge has it.
    hierarchy: bool = False
    # `shapes` only: how many scenes are drawn to train on.
    shapes_train: PositiveInt = 600
    # `shapes` only: how many to validate on, and as many again to test on.
    shapes_val: PositiveInt = 60
    # `shapes` only: side of a scene in pixels.
    shapes_size: Side = 256
    augment: AugmentConfig = field(default_factory=AugmentConfig)


# ------------------------------------------------------------------------------------------ train


@dataclass(frozen=True)
class LossConfig:
    """Focal loss plus box loss, summed and divided by the positives of the global batch."""

    # Weight of the foreground, 1 - alpha that of the background; or one number a class.
    alpha: Fraction | tuple[Fraction, ...] = 0.25
    # How much less a place weighs that is right already; 0: cross-entropy.
    gamma: NaturalFloat = 2.0
    # On the deltas ("smooth_l1", "l1"), or on the decoded boxes ("giou").
    box: Literal["smooth_l1", "l1", "giou"] = "smooth_l1"
    # The paper does not state smooth-L1's transition; its authors' Detectron release has .11.
    beta: PositiveFloat = 0.11
    # Factor of the box loss.
    box_weight: NaturalFloat = 1.0
    # 0: this batch's positives. .9: detectron2's moving average, which starts at 100.
    normalizer_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0


@dataclass(frozen=True)
class MatchConfig:
    """Which anchors are positive (section 4, "Anchors")."""

    # An anchor with this IoU or more with a box is that object.
    positive_iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    # Below this it is background; between the two it is left alone.
    negative_iou: Fraction = 0.4
    # Every box also takes its best anchors, however small their IoU. Off in the paper.
    low_quality: bool = False


@dataclass(frozen=True)
class OptimizerConfig:
    """SGD as in the paper, or AdamW."""

    # SGD is the paper's; AdamW learns from random weights and in few steps.
    name: Literal["sgd", "adamw"] = "sgd"
    # For a batch of 16; scaled linearly to the batch in use.
    learning_rate: PositiveFloat = 0.01
    # Of SGD.
    momentum: Fraction = 0.9
    # On kernels alone. SGD couples it (gradient + decay * w); AdamW decouples it.
    weight_decay: NaturalFloat = 1e-4
    # The trunk learns this much slower than the rest.
    backbone_multiplier: PositiveFloat = 1.0
    # Clip gradients to this global norm; 0: off.
    clip_norm: NaturalFloat = 0.0
    # Exponential moving average of the weights, used for evaluation and the saved model; 0: off.
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate over time."""

    # "step": drops at fixed places; "cosine": falls to zero over the run.
    name: Literal["step", "cosine"] = "step"
    # "step": divided by 10 at these fractions of the run (60k and 80k of 90k).
    drops: tuple[Fraction, ...] = (2 / 3, 8 / 9)
    # Linear from a thousandth, over this many steps (at most a tenth of the run).
    warmup_steps: NaturalInt = 500


@dataclass(frozen=True)
class TrainConfig:
    # Pictures per step over all replicas.
    batch_size: Count = 16
    # In steps of 16 pictures, scaled by 16 / batch_size: 90k is detectron's 1x.
    steps: PositiveInt = 90_000
    # "2x" and "3x" of the field are 2 and 3 here.
    schedule_length: PositiveFloat = 1.0
    # Stop after this many minutes, with the schedule fitted to them; 0: no limit.
    minutes: NaturalFloat = 0.0
    # Evaluate every so many steps; 0: after each pass over the data.
    eval_every: NaturalInt = 0
    # Stop after this many evaluations in a row without a better AP (without a validation part: a
    # lower loss); 0: never.
    patience: NaturalInt = 0
    # Save the resumable state every so many steps; 0: at each evaluation.
    checkpoint_every: NaturalInt = 0
    # A file of this package whose trunk, FPN and towers to start from.
    weights: str | None = None
    # Of weights, order of the pictures and random changes.
    seed: NaturalInt = 0
    # What layers compute in; weights, loss and boxes stay float32.
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    loss: LossConfig = field(default_factory=LossConfig)
    matching: MatchConfig = field(default_factory=MatchConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)


@dataclass(frozen=True)
class EvaluateConfig:
    # The part to score on; None: the one that training selects on.
    split: str | None = None
    # Pictures at once.
    batch_size: Count = 8


@dataclass(frozen=True)
class PredictConfig:
    # For drawing alone; scores in the JSON and CSV start at model.detections.score_threshold.
    draw_threshold: Fraction = 0.5
    # Pictures at once.
    batch_size: Count = 8


@dataclass(frozen=True)
class Config:
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
