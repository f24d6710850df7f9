"""Typed configuration: frozen dataclasses whose defaults are the paper (YAML: `files.py`).

Only builders and commands read the whole configuration; parts take plain values, so that
`retinanet("resnet50", num_classes=80)` works in a notebook without YAML.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from keras_retinanet.config.data import DataConfig
from keras_retinanet.config.model import ModelConfig
from keras_retinanet.config.options import (
    Count,
    Fraction,
    NaturalFloat,
    NaturalInt,
    PositiveFloat,
    PositiveInt,
    option,
)


@dataclass(frozen=True)
class LossConfig:
    """Focal loss plus box loss, summed and divided by the positives of the global batch."""

    classes: Literal["focal", "quality_focal", "varifocal", "ohem"] = option(
        "focal",
        'Class loss: "focal", the paper\'s; or "quality_focal" (Li et al. 2020) or "varifocal" '
        "(Zhang et al. 2021), which teach as score the IoU of the decoded box with its ground "
        'truth; or "ohem", the cross-entropy of the anchors where it is highest (section 5.1).',
    )
    alpha: Fraction | tuple[Fraction, ...] = option(
        0.25,
        '"focal": weight of the foreground; the background has 1 - alpha. One number, or one per '
        "class.",
    )
    gamma: NaturalFloat = option(
        2.0,
        "Focusing parameter: larger values reduce the loss of easy anchors; 0: cross-entropy. The "
        "paper on quality focal loss calls it beta.",
    )
    varifocal_alpha: NaturalFloat = option(0.75, '"varifocal": weight of the background.')
    ohem_batch: PositiveInt = option(128, '"ohem": maximum number of anchors per image.')
    ohem_nms_iou: Fraction = option(
        0.7,
        '"ohem": of two anchors with a higher IoU only the one with the higher loss is taken; 1: '
        "both. Shrivastava et al. (2016) use 0.7.",
    )
    ohem_negatives: NaturalFloat = option(
        0.0,
        '"ohem": number of negative anchors for each positive one (SSD: 3); 0: take anchors by '
        "their loss alone.",
    )
    box: Literal["smooth_l1", "l1", "giou", "diou", "ciou"] = option(
        "smooth_l1",
        'Box loss: "smooth_l1" or "l1" on the deltas; or "giou", "diou" or "ciou" on the decoded '
        "boxes.",
    )
    beta: PositiveFloat = option(
        0.11, "Transition of the smooth L1 loss. The paper does not state it; Detectron uses 0.11."
    )
    box_weight: NaturalFloat = option(1.0, "Weight of the box loss.")
    normalizer_momentum: Annotated[float, Field(ge=0, lt=1)] = option(
        0.0,
        "Momentum of the moving average of positives that divides the loss, which starts at 100 "
        "(detectron2: 0.9); 0: divide by the positives of this batch.",
    )


@dataclass(frozen=True)
class MatchConfig:
    """Assignment of anchors to ground truth (section 4, "Anchors")."""

    name: Literal["iou", "atss"] = option(
        "iou",
        'Rule: "iou" compares IoUs with the thresholds below, as the paper does; "atss" computes a '
        "threshold for each box from its nearest anchors and reads only `top_k` of this section.",
    )
    top_k: PositiveInt = option(
        9,
        '"atss": number of nearest cells per level whose anchors are the candidates of a box. The '
        "ATSS paper uses 9.",
    )
    positive_iou: Annotated[float, Field(gt=0, le=1)] = option(
        0.5, "Minimum IoU with a box for an anchor to be assigned to it."
    )
    negative_iou: Fraction = option(
        0.4, "An anchor with a lower IoU is background; between the two thresholds it is ignored."
    )
    low_quality: bool = option(
        False, "Assign to every box also its best anchors, however low their IoU. Off in the paper."
    )


@dataclass(frozen=True)
class OptimizerConfig:
    """SGD as in the paper, or AdamW."""

    name: Literal["sgd", "adamw"] = option(
        "sgd", "Optimizer. The paper uses SGD; AdamW learns from random weights and in few steps."
    )
    learning_rate: PositiveFloat = option(
        0.01, "Learning rate for a batch of 16 images, scaled linearly to the actual batch size."
    )
    momentum: Fraction = option(0.9, "Momentum of SGD.")
    weight_decay: NaturalFloat = option(
        1e-4,
        "Weight decay of kernels only. SGD couples it (gradient + decay * w); AdamW decouples it.",
    )
    backbone_multiplier: PositiveFloat = option(1.0, "Factor of the backbone's learning rate.")
    clip_norm: NaturalFloat = option(0.0, "Maximum global norm of the gradients; 0: no clipping.")
    ema: Annotated[float, Field(ge=0, lt=1)] = option(
        0.0, "Momentum of the moving average of the weights, which is evaluated and saved; 0: off."
    )


@dataclass(frozen=True)
class DistillationConfig:
    """Imitation of `train.teacher`: terms of the loss, which leave the model as it is."""

    feature_weight: NaturalFloat = option(
        10.0,
        "Weight of the imitation of the features of P3 to P7 (PKD, Cao et al. 2022, whose authors "
        "take 10 for RetinaNet); 0: none.",
    )
    output_weight: NaturalFloat = option(
        1.0,
        "Weight of the imitation of class scores and boxes. The teacher must have the anchors of "
        "the model and know its classes; 0: none, and both may differ.",
    )
    teacher_sha256: str | None = option(
        None,
        "SHA-256 of the teacher's file. The run writes it, and refuses another file when it is "
        "resumed.",
    )


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate over time."""

    name: Literal["step", "cosine"] = option(
        "step", 'Shape: "step" drops at fixed places; "cosine" falls to zero over the run.'
    )
    drops: tuple[Fraction, ...] = option(
        (2 / 3, 8 / 9),
        '"step": fractions of the run at which the learning rate is divided by 10 (60k and 80k of '
        "90k).",
    )
    warmup_steps: NaturalInt = option(
        500,
        "Steps of linear warmup from a thousandth of the learning rate, at most a tenth of the "
        "run.",
    )


@dataclass(frozen=True)
class TrainConfig:
    """Length, batches and evaluation of a training run."""

    batch_size: Count = option(16, "Number of images per step, over all devices.")
    micro_batch: NaturalInt = option(
        0,
        "Number of images per device that are computed at once: the gradients of the pieces of a "
        "step are summed, which gives the step of the whole batch in the memory of a piece; 0: "
        "the whole batch.",
    )
    recompute: bool = option(
        False,
        "Keep only the outputs of the backbone's blocks and compute what lies within them, and the "
        "heads, again in the backward pass: the same step in less memory and more "
        "time.",
    )
    steps: PositiveInt = option(
        90_000,
        "Number of steps of 16 images, scaled by 16 / batch_size: 90k is Detectron's 1x schedule.",
    )
    schedule_length: PositiveFloat = option(
        1.0, "Factor of `steps`: the 2x and 3x schedules are 2 and 3."
    )
    minutes: NaturalFloat = option(
        0.0, "Stop after this many minutes, with the schedule fitted to them; 0: no limit."
    )
    eval_every: NaturalInt = option(
        0, "Number of steps between evaluations; 0: evaluate after each pass over the data."
    )
    patience: NaturalInt = option(
        0,
        "Stop after N evaluations in a row without a better AP (without a validation split, a "
        "lower loss); 0: never.",
    )
    checkpoint_every: NaturalInt = option(
        0, "Number of steps between saves of the resumable state; 0: save at each evaluation."
    )
    keep_states: Count = option(
        2,
        "Number of resumable states that are kept; an older one is used if a newer one is damaged.",
    )
    weights: str | None = option(
        None, "Model to start from, of any classes: its backbone, FPN and towers are loaded."
    )
    teacher: str | None = option(
        None, "Trained model that the new one imitates in training; nothing of it is saved."
    )
    on_nan: Literal["stop", "skip", "rollback"] = option(
        "stop",
        "Where the loss of a step is no finite number: stop the run; skip the step, which then "
        "changes no weight; or roll back to the weights of the last saved state.",
    )
    hang_minutes: NaturalFloat = option(
        30.0,
        "End the process, and print where its threads stand, if a step takes longer than this; 0: "
        "wait for ever.",
    )
    seed: NaturalInt = option(0, "Seed of weights, data order and augmentation.")
    deterministic: bool = option(
        False,
        "Use only operations that give the same bits each time, so that a run can be repeated on "
        "its machine exactly. On a CPU they do anyway; on a GPU it costs time.",
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16", "auto"] = option(
        "float32",
        "Precision of the layers: float32, mixed_bfloat16 or mixed_float16; weights, loss and "
        "boxes stay float32. auto: mixed_bfloat16 where the network is measured to train faster "
        "with it on this machine, else float32.",
    )
    loss: LossConfig = field(default_factory=LossConfig)
    matching: MatchConfig = field(default_factory=MatchConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluation of a detector on a split."""

    split: str | None = option(
        None, "Split to evaluate on; none: the one that training selects the best model on."
    )
    batch_size: Count = option(8, "Number of images per batch.")


@dataclass(frozen=True)
class PredictConfig:
    """Detection in image files."""

    draw_threshold: Fraction | None = option(
        None,
        "Minimum score of a drawn box; none: the model's own, at which F1 was best in validation, "
        "else 0.5. Scores in JSON and CSV start at model.detections.score_threshold.",
    )
    batch_size: Count = option(8, "Number of images per batch.")


@dataclass(frozen=True)
class Config:
    """Every choice of a run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
